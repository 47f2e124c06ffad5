"""An attachment is a file kept with one record; who may see the record may see its files."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Check
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.record import Record


class Attachment(Record):
    """One immutable file; its bytes are in the tenant's file storage under ``key``."""

    party = models.ForeignKey(
        "party.Party", models.PROTECT, null=True, blank=True, related_name="attachments", verbose_name=_("customer")
    )
    deal = models.ForeignKey(
        "sales.Deal", models.PROTECT, null=True, blank=True, related_name="attachments", verbose_name=_("deal")
    )
    product = models.ForeignKey(
        "catalog.Product", models.PROTECT, null=True, blank=True, related_name="attachments", verbose_name=_("product")
    )
    activity = models.ForeignKey(
        "planning.Activity",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="attachments",
        verbose_name=_("activity"),
    )
    name = models.CharField(_("name"), max_length=255)
    size = models.BigIntegerField(_("size in bytes"), editable=False)
    mime = models.CharField(_("type"), max_length=120, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    key = models.CharField(max_length=120, editable=False)
    uploaded_by = models.ForeignKey("access.User", models.PROTECT, null=True, related_name="+", editable=False)

    data = Data(internal=["party", "deal", "product", "activity", "uploaded_by"], confidential="*", secret=["key"])
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        constraints = [
            Check(
                Q(party__isnull=False, deal__isnull=True, product__isnull=True, activity__isnull=True)
                | Q(party__isnull=True, deal__isnull=False, product__isnull=True, activity__isnull=True)
                | Q(party__isnull=True, deal__isnull=True, product__isnull=False, activity__isnull=True)
                | Q(party__isnull=True, deal__isnull=True, product__isnull=True, activity__isnull=False),
                name="attachment_belongs_to_one_record", says=_("A file belongs to exactly one record."),
            ),
            models.UniqueConstraint(fields=["key"], name="attachment_key_is_unique"),
        ]  # fmt: skip

    def __str__(self):
        return self.name
