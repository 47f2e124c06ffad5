"""A deal is a chance to sell something to a party; it moves through the stages of a pipeline until it is won or lost."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from ostoja.access.policy import require
from ostoja.kernel.constraints import Check, Follows, Frozen, Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.errors import Refused
from ostoja.kernel.fields import MoneyField, PriceField, QuantityField
from ostoja.kernel.record import Record, verb
from ostoja.party.currency import CurrencyField
from ostoja.party.numbers import Numbered
from ostoja.party.rules import KeepsParty

from . import rules


class Pipeline(Record):
    """A way of selling, with its own stages."""

    name = models.CharField(_("name"), max_length=80)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    data = Data(internal=["name", "position"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("pipeline")
        verbose_name_plural = _("pipelines")
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                name="pipeline_name_is_unique",
                violation_error_message=_("There is a pipeline of this name."),
            )
        ]

    def __str__(self):
        return self.name


class Stage(Record):
    """A column of a pipeline.

    ``probability`` is in percent; ``max_age`` in days warns of deals that stand still; ``required_fields`` are the fields
    of a deal that must be filled while it stands here.
    """

    class Kind(models.TextChoices):
        OPEN = "open", _("Open")
        WON = "won", _("Won")
        LOST = "lost", _("Lost")

    pipeline = models.ForeignKey(
        Pipeline, models.PROTECT, related_name="stages", verbose_name=_("pipeline"), db_index=False
    )
    name = models.CharField(_("name"), max_length=80)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.OPEN)
    probability = models.PositiveSmallIntegerField(_("probability (%)"), default=10)
    max_age = models.PositiveSmallIntegerField(_("days until it is stale"), null=True, blank=True)
    required_fields = models.JSONField(_("fields that must be filled"), default=list, blank=True)

    data = Data(internal=["pipeline", "name", "position", "kind", "probability", "max_age", "required_fields"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("stage")
        verbose_name_plural = _("stages")
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "name"], name="stage_name_is_unique", violation_error_message=_("The pipeline has a stage of this name.")
            ),
            Check(Q(probability__lte=100), name="stage_probability_is_percent", field="probability", says=_("A probability is between 0 and 100 %.")),
            Check(
                Q(kind="open") | Q(kind="won", probability=100) | Q(kind="lost", probability=0), name="stage_end_is_certain", field="probability",
                says=_("A won stage has 100 %, a lost one 0 %."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return self.name

    def clean(self):
        """Only what a deal has can be required of it."""
        self.required_fields = self.required_fields or []
        fields = {f.name for f in Deal._meta.concrete_fields if f.editable}
        given = self.required_fields if isinstance(self.required_fields, list) else [self.required_fields]
        unknown = [str(name) for name in given if str(name) not in fields]
        if unknown or given is not self.required_fields:
            message = _now("Give a list of fields of a deal, such as {example}; “{name}” is none.").format(
                example='["party", "closes_on"]', name=", ".join(unknown)
            )
            raise ValidationError({"required_fields": [message]})


class LostReason(Record):
    """Why deals are lost, in the tenant's own words."""

    name = models.CharField(_("reason"), max_length=120)

    data = Data(internal=["name"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("reason of loss")
        verbose_name_plural = _("reasons of loss")
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                name="lost_reason_is_unique",
                violation_error_message=_("This reason is there already."),
            )
        ]

    def __str__(self):
        return self.name


class Deal(Record):
    """A chance to sell something to a party."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        WON = "won", _("Won")
        LOST = "lost", _("Lost")

    # What the rules of the database fill in comes back with the insert: hence the defaults of the database.
    number = models.CharField(_("number"), max_length=40, blank=True, default="", db_default="")
    title = models.CharField(_("title"), max_length=200, blank=True, default="", db_default="")
    party = models.ForeignKey(
        "party.Party", models.PROTECT, null=True, blank=True, related_name="deals", verbose_name=_("customer")
    )
    owner = models.ForeignKey(
        "access.User",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="deals",
        verbose_name=_("owner"),
        db_index=False,
    )
    pipeline = models.ForeignKey(
        Pipeline, models.PROTECT, related_name="deals", verbose_name=_("pipeline"), editable=False,
        default=None, db_default=None, db_index=False,
    )  # fmt: skip
    stage = models.ForeignKey(
        Stage, models.PROTECT, related_name="deals", verbose_name=_("stage"), blank=True,
        default=None, db_default=None, db_index=False,
    )  # fmt: skip
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.OPEN, db_default=State.OPEN)
    amount = MoneyField(_("amount"), default=0, db_default=0, blank=True)
    currency = CurrencyField(_("currency"))
    source = models.CharField(_("source"), max_length=80, blank=True)
    engaged_on = models.DateField(_("engaged on"), null=True, blank=True)
    closes_on = models.DateField(_("expected close"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, default=None, db_default=None)
    lost_reason = models.ForeignKey(
        LostReason, models.PROTECT, null=True, blank=True, related_name="deals", verbose_name=_("why we lost it"),
        db_index=False,
    )  # fmt: skip
    reopened_because = models.CharField(_("why it was reopened"), max_length=200, blank=True)
    notes = models.TextField(_("notes"), blank=True)

    data = Data(
        internal=[
            "number", "title", "party", "owner", "pipeline", "stage", "state", "amount", "currency", "source", "engaged_on", "closes_on", "closed_at",
            "lost_reason",
        ],
        confidential="*",
        keep="6 years after closed_at",
        subject="party",
    )  # fmt: skip
    sync = Sync.MERGE
    sync_together = (("state", "stage", "pipeline", "closed_at", "lost_reason"), ("amount", "currency"))
    sync_derived = {"amount": "sales.dealline", "closed_at": "state"}

    class Meta:
        verbose_name = _("deal")
        verbose_name_plural = _("deals")
        indexes = [
            models.Index(fields=["stage", "id"], name="deal_by_stage"),
            models.Index(fields=["owner", "id"], name="deal_of_owner"),
            models.Index(fields=["closes_on"], name="deal_by_close"),
            GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name="deal_title_part"),
        ]
        constraints = [
            Follows("state", {"open": ["won", "lost"], "won": ["open"], "lost": ["open"]}, start=["open", "won", "lost"], name="deal_follows_its_states"),
            Frozen(
                when=Q(state="won"), free=["state", "reopened_because", "owner", "party"], name="deal_won_is_frozen",
                says=_("A won deal can't be changed. Reopen it first."),
            ),
            KeepsParty("won", name="deal_won_keeps_its_party", says=_("A won deal can't be changed. Reopen it first.")),
            Check(~Q(state="won") | Q(amount__gt=0), name="deal_won_has_amount", field="amount", says=_("Give the deal an amount before you win it.")),
            Check(Q(amount__gte=0), name="deal_amount_is_not_negative", field="amount", says=_("An amount can't be negative.")),
            models.UniqueConstraint(fields=["number"], name="deal_number_is_unique", violation_error_message=_("There is a deal with this number.")),
            Numbered("sales.deal", "D-", table="sales_deal", name="deal_takes_a_number"),
            Rule(
                rules.STAGE, name="deals_stand_in_their_stage", on="INSERT OR UPDATE", timing="BEFORE",
                says=_("The stage does not fit the state, or the pipeline has no stage for it. Use win, lose or reopen."),
            ),
            Rule(
                rules.TOTAL, name="deals_amount_is_of_their_lines", on="UPDATE OF amount", timing="BEFORE",
                says=_("The amount of this deal is the sum of its lines. Change the lines."),
            ),
            Rule(rules.HISTORY, name="deal_keeps_its_stages", on="INSERT OR UPDATE", timing="AFTER"),
        ]  # fmt: skip

    def __str__(self):
        return self.title or self.number

    def prepare(self, actor, verb):
        """Bringing a deal into a closing stage is winning or losing it, and needs the same right."""
        if self.amount is None:
            self.amount = 0
        if verb not in ("add", "change") or self.stage_id is None:
            return
        stage = self.stage
        if stage.kind != self.state:
            self._close_by_stage(actor, verb, stage)
        missing = [n for n in stage.required_fields if getattr(self, n, None) in (None, "", 0)]
        if missing:
            message = _now("The stage “{stage}” needs this.").format(stage=stage.name)
            raise Refused(message, fields={name: [message] for name in missing}, code="stage_needs_fields")

    def _close_by_stage(self, actor, verb: str, stage: Stage) -> None:
        if stage.kind == Stage.Kind.OPEN:
            if verb == "add":
                return  # the database says that they don't fit
            message = _now("This deal is closed. Use “{verb}” and say why.").format(verb=_now("Reopen"))
            raise Refused(message, fields={"stage": [message]}, code="use_a_verb")
        require(actor, self, "win" if stage.kind == Stage.Kind.WON else "lose")
        if stage.kind == Stage.Kind.LOST and verb == "change" and self.lost_reason_id is None:
            message = _now("Use “{verb}” and say why.").format(verb=_now("Lose"))
            raise Refused(message, fields={"stage": [message]}, code="use_a_verb")
        self.state = stage.kind

    def settled(self, actor, verb, changed):
        """What the rules of the database made of it. Rows added in bulk were told so by the insert itself."""
        if verb in ("add", "import") and not changed:
            return
        self.refresh_from_db(
            fields=[
                "title",
                "pipeline",
                "stage",
                "state",
                "amount",
                "closed_at",
                "lost_reason",
                "version",
                "updated_at",
            ]
        )

    @verb(to=State.WON, label=_("Win"), icon="trophy", tone="success")
    def win(self):
        """Close the deal: the customer buys. It goes to the pipeline's won stage."""

    @verb(to=State.LOST, label=_("Lose"), asks=["lost_reason"], takes=["notes"], icon="thumbs-down", tone="danger")
    def lose(self):
        """Close the deal: the customer does not buy. It goes to the pipeline's lost stage."""

    @verb(to=State.OPEN, label=_("Reopen"), asks=["reopened_because"], icon="rotate-ccw")
    def reopen(self):
        """Work on the deal again, from the first open stage of its pipeline."""


class DealLine(Record):
    """One product of a deal. ``discount`` is in percent; ``net`` is rounded half up to 2 decimals."""

    deal = models.ForeignKey(Deal, models.PROTECT, related_name="lines", verbose_name=_("deal"))
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    product = models.ForeignKey(
        "catalog.Product", models.PROTECT, null=True, blank=True, related_name="deal_lines", verbose_name=_("product")
    )
    description = models.CharField(_("description"), max_length=300, blank=True)
    quantity = QuantityField(_("quantity"), default=1)
    price = PriceField(_("unit price"), blank=True)
    discount = models.DecimalField(_("discount (%)"), max_digits=5, decimal_places=2, default=0)
    net = MoneyField(_("net"), default=0, db_default=0, editable=False)

    data = Data(internal=["deal", "position", "product", "description", "quantity", "price", "discount", "net"])
    sync = Sync.MERGE
    sync_together = (("quantity", "price", "discount", "net"),)

    class Meta:
        verbose_name = _("line")
        verbose_name_plural = _("lines")
        ordering = ["position", "id"]
        constraints = [
            Check(
                Q(quantity__gt=0),
                name="deal_line_has_quantity",
                field="quantity",
                says=_("A quantity is greater than zero."),
            ),
            Check(
                Q(price__gte=0),
                name="deal_line_price_is_not_negative",
                field="price",
                says=_("A price can't be negative."),
            ),
            Check(
                Q(discount__gte=0) & Q(discount__lte=100),
                name="deal_line_discount_is_percent",
                field="discount",
                says=_("A discount is between 0 and 100 %."),
            ),
            Rule(rules.NET, name="deal_lines_know_their_net", on="INSERT OR UPDATE", timing="BEFORE"),
            Rule(rules.AMOUNT, name="deal_amount_is_its_lines", timing="AFTER"),
            Frozen(
                when=Q(state="won"),
                with_parent="deal",
                name="deal_line_won_is_frozen",
                says=_("A won deal can't be changed. Reopen it first."),
            ),
        ]

    def __str__(self):
        return self.description or str(self.product or self.net)

    def prepare(self, actor, verb):
        """A line without a price takes the product's, if that is in the deal's currency."""
        if self.price is not None:
            return
        if self.product_id is None or self.product.currency != self.deal.currency:
            message = _now("Give a price: the catalogue has none in {currency}.").format(currency=self.deal.currency)
            raise Refused(message, fields={"price": [message]}, code="no_price")
        self.price = self.product.list_price

    def settled(self, actor, verb, changed):
        """The net is the database's."""
        if verb == "change":
            self.refresh_from_db(fields=["net"])


class StageChange(Record):
    """A deal stood in a stage from ``entered_at`` to ``left_at`` (empty while it stands there); written by the database.

    Every site of a hybrid tenant keeps its own, from the changes that reach it.
    """

    deal = models.ForeignKey(Deal, models.PROTECT, related_name="stage_changes", verbose_name=_("deal"))
    from_stage = models.ForeignKey(
        Stage, models.PROTECT, null=True, related_name="+", verbose_name=_("from stage"), db_index=False
    )
    stage = models.ForeignKey(Stage, models.PROTECT, related_name="+", verbose_name=_("stage"), db_index=False)
    state = models.CharField(_("state"), max_length=8, choices=Deal.State)
    entered_at = models.DateTimeField(_("entered"))
    left_at = models.DateTimeField(_("left"), null=True)
    amount = MoneyField(_("amount"))
    actor = models.CharField(_("by"), max_length=80)

    data = Data(internal=["deal", "from_stage", "stage", "state", "entered_at", "left_at", "amount", "actor"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("stage change")
        verbose_name_plural = _("stage changes")
        constraints = [
            models.UniqueConstraint(
                fields=["deal"], condition=Q(left_at__isnull=True), name="deal_stands_in_one_stage"
            ),
            Check(
                Q(left_at__isnull=True) | Q(left_at__gte=F("entered_at")),
                name="stage_is_left_after_it_was_entered",
                field="left_at",
                says=_("A stage is left after it was entered."),
            ),
        ]

    def __str__(self):
        return str(self.stage)
