"""What people decide: a conflict turned around, a record marked as sensitive or opened, the policy changed."""

from __future__ import annotations

from django.apps import apps
from django.utils.translation import gettext as _

from ostoja.gate import refusal
from ostoja.kernel.errors import Refused
from ostoja.kernel.record import Record

from .receiving import REFUSALS


def write(conflict, value) -> None:
    """Make one value of a conflict the latest. Raises Refused when the rules stand against it still."""
    model: type[Record] = apps.get_model(conflict.about)
    if conflict.rule == "deleted":
        _restore(model, conflict, value)
        return
    if conflict.rule in ("unique", "delete refused"):
        return
    record = model.objects.select_for_update().filter(pk=conflict.record).first()
    if record is None:
        raise Refused(_("The record is not here any more."))
    field = model._meta.get_field(conflict.field)
    setattr(record, field.attname, value if value is None else field.to_python(value))
    try:
        record.save(update_fields=[field.name, "updated_at"])
    except REFUSALS as error:
        raise refusal(error) from error


def _restore(model: type[Record], conflict, row) -> None:
    """Bring a deleted record back as it was here, or leave it deleted."""
    if not row or model.objects.filter(pk=conflict.record).exists():
        return
    record = model(pk=conflict.record)
    for name, text in row.items():
        field = model._meta.get_field(name)
        setattr(record, field.attname, text if text is None else field.to_python(text))
    try:
        record.save(force_insert=True)
    except REFUSALS as error:
        raise refusal(error) from error
