"""What a person decides on a conflict is written as a new change, under their own rights, and so reaches every site."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import cache

import orjson
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.utils.translation import gettext as _

from ostoja.access.policy import explain, find, require, visible_fields, writable_fields
from ostoja.gate import Many, perform
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.record import Record, follows_of
from ostoja.kernel.registry import Entry
from ostoja.refusals import refusal

from .holding import ALIAS
from .models import Absent, Conflict
from .writing import REFUSALS

DELETED, KEPT, BOTH = "deleted", "delete refused", "unique"


def decide(conflict: Conflict, actor: Actor, verb: str) -> None:
    """Write what was decided. Raises Refused when a rule stands against it, NotAllowed without the rights on the record."""
    ours, along = verb == "keep_ours", taken_along(conflict)
    if verb == "settle" or verb not in ("keep_ours", "take_theirs"):
        _known(conflict, actor)
    elif conflict.rule == BOTH:
        raise Refused(_("Both records are kept. Rename one of them or merge them; then leave it as it is."))
    elif conflict.rule == DELETED:
        if ours == (conflict.ours is not None):
            restore(conflict, actor)
    elif conflict.rule == KEPT:
        if not ours:
            perform(actor, _record(conflict, actor), "delete")
    else:
        _write(conflict, actor, ours, along)
    for one in along:
        perform(actor, one, "settle")


@cache
def steps_of(model: type[Record]) -> dict[str, tuple[str, ...]]:
    """{state field: what moves with it}, of those that take anything along."""
    groups = {name: group for group in getattr(model, "sync_together", ()) for name in group}
    return {n: tuple(x for x in group if x != n) for n, group in groups.items() if follows_of(model, n) is not None}


def taken_along(conflict: Conflict) -> list[Conflict]:
    """Of a conflict about a step, those about what the step took along: they are decided with it."""
    names = steps_of(apps.get_model(conflict.about)).get(conflict.field)
    if not names:
        return []
    alike = Conflict.objects.filter(
        about=conflict.about, record=conflict.record, rule=conflict.rule, site=conflict.site
    )
    return list(alike.filter(state=Conflict.State.OPEN, field__in=names))


def _known(conflict: Conflict, actor: Actor) -> None:
    """Who leaves a conflict as it is must be able to change the record, as far as it is here."""
    record = apps.get_model(conflict.about)._default_manager.filter(pk=conflict.record).first()
    if record is not None:
        require(actor, record, "change")


def _record(conflict: Conflict, actor: Actor) -> Record:
    try:
        return find(actor, apps.get_model(conflict.about), conflict.record, lock=True)
    except NotFound:
        raise Refused(_("The record is not here any more, or you may not see it.")) from None


def _write(conflict: Conflict, actor: Actor, ours: bool, along: Sequence[Conflict]) -> None:
    """Make one value the latest, as a change of this actor's."""
    record = _record(conflict, actor)
    entry = registry.of(type(record))
    if conflict.field not in visible_fields(actor, entry):
        raise NotAllowed(_("You may not see this field, so you can't decide on it."))
    require(actor, record, "change")
    field = entry.fields[conflict.field]
    value = value_of(field, conflict.ours if ours else conflict.theirs)
    if getattr(record, field.attname) == value:
        return
    if follows_of(type(record), field.name) is not None:
        answers = {c.field: value_of(entry.fields[c.field], c.ours if ours else c.theirs) for c in along}
        _step(actor, entry, record, field.name, value, answers)
    elif field.name in writable_fields(actor, entry):
        perform(actor, record, "change", {field.name: value})
    else:
        setattr(record, field.attname, value)
        try:
            record.save(update_fields=[field.name, "updated_at"])
        except REFUSALS as error:
            raise refusal(error) from error


def _step(actor: Actor, entry: Entry, record: Record, name: str, wanted: str, answers: Mapping[str, object]) -> None:
    """Go to another state by the verbs that lead there: from won to lost by reopening first. What they ask is given as
    far as it is known: by the ``answers`` of that side, by the record, where they may have come to already, or as this very
    reason."""
    known = {n: answers.get(n) or getattr(record, f.attname) for n, f in entry.fields.items()}
    for state in _way(follows_of(entry.model, name).edges, getattr(record, name), wanted):
        verb = next((v for v in entry.verbs.values() if v.field == name and v.to == state), None)
        if verb is None:
            raise Refused(_("No step leads there from here: open the record and decide there."))
        said = {n: known[n] or _reason(entry.fields[n]) for n in verb.asks}
        try:
            record = perform(actor, record, verb.name, {n: v for n, v in said.items() if v})
        except Refused as error:
            raise Refused(
                _("The step “{verb}” asks for more than a click: do it on the record itself, then leave this as it is.").format(verb=verb.label),
                code=error.code,
            ) from error  # fmt: skip


def _reason(field: models.Field) -> str:
    is_text = isinstance(field, models.CharField | models.TextField) and not field.choices
    return _("Decided anew, because two sites had decided against each other.") if is_text else ""


def _way(edges, start: str, end: str) -> Sequence[str]:
    """The states from one to another, without the first; the shortest way."""
    ways: list[tuple[str, ...]] = [(start,)]
    for way in ways:
        if way[-1] == end:
            return way[1:]
        ways += [(*way, state) for state in edges.get(way[-1], ()) if state not in way]
    raise Refused(_("No step leads there from here: open the record and decide there."))


def value_of(field: models.Field, text: object) -> object:
    """A value as the conflict keeps it (the database's text) as the field's own. Raises Refused when it is none."""
    if text is None or not isinstance(text, str):
        return text
    if isinstance(field, models.BooleanField):
        return text in ("true", "t", "True")
    if isinstance(field, models.JSONField):
        return orjson.loads(text)
    try:
        return (field.target_field if field.is_relation else field).to_python(text)
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from error


def restore(conflict: Conflict, actor: Actor) -> None:
    """Bring a deleted record back with its parts, as the journal kept them here, with what was changed elsewhere meanwhile;
    what referred to it does so again."""
    model: type[Record] = apps.get_model(conflict.about)
    if model._default_manager.filter(pk=conflict.record).exists():
        return
    entry = registry.of(model)
    deaths = Change.objects.filter(model=conflict.about, record=conflict.record, op="D", old__isnull=False)
    gone = deaths.order_by("-id").first()
    row = dict(gone.old) if gone is not None else {"id": str(conflict.record)}
    _bring_back(actor, entry, [row | _columns(model, conflict)])
    _put_back(conflict.record)
    parts = [p for p in registry.entries() if p.parent is entry and not p.surface.automatic] if gone is not None else []
    for part in parts:  # those that went along with it; what the database writes by itself it has written anew
        column = part.fields[part.surface.inside].column
        along = Change.objects.filter(xid=gone.xid, model=part.label, op="D", old__contains={column: str(conflict.record)})  # fmt: skip
        _bring_back(actor, part, [c.old for c in along])


def _bring_back(actor: Actor, entry: Entry, olds: list[dict]) -> None:
    for outcome in Many(actor, entry.model).bring_back(olds):
        if not outcome.ok:
            raise Refused(next(iter(outcome.errors.values()))[0], code=outcome.code or "refused")


def _columns(model: type[Record], conflict: Conflict) -> dict:
    """What was changed by whoever did not know of the deletion, by column; references that only have a name here stay."""
    said = conflict.ours if conflict.ours is not None else conflict.theirs
    if not isinstance(said, dict):
        return {}
    fields = {n: model._meta.get_field(n) for n, text in said.items() if not str(text).startswith(ALIAS)}
    return {f.column: value_of(f, said[n]) for n, f in fields.items()}


def _put_back(target: uuid.UUID) -> None:
    """References that were kept aside while the record was gone say the same as before."""
    for waiting in Absent.objects.filter(target=target, alias=False):
        model = apps.get_model(waiting.model)
        column = model._meta.get_field(waiting.field).column
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT hybrid_put_back(%s, %s, %s, %s)",
                [model._meta.db_table, column, waiting.record, target],
            )
        waiting.delete()


def may_decide(actor: Actor, record: Record | None) -> bool:
    """Whether the actor could write what they decide."""
    return record is None or bool(explain(actor, record, "change"))
