"""An activity is something done or to be done with a party: a call, an SMS, an e-mail, a meeting, a note, a task."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Check, Follows, Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.record import Record, verb

# An activity has a time of being done when it is done, and only then.
DONE_AT = """
IF NEW.state <> 'done' THEN NEW.done_at := NULL;
ELSIF NEW.done_at IS NULL THEN NEW.done_at := clock_timestamp(); END IF;
RETURN NEW;
"""


class Activity(Record):
    """One entry in a customer's timeline or in somebody's calendar. Notes, and what has happened, are done from the start."""

    class Kind(models.TextChoices):
        CALL = "call", _("Call")
        SMS = "sms", _("SMS")
        EMAIL = "email", _("E-mail")
        MEETING = "meeting", _("Meeting")
        NOTE = "note", _("Note")
        TASK = "task", _("Task")

    class Direction(models.TextChoices):
        IN = "in", _("Incoming")
        OUT = "out", _("Outgoing")
        NONE = "", _("None")

    class State(models.TextChoices):
        OPEN = "open", _("To do")
        DONE = "done", _("Done")
        CANCELLED = "cancelled", _("Cancelled")

    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.NOTE)
    direction = models.CharField(_("direction"), max_length=4, choices=Direction, default=Direction.NONE, blank=True)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    body = models.TextField(_("text"), blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN, db_default=State.OPEN)
    at = models.DateTimeField(_("when"), default=timezone.now)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)
    done_at = models.DateTimeField(_("done"), null=True, blank=True, default=None, db_default=None)
    party = models.ForeignKey(
        "party.Party", models.PROTECT, null=True, blank=True, related_name="activities", verbose_name=_("customer"), db_index=False
    )  # fmt: skip
    deal = models.ForeignKey(
        "sales.Deal", models.PROTECT, null=True, blank=True, related_name="activities", verbose_name=_("deal"), db_index=False
    )  # fmt: skip
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="activities", verbose_name=_("owner")
    )
    participants = models.CharField(_("with"), max_length=300, blank=True)

    data = Data(
        internal=["kind", "direction", "state", "at", "ends_at", "done_at", "party", "deal", "owner"], confidential="*", keep="3 years after at",
        subject="party",
    )  # fmt: skip
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("activity")
        verbose_name_plural = _("activities")
        indexes = [
            models.Index(fields=["party", "-at"], name="activity_of_party", condition=Q(party__isnull=False)),
            models.Index(fields=["deal", "-at"], name="activity_of_deal", condition=Q(deal__isnull=False)),
            models.Index(fields=["at"], name="activity_by_time"),
        ]
        constraints = [
            Follows(
                "state",
                {"open": ["done", "cancelled"], "done": ["open"], "cancelled": ["open"]},
                start=["open", "done", "cancelled"],
                name="activity_follows_its_states",
            ),
            Rule(DONE_AT, name="activity_knows_when_it_was_done", on="INSERT OR UPDATE", timing="BEFORE"),
            Check(
                Q(ends_at__isnull=True) | Q(ends_at__gte=F("at")),
                name="activity_ends_after_it_begins",
                field="ends_at",
                says=_("It can't end before it begins."),
            ),
            Check(
                ~Q(subject="") | ~Q(body=""),
                name="activity_says_something",
                field="subject",
                says=_("Give it a subject or a text."),
            ),
        ]

    def __str__(self):
        return self.subject or self.get_kind_display()

    def prepare(self, actor, verb):
        """What is a note, or is already past and no task, is done; the deal's customer is the activity's."""
        if verb == "add" and self.kind != self.Kind.TASK and (self.kind == self.Kind.NOTE or self.at <= timezone.now()):
            self.state = self.State.DONE
        if self.deal_id and not self.party_id:
            self.party_id = self.deal.party_id
        if not self.subject:
            self.subject = self.body.strip().partition("\n")[0][:80]

    def settled(self, actor, verb, changed):
        """When it was done is the database's word; rows added in bulk were told so by the insert."""
        if verb != "add":
            self.refresh_from_db(fields=["done_at"])

    @verb(to=State.DONE, label=_("Complete"), takes=["body"], icon="check", tone="success")
    def complete(self):
        """It is done."""

    @verb(to=State.CANCELLED, label=_("Cancel"), icon="x")
    def cancel(self):
        """It will not happen."""

    @verb(to=State.OPEN, label=_("Reopen"), icon="rotate-ccw")
    def reopen(self):
        """It is to be done again."""
