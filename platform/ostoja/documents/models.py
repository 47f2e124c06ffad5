"""An attachment is a file kept with one record; who may see the record may see its files."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.errors import Refused
from ostoja.kernel.record import Record

# A file may get another name or, in a merge, another record; never other bytes. The bytes may come after the
# record, when another site of the tenant sends it.
BYTES_STAY = """
IF (NEW.sha256, NEW.size, NEW.mime) IS DISTINCT FROM (OLD.sha256, OLD.size, OLD.mime) OR NEW.key <> OLD.key AND OLD.key <> '' THEN
  {refuse}
END IF;
RETURN NEW;
"""


class Attachment(Record):
    """One immutable file; its bytes are in the tenant's file storage under ``key``, which is empty while they are on their way
    from another site. ``size`` is in bytes.

    There is one concrete kind for every object that may have files, so that a file's rights are its record's.
    """

    name = models.CharField(_("name"), max_length=255)
    size = models.BigIntegerField(_("size"), editable=False)
    mime = models.CharField(_("type"), max_length=120, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    key = models.CharField(_("place of the content"), max_length=120, editable=False)
    uploaded_by = models.ForeignKey(
        "access.User", models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("added by")
    )

    sync = Sync.MERGE

    class Meta:
        abstract = True
        verbose_name = _("file")
        verbose_name_plural = _("files")
        constraints = [
            Rule(
                BYTES_STAY, name="%(class)s_bytes_stay", on="UPDATE", timing="BEFORE",
                says=_("A stored file doesn't change. Upload it again instead."),
            ),
            models.UniqueConstraint(fields=["key"], condition=~models.Q(key=""), name="%(class)s_key_is_unique"),
        ]  # fmt: skip

    def __str__(self):
        return self.name

    def prepare(self, actor, verb):
        """Bytes come in by upload only."""
        if not self.key:
            message = _now("A file is attached by uploading it to its record.")
            raise Refused(message, fields={"file": [message]})


def _says(target: str) -> Data:
    return Data(internal=[target, "uploaded_by"], confidential="*", secret=["key"], subject=target)


class PartyFile(Attachment):
    """A file of a party."""

    party = models.ForeignKey("party.Party", models.PROTECT, related_name="attachments", verbose_name=_("customer"))
    data = _says("party")

    class Meta(Attachment.Meta):
        abstract = False


class DealFile(Attachment):
    """A file of a deal."""

    deal = models.ForeignKey("sales.Deal", models.PROTECT, related_name="attachments", verbose_name=_("deal"))
    data = _says("deal")

    class Meta(Attachment.Meta):
        abstract = False


class ProductFile(Attachment):
    """A file of a product."""

    product = models.ForeignKey(
        "catalog.Product", models.PROTECT, related_name="attachments", verbose_name=_("product")
    )
    data = _says("product")

    class Meta(Attachment.Meta):
        abstract = False


class ActivityFile(Attachment):
    """A file of an activity."""

    activity = models.ForeignKey(
        "planning.Activity", models.PROTECT, related_name="attachments", verbose_name=_("activity")
    )
    data = _says("activity")

    class Meta(Attachment.Meta):
        abstract = False
