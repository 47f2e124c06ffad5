"""Refusals in words: what a form, a rule of the database or a record that is still used says to people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from django.core.exceptions import NON_FIELD_ERRORS
from django.db import DataError, IntegrityError, InternalError, models
from django.utils.translation import gettext as _

from ostoja.access.policy import out_of_sight
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.kernel.forms import RecordForm

DATABASE_REFUSALS = (IntegrityError, DataError, InternalError)


def refused_by(form: RecordForm) -> Refused:
    """The form's errors as a Refused."""
    fields = {("" if k == NON_FIELD_ERRORS else k): [str(m) for m in v] for k, v in form.errors.items()}
    return Refused(first_of(fields), fields=fields)


def first_of(fields: Mapping[str, list[str]]) -> str:
    """The first message of all."""
    return next((m for messages in fields.values() for m in messages), _("The data was refused."))


_spoken: set[str] = set()


def spoken(*names: str) -> None:
    """Rules that a room keeps by triggers of its own: what the database says of them is a sentence that people read."""
    _spoken.update(names)


@lru_cache(maxsize=1)
def _constraints() -> dict[str, tuple[type, object]]:
    return {c.name: (m, c) for m in registry.records() for c in m._meta.constraints}


def refusal(error: Exception) -> Refused:
    """What the database refused, in the constraint's own sentence."""
    diagnosis = getattr(error.__cause__, "diag", None)
    name = getattr(diagnosis, "constraint_name", None) or ""
    state = getattr(diagnosis, "sqlstate", None) or getattr(error.__cause__, "pgcode", "") or ""
    model, constraint = _constraints().get(name, (None, None))
    if constraint is not None:
        message = getattr(constraint, "says", None) or constraint.get_violation_error_message()
        where = getattr(constraint, "field", "") if not isinstance(constraint, models.UniqueConstraint) else ""
        if isinstance(constraint, models.UniqueConstraint):
            names = constraint.fields or _expression_fields(constraint)
            where = names[-1] if names else ""
            if (
                not constraint.violation_error_message
                or constraint.violation_error_message == constraint.default_violation_error_message
            ):
                labels = ", ".join(str(model._meta.get_field(n).verbose_name) for n in names)
                message = _("There is a record with the same {fields} already.").format(fields=labels or name)
        return Refused(message, fields={where or "": [str(message)]}, code=name)
    if name in _spoken:
        return Refused(_(diagnosis.message_primary), code=name)
    if state == "23503":
        return Refused(_("It is still used elsewhere, or it points to something that does not exist."), code="relation")
    column = getattr(diagnosis, "column_name", None) or ""
    if state == "23502":
        return Refused(
            _("“{field}” must be given.").format(field=column),
            fields={column: [_("This must be given.")]},
            code="required",
        )
    if state == "23505":
        return Refused(_("There is a record with the same value already."), code="unique")
    if isinstance(error, (IntegrityError, DataError)):
        return Refused(
            _("The database refused the value: {why}").format(why=str(error).splitlines()[0]), code="database"
        )
    raise error


def _expression_fields(constraint) -> list[str]:
    names = []
    for expression in constraint.expressions:
        names += [e.name for e in expression.flatten() if isinstance(e, models.F)]
    return names


def still_used(error: models.ProtectedError, actor: Actor) -> Refused:
    """Which records still point to the one that was to be deleted, as far as they are in the actor's sight."""
    by_model: dict[type, set] = {}
    for thing in error.protected_objects:
        by_model.setdefault(type(thing), set()).add(thing.pk)
    counts: dict[str, int] = {}
    for model, keys in by_model.items():
        seen = keys - out_of_sight(actor, model, keys) if registry.get(model._meta.label_lower) else keys
        if seen:
            label = str(model._meta.verbose_name_plural)
            counts[label] = counts.get(label, 0) + len(seen)
    if not counts:
        return Refused(_("It can't be deleted: it is still used elsewhere."), code="relation")
    used = ", ".join(f"{n} {label}" for label, n in counts.items())
    return Refused(_("It can't be deleted: it is still used by {things}.").format(things=used), code="relation")
