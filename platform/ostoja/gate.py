"""The gate is the only way in for a change, whoever asks: screen, API, import, job, sync."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from django.db import connection, models, transaction
from django.utils.translation import gettext as _

from ostoja.access.narrowing import as_of_now, concerns
from ostoja.access.policy import explain, find, must, out_of_sight, require, visible, writable_fields
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoActor, NotAllowed, NotFound, Refused, Stale
from ostoja.kernel.forms import RecordForm, RelationField, form_class
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import SYSTEM_FIELDS, Record, why_not
from ostoja.kernel.registry import Entry
from ostoja.refusals import DATABASE_REFUSALS, first_of, refusal, refused_by, still_used


def perform(
    actor: Actor,
    target: type[Record] | Record,
    verb: str = "change",
    data: Mapping | None = None,
    *,
    version: int | None = None,
    cause: uuid.UUID | None = None,
    history: bool = False,
) -> Record:
    """Make one change and return the record as it is afterwards.

    ``target`` is a model for ``add``, else a record. ``data`` maps field names to values (ids for relations; a list of
    mappings for lines); a ``change`` touches only the fields that it names. ``version`` is the version that the change
    was made upon. ``history`` allows the fields that only an import may set.

    Raises NotFound, NotAllowed (with the reason), Refused (with sentences by field), Stale.
    """
    if actor is None:
        raise NoActor("Nobody is acting. Every change has an actor.")
    data = dict(data or {})
    model = target if isinstance(target, type) else type(target)
    entry = registry.of(model)
    with changing(actor, verb, cause):
        try:
            with transaction.atomic():
                _lock_parent(entry, target, data)
                if verb == "add":
                    return _add(actor, entry, data, history)
                record = find(actor, model, target.pk, lock=True)
                if version is not None and record.version != version:
                    raise Stale(_("Somebody changed this meanwhile. Load it again and repeat your change."))
                require(actor, record, verb)
                if verb == "delete":
                    record.leaving(actor)
                    _spare(actor, entry, [record.pk])
                    return _delete(record)
                if verb == "change":
                    return _change(actor, entry, record, data, history)
                if verb not in entry.verbs:
                    raise NotFound(
                        _("“{thing}” has no verb “{verb}”.").format(thing=model._meta.verbose_name, verb=verb)
                    )
                return _do(actor, entry, record, verb, data)
        except models.ProtectedError as error:
            raise still_used(error, actor) from error
        except DATABASE_REFUSALS as error:
            raise refusal(error) from error


def _lock_parent(entry: Entry, target: type[Record] | Record, data: Mapping) -> None:
    """Whoever changes a part holds the record that it is a part of first, as do those who change both through the record."""
    if entry.parent is None:
        return
    inside = entry.surface.inside
    if isinstance(target, type):
        given = data.get(inside)
        key = parse_uuid(getattr(given, "pk", given))
    else:
        key = entry.model._default_manager.filter(pk=target.pk).values(inside)[:1]
    if key is not None:
        list(entry.parent.model._default_manager.select_for_update(no_key=True).filter(pk=key).values_list("pk"))


def _add(actor: Actor, entry: Entry, data: dict, history: bool) -> Record:
    must(actor, entry, "add")
    lines = _take_lines(entry, data)
    names = writable_fields(actor, entry, history=history)
    record = entry.model(**_defaults(actor, entry, names, data))
    _known(entry, data, names)
    _bind(actor, entry, record, data, _with_required(entry, names, data), adding=True)
    record.prepare(actor, "add")
    record.save(force_insert=True)
    if lines is not None:
        _set_lines(actor, entry, record, lines)
    _still_mine(actor, entry, record)
    record.settled(actor, "add", frozenset(data))
    return record


def _still_mine(actor: Actor, entry: Entry, record: Record) -> None:
    """Who may add only within a scope can't put a record outside of it; parts need the parent's ``change``."""
    if entry.parent is not None:
        parent = getattr(record, entry.surface.inside)
        decision = explain(actor, parent, "change")
    else:
        record._state.adding = False
        decision = explain(actor, record, "add")
    if not decision:
        raise decision.refusal()


def _change(actor: Actor, entry: Entry, record: Record, data: dict, history: bool) -> Record:
    lines = _take_lines(entry, data)
    names = writable_fields(actor, entry, history=history)
    _known(entry, data, names)
    before = _values(record)
    given = tuple(n for n in names if n in data)
    if given:
        _bind(actor, entry, record, data, given)
    changed = _save(actor, record, "change", before)
    if lines is not None:
        _set_lines(actor, entry, record, lines)
    if entry.parent is not None and entry.surface.inside in changed:
        _still_mine(actor, entry, record)
    record.settled(actor, "change", changed)
    return record


def _do(actor: Actor, entry: Entry, record: Record, verb: str, data: dict) -> Record:
    spec = entry.verbs[verb]
    reason = why_not(record, spec)
    if reason:
        raise Refused(reason, code="state")
    seen = set(writable_fields(actor, entry, history=True)) | set(spec.arguments)
    _known(entry, data, [n for n in spec.arguments if n in seen])
    before = _values(record)
    for name in spec.asks:
        data.setdefault(name, "")
    given = tuple(n for n in spec.arguments if n in data)
    if given:
        record._state.becoming = spec.field if spec.to is not None else ""
        _bind(actor, entry, record, data, given, asks=spec.asks)
        record._state.becoming = ""
    if spec.to is not None:
        setattr(record, spec.field, spec.to)
    getattr(record, verb)()
    changed = _save(actor, record, verb, before)
    record.settled(actor, verb, changed)
    return record


def _spare(actor: Actor, entry: Entry, keys: Sequence) -> None:
    """Nobody deletes with a record the parts of it that are out of their sight. No query where nothing is."""
    if not concerns(actor):
        return
    for part in registry.entries():
        if part.parent is entry:
            rows = part.model._default_manager.filter(**{f"{part.surface.inside}__in": keys})
            below = list(rows.values_list("pk", flat=True))
            if out_of_sight(actor, part.model, below):
                raise Refused(_("It can't be deleted: it is still used elsewhere."), code="relation")
            if below:
                _spare(actor, part, below)


def _delete(record: Record) -> Record:
    """Delete a record and the parts inside it, each seen by the journal."""
    for part in registry.entries():
        if part.parent is not None and part.parent.model is type(record):
            for child in part.model._default_manager.filter(**{part.surface.inside: record}):
                _delete(child)
    key = record.pk
    record.delete()
    record.pk = key
    return record


def _delete_all(entry: Entry, records: Sequence[Record]) -> None:
    """Delete records of one object and the parts inside them, with few queries."""
    keys = [r.pk for r in records]
    for part in registry.entries():
        if part.parent is entry:
            children = list(part.model._default_manager.filter(**{f"{part.surface.inside}__in": keys}))
            if children:
                _delete_all(part, children)
    entry.model._default_manager.filter(pk__in=keys).delete()


def _stamps(record: Record) -> list[models.Field]:
    """Fields that a save fills with the time of adding, whatever they were set to."""
    return [f for f in record._meta.concrete_fields if getattr(f, "auto_now_add", False)]


def _set_columns(record: Record, old: Mapping[str, object]) -> None:
    """Set columns to values as the journal keeps them (JSON)."""
    for f in record._meta.concrete_fields:
        if f.column in old:
            value = old[f.column]
            setattr(record, f.attname, value if value is None else f.to_python(value))


def _defaults(actor: Actor, entry: Entry, names: Sequence[str], data: dict) -> dict:
    """Whoever adds a record owns it, unless the data says otherwise; answers what no form sets."""
    if "owner" not in entry.fields or data.get("owner") not in (None, "") or not actor.user_id:
        return {}
    if "owner" not in names:
        return {entry.fields["owner"].attname: actor.user_id}
    data["owner"] = actor.user if actor.user is not None else actor.user_id
    return {}


def _with_required(entry: Entry, names: Sequence[str], data: dict) -> tuple[str, ...]:
    """The fields that the data gives, and those that must be given, so that the form asks for them."""
    return tuple(n for n in names if n in data or is_required(entry.fields[n]))


@lru_cache(maxsize=4096)
def is_required(model_field: models.Field) -> bool:
    """Whether a new record can't do without this field: nothing fills it when it is left out."""
    return not model_field.blank and not model_field.has_default() and not isinstance(model_field, models.BooleanField)


def _known(entry: Entry, data: Mapping, names: Iterable[str]) -> None:
    """Refuse fields that do not exist or may not be set, and values that no form could take."""
    allowed = set(names)
    wrong: dict[str, list[str]] = {}
    for name, value in data.items():
        if name not in allowed:
            wrong[str(name)] = [_("There is no such field, or it can't be set.")]
        elif isinstance(value, (list, dict)) and not isinstance(entry.fields[name], models.JSONField):
            wrong[name] = [_("One value is expected here, not a list or an object.")]
        elif not _storable(value):
            wrong[name] = [_("This text has characters that can't be stored.")]
    if wrong:
        raise Refused(first_of(wrong), fields=wrong)


def _storable(value) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, Mapping):
        return all(_storable(k) and _storable(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(_storable(v) for v in value)
    return True


def _bind(
    actor: Actor,
    entry: Entry,
    record: Record,
    data: Mapping,
    names: tuple[str, ...],
    asks: Iterable[str] = (),
    adding: bool = False,
) -> None:
    """Pass the data through the form into the record."""
    form = form_class(entry.model, names)(
        data=_plain(data), instance=record, related=lambda model: related(actor, model), asks=asks
    )
    if not form.is_valid():
        raise refused_by(form)


def _plain(data: Mapping) -> dict:
    """Values as a form reads them."""
    return {k: ("" if v is None else v) for k, v in data.items()}


def related(actor: Actor, model: type) -> models.QuerySet:
    """The records that the actor may point to: those that they may see."""
    return visible(as_of_now(actor), model) if registry.get(model._meta.label_lower) else model._default_manager.all()


def _values(record: Record) -> dict[str, object]:
    return {f.attname: getattr(record, f.attname) for f in record._meta.concrete_fields}


def _save(actor: Actor, record: Record, verb: str, before: dict) -> frozenset[str]:
    """Save what differs; returns the names of the fields that changed. Nothing changed, nothing saved."""
    if _values(record) != before:
        record.prepare(actor, verb)
    changed = {
        f.name: f
        for f in record._meta.concrete_fields
        if getattr(record, f.attname) != before[f.attname] and f.name not in SYSTEM_FIELDS
    }
    if changed:
        record.save(update_fields=[*changed, "updated_at"])
        record.version += 1
    return frozenset(changed)


def _take_lines(entry: Entry, data: dict) -> dict[str, list] | None:
    """Lines given with the record, taken out of its data; None when none are given."""
    given = {name: data.pop(name) for name in entry.lines if name in data}
    for name, rows in given.items():
        if not isinstance(rows, (list, tuple)) or not all(isinstance(r, Mapping) for r in rows):
            raise Refused(
                _("“{name}” must be a list of objects.").format(name=name),
                fields={name: [_("A list of objects is expected.")]},
            )
    return given or None


def _set_lines(actor: Actor, entry: Entry, record: Record, lines: dict[str, list]) -> None:
    """Make the record's lines those that are given: ``id`` changes one, without it one is added, others go."""
    for name, rows in lines.items():
        part = entry.lines[name]
        inside = part.surface.inside
        present = {str(line.pk): line for line in part.model._default_manager.filter(**{inside: record})}
        errors: dict[str, list[str]] = {}
        keep: list[tuple[Record | None, dict]] = []
        for number, row in enumerate(rows):
            row = dict(row)
            key = row.pop("id", None)
            row.pop(inside, None)
            line = present.pop(str(key), None) if key else None
            if key and line is None:
                errors[f"{name}.{number}.id"] = [_("There is no such line.")]
            keep.append((line, row))
        if errors:
            raise Refused(first_of(errors), fields=errors)
        for line in present.values():
            _delete(line)
        for number, (line, row) in enumerate(keep):
            try:
                _set_line(actor, part, record, line, row, number)
            except Refused as error:
                fields = {f"{name}.{number}.{k}".rstrip("."): v for k, v in error.fields.items()}
                raise Refused(error.message, fields=fields, code=error.code) from error


def _set_line(actor: Actor, part: Entry, record: Record, line: Record | None, row: dict, number: int) -> None:
    names = tuple(n for n in writable_fields(actor, part) if n != part.surface.inside)
    _known(part, row, names)
    if line is None:
        line = part.model(**{part.surface.inside: record})
        if "position" in part.fields and "position" not in row:
            line.position = number
        _bind(actor, part, line, row, _with_required(part, names, row), adding=True)
        line.prepare(actor, "add")
        line.save(force_insert=True)
    else:
        before = _values(line)
        given = tuple(n for n in names if n in row)
        if given:
            _bind(actor, part, line, row, given)
        _save(actor, line, "change", before)


@contextmanager
def _foreign_keys_at_the_end(needed: bool):
    """Check foreign keys when the block ends instead of row by row."""
    if not needed:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


# --- many at once -----------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of one row of many: the record, or why it was refused."""

    index: int
    record: Record | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether the row went in."""
        return not self.errors


class Many:
    """Adds or changes many records of one model through the same form, checks and journal, with few queries.

    Permission is asked once for the verb, and for the scope over all rows at the end; relations may be given as records
    that the caller has already looked up among the visible ones. Rows that are refused do not stop the others.
    """

    def __init__(self, actor: Actor, model: type[Record], *, cause: uuid.UUID | None = None, history: bool = False):
        self.actor = actor
        self.entry = registry.of(model)
        self.cause = cause
        self.history = history
        self.names = writable_fields(actor, self.entry, history=history)
        self._forms: dict[tuple, RecordForm] = {}

    def add(self, rows: Sequence[Mapping]) -> list[Outcome]:
        """Add one record per row; one transaction for those that are accepted. Rows may carry lines."""
        must(self.actor, self.entry, "add")
        outcomes = [Outcome(i) for i in range(len(rows))]
        children: dict[int, list[tuple[Entry, Record]]] = {}
        for outcome, row in zip(outcomes, rows, strict=True):
            with self._telling(outcome):
                outcome.record, children[outcome.index] = self._fresh(dict(row))
        with changing(self.actor, "import" if self.history else "add", self.cause):
            accepted = [o for o in outcomes if o.ok]
            try:
                with transaction.atomic():
                    self._insert(accepted, children)
            except (*DATABASE_REFUSALS, NotAllowed):
                for outcome in accepted:  # find out which ones, one by one
                    try:
                        with transaction.atomic():
                            outcome.record._state.adding = True
                            self._insert([outcome], children)
                    except DATABASE_REFUSALS as error:
                        self._blame(outcome, refusal(error))
                    except NotAllowed as error:
                        self._blame(outcome, Refused(error.message, fields={"": [error.message]}, code=error.code))
        return outcomes

    def change(self, rows: Sequence[tuple[Record, Mapping]]) -> list[Outcome]:
        """Change each given record; those outside of the actor's ``change`` are refused with the reason."""
        outcomes = [Outcome(index, record) for index, (record, _row) in enumerate(rows)]
        with changing(self.actor, "import" if self.history else "change", self.cause):
            within = self._within("change", [record for record, _row in rows])
            for outcome, (record, row) in zip(outcomes, rows, strict=True):
                with self._telling(outcome), transaction.atomic():
                    if record.pk not in within:
                        require(self.actor, record, "change")
                    self._changed(record, dict(row))
        return outcomes

    def delete(self, records: Sequence[Record]) -> list[Outcome]:
        """Delete records with the parts inside them; one that is used, frozen or out of scope stays and says why."""
        outcomes = [Outcome(index, record) for index, record in enumerate(records)]
        with changing(self.actor, "delete", self.cause):
            within = self._within("delete", records)
            try:
                with transaction.atomic():
                    if len(within) != len({r.pk for r in records}):
                        raise NotAllowed("")
                    for record in records:
                        record.leaving(self.actor)
                    _spare(self.actor, self.entry, [r.pk for r in records])
                    _delete_all(self.entry, records)
            except (*DATABASE_REFUSALS, models.ProtectedError, NotAllowed, Refused):
                for outcome, record in zip(outcomes, records, strict=True):  # find out which ones, one by one
                    with self._telling(outcome), transaction.atomic():
                        if record.pk not in within:
                            require(self.actor, record, "delete")
                        record.leaving(self.actor)
                        _spare(self.actor, self.entry, [record.pk])
                        _delete_all(self.entry, [record])
        return outcomes

    def put_back(self, rows: Sequence[tuple[Record, Mapping[str, object]]]) -> list[Outcome]:
        """Give records the values that the journal kept of them, by column; the rules of the database apply."""
        outcomes = [Outcome(index, record) for index, (record, _old) in enumerate(rows)]
        with changing(self.actor, "undo", self.cause):
            within = self._within("change", [record for record, _old in rows])
            for outcome, (record, old) in zip(outcomes, rows, strict=True):
                with self._telling(outcome), transaction.atomic():
                    if record.pk not in within:
                        require(self.actor, record, "change")
                    before = _values(record)
                    _set_columns(record, old)
                    record.prepare(self.actor, "change")
                    _set_columns(record, old)
                    changed = [
                        f.name for f in record._meta.concrete_fields if getattr(record, f.attname) != before[f.attname]
                    ]
                    if changed:
                        record.save(update_fields=changed)
                        record.settled(self.actor, "undo", frozenset(changed))
        return outcomes

    def bring_back(self, olds: Sequence[Mapping[str, object]]) -> list[Outcome]:
        """Add deleted records again as the journal kept them, under their own ids."""
        outcomes = [Outcome(index) for index in range(len(olds))]
        with changing(self.actor, "undo", self.cause):
            for outcome, old in zip(outcomes, olds, strict=True):
                with self._telling(outcome), transaction.atomic():
                    record = outcome.record = self.entry.model()
                    _set_columns(record, old)
                    record.prepare(self.actor, "add")
                    _set_columns(record, old)
                    record.save(force_insert=True)
                    stamps = {f.name: f.to_python(old[f.column]) for f in _stamps(record) if f.column in old}
                    if stamps:
                        self.entry.model._default_manager.filter(pk=record.pk).update(**stamps)
                    _still_mine(self.actor, self.entry, record)
        return outcomes

    def _within(self, verb: str, records: Sequence[Record]) -> set:
        """The keys of those records over which the actor may do the verb (one query)."""
        rows = visible(as_of_now(self.actor), self.entry.model, verb).filter(pk__in=[r.pk for r in records])
        return set(rows.values_list("pk", flat=True))

    @contextmanager
    def _telling(self, outcome: Outcome):
        """A refusal inside of the block becomes the outcome's."""
        try:
            yield
        except Refused as error:
            self._blame(outcome, error)
        except NotAllowed as error:
            self._blame(outcome, Refused(error.message, fields={"": [error.message]}, code=error.code))
        except models.ProtectedError as error:
            self._blame(outcome, still_used(error, self.actor))
        except DATABASE_REFUSALS as error:
            self._blame(outcome, refusal(error))

    def _blame(self, outcome: Outcome, error: Refused) -> None:
        outcome.record = None
        outcome.errors = error.fields or {"": [error.message]}
        outcome.code = error.code

    def _fresh(self, data: dict) -> tuple[Record, list[tuple[Entry, Record]]]:
        lines = _take_lines(self.entry, data) or {}
        owned = _defaults(self.actor, self.entry, self.names, data)
        record = self._bound(self.entry, self.names, data, owned, with_lines=bool(lines))
        record.prepare(self.actor, "add")
        children = []
        for name, rows in lines.items():
            part = self.entry.lines[name]
            inside = part.surface.inside
            names = tuple(n for n in writable_fields(self.actor, part) if n != inside)
            for number, row in enumerate(rows):
                try:
                    child = self._bound(part, names, dict(row), {inside: record})
                except Refused as error:
                    fields = {f"{name}.{number}.{k}".rstrip("."): v for k, v in error.fields.items()}
                    raise Refused(error.message, fields=fields, code=error.code) from error
                if "position" in part.fields and "position" not in row:
                    child.position = number
                child.prepare(self.actor, "add")
                children.append((part, child))
        return record, children

    def _bound(
        self, entry: Entry, names: Sequence[str], data: dict, given: Mapping | None = None, *, with_lines: bool = False
    ) -> Record:
        _known(entry, data, names)
        record = entry.model(**(given or {}))
        self._fill(entry, record, data, _with_required(entry, names, data), with_lines)
        return record

    def _changed(self, record: Record, data: dict) -> None:
        if any(name in data for name in self.entry.lines):
            _change(self.actor, self.entry, record, data, self.history)
            return
        _known(self.entry, data, self.names)
        before = _values(record)
        given = tuple(n for n in self.names if n in data)
        if given:
            self._fill(self.entry, record, data, given)
        changed = _save(self.actor, record, "change", before)
        if self.entry.parent is not None and self.entry.surface.inside in changed:
            _still_mine(self.actor, self.entry, record)
        record.settled(self.actor, "change", changed)

    def _fill(
        self, entry: Entry, record: Record, data: Mapping, chosen: tuple[str, ...], with_lines: bool = False
    ) -> None:
        """Pass the data through a form that is kept for all rows."""
        form = self._forms.get((entry, chosen))
        if form is None:
            form = form_class(entry.model, chosen)(
                data={}, instance=record, related=lambda model: related(self.actor, model)
            )
            form.in_bulk = True
            self._forms[(entry, chosen)] = form
        form.with_lines = with_lines
        form.again(_plain(data), record)
        if not form.is_valid():
            raise refused_by(form)
        for name, formfield in form.fields.items():
            if isinstance(formfield, RelationField):
                value = form.cleaned_data.get(name)
                if value is not None:
                    formfield.known[str(value.pk)] = value

    def _insert(self, outcomes: Sequence[Outcome], children: Mapping) -> None:
        if not outcomes:
            return
        records = [o.record for o in outcomes]
        by_part: dict[Entry, list[Record]] = {}
        for outcome in outcomes:
            for part, child in children.get(outcome.index, ()):
                by_part.setdefault(part, []).append(child)
        # Lines go in before the records that they are parts of: a record may be brought in frozen (a won deal), its lines with it.
        with _foreign_keys_at_the_end(bool(by_part)):
            for part, rows in by_part.items():
                part.model._default_manager.bulk_create(rows)
            self.entry.model._default_manager.bulk_create(records)
        inside = visible(self.actor, self.entry.model, "add").filter(pk__in=[r.pk for r in records]).count()
        if inside != len(records):
            raise NotAllowed(_("Your role does not include adding records outside of your scope."))
        for record in records:
            record.settled(self.actor, "import" if self.history else "add", frozenset())
