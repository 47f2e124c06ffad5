"""A change is one row of the journal: which record, which fields, what they were before, by whom, by which verb."""

from __future__ import annotations

import json
from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from ostoja.kernel.data import Data, Sync
from ostoja.kernel.record import Thing


class Exactly(json.JSONDecoder):
    """Reads the columns of a row as they were: an amount is a Decimal, to the penny; what stands inside a JSON column stays JSON."""

    def decode(self, text, *args):
        """The columns by name."""
        row = super().decode(text, *args)
        if not isinstance(row, dict):
            return row
        exact = json.loads(text, parse_float=Decimal)
        return row | {name: value for name, value in exact.items() if isinstance(value, Decimal)}


CHANGES = ("I", "U", "D")  # of records; other rooms add marks of their own, which tell of none


class Change(Thing):
    """One changed record in one transaction. Rows are written by triggers only and can't be changed by the tenant's role.

    ``op`` is ``I``, ``U`` or ``D``; ``fields`` are the columns that changed (empty for I and D); ``old`` their values
    before (the whole row for D), secrets left out; ``hlc`` milliseconds since 1970 in the upper 48 bits; ``seq`` the
    gapless number that the sequencer gives after commit; ``digest`` the SHA-256 chain over rows in that order.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    xid = models.BigIntegerField()
    model = models.CharField(max_length=80)
    record = models.UUIDField()
    op = models.CharField(max_length=1)
    fields = ArrayField(models.TextField(), default=list)
    old = models.JSONField(null=True, decoder=Exactly)
    hlc = models.BigIntegerField()
    origin = models.SmallIntegerField(db_default=0)
    actor = models.CharField(max_length=80)
    verb = models.CharField(max_length=80)
    cause = models.UUIDField(null=True)
    seq = models.BigIntegerField(null=True, unique=True)
    digest = models.BinaryField(null=True)

    data = Data(
        internal=[
            "at",
            "xid",
            "model",
            "record",
            "op",
            "fields",
            "hlc",
            "origin",
            "actor",
            "verb",
            "cause",
            "seq",
            "digest",
        ],
        confidential=["old"],
    )
    sync = Sync.LOCAL

    class Meta:
        indexes = [
            models.Index(fields=["record", "id"], name="change_of_record"),
            models.Index(fields=["cause", "id"], name="change_by_cause", condition=models.Q(cause__isnull=False)),
        ]
