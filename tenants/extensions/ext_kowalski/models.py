"""A sample loan is a sample book that a shop has from us until a day."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Check, Follows, Frozen
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.fields import MoneyField
from ostoja.kernel.record import Record, verb


class SampleLoan(Record):
    """One sample book that one shop has."""

    class State(models.TextChoices):
        LENT = "lent", _("Lent")
        RETURNED = "returned", _("Returned")
        WRITTEN_OFF = "written_off", _("Written off")

    book = models.CharField(_("sample book"), max_length=120)
    party = models.ForeignKey("party.Party", models.PROTECT, related_name="sample_loans", verbose_name=_("shop"))
    owner = models.ForeignKey("access.User", models.PROTECT, related_name="sample_loans", verbose_name=_("lent by"))
    state = models.CharField(_("status"), max_length=12, choices=State, default=State.LENT)
    lent_on = models.DateField(_("lent on"), default=timezone.localdate)
    due_on = models.DateField(_("due back"))
    back_on = models.DateField(_("came back on"), null=True, blank=True)
    value = MoneyField(_("value"), default=0)
    reason = models.TextField(_("why it is written off"), blank=True)

    data = Data(
        internal=["book", "party", "owner", "state", "lent_on", "due_on", "back_on"],
        confidential="*",
        keep="2 years after back_on",
    )
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("sample loan")
        verbose_name_plural = _("sample loans")
        constraints = [
            Follows("state", {"lent": ["returned", "written_off"], "returned": [], "written_off": []}, name="loan_follows_its_states"),
            Frozen(when=Q(state="written_off"), name="loan_written_off_is_frozen", says=_("A loan that was written off can't be changed.")),
            Check(Q(due_on__gte=F("lent_on")), name="loan_is_due_after_it_is_lent", field="due_on", says=_("It can't be due before it is lent.")),
            Check(
                Q(state="returned", back_on__isnull=False) | (~Q(state="returned") & Q(back_on__isnull=True)),
                name="loan_knows_when_it_came_back",
                says=_("A loan that is returned says when it came back, and only such a loan."),
            ),
            Check(~Q(state="written_off") | ~Q(reason=""), name="loan_written_off_says_why", field="reason", says=_("Say why it is written off.")),
        ]  # fmt: skip

    def __str__(self):
        return f"{self.book} ({self.party})"

    @verb(to=State.RETURNED, label=_("Take back"), icon="undo-2", tone="success")
    def take_back(self):
        """The book is in our hands again."""
        self.back_on = timezone.localdate()

    @verb(to=State.WRITTEN_OFF, asks=["reason"], label=_("Write off"), icon="trash-2", tone="danger")
    def write_off(self):
        """The book will not come back."""
