"""Figures of deals: the weighted forecast, and which deals stand still."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db.models import DurationField, ExpressionWrapper, F, QuerySet, Sum, Value
from django.utils import timezone

CENT = Decimal("0.01")


def weighted(deals: QuerySet) -> dict[str, Decimal]:
    """The forecast of these deals by currency: Σ amount × probability of the stage; won in full, lost as nothing (CRM-5).

    Probabilities are whole percents, so that the sum is exact; it is rounded once, half up to 2 decimals.
    """
    rows = deals.order_by().values_list("currency").annotate(hundredfold=Sum(F("amount") * F("stage__probability")))
    return {currency: (total / 100).quantize(CENT, ROUND_HALF_UP) for currency, total in rows}


def standing_still(deals: QuerySet, at: datetime | None = None) -> QuerySet:
    """Those of the open deals that have stood in their stage for longer than its ``max_age`` in days."""
    age = ExpressionWrapper(F("stage__max_age") * Value(timedelta(days=1)), output_field=DurationField())
    return deals.filter(
        state="open",
        stage__max_age__isnull=False,
        stage_changes__left_at__isnull=True,
        stage_changes__entered_at__lt=Value(at or timezone.now()) - age,
    )
