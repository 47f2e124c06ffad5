"""A sample is a valid record of any object of the registry, made as a person would make it; the conformance suite attacks it."""

from __future__ import annotations

import io
import itertools
from collections import deque
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from django.db import IntegrityError, connection, models
from django.utils import timezone

from ostoja import gate
from ostoja.access.people import invite
from ostoja.access.policy import writable_fields
from ostoja.access.tokens import issue
from ostoja.documents import files
from ostoja.documents.models import Attachment
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.ids import uuid7
from ostoja.kernel.record import SYSTEM_FIELDS, follows_of, verbs_of
from ostoja.kernel.registry import Entry

# What a form demands beyond the type of a field; everything else follows from the declaration.
DEMANDED: dict[str, dict[str, Callable[[int], object]]] = {
    "party.contactpoint": {"type": lambda n: "email", "value": lambda n: f"sample{n}@example.com"},
    "party.taxid": {"type": lambda n: "regon", "value": lambda n: regon(n)},
    "party.bankaccount": {"iban": lambda n: iban(n)},
    "sales.deal": {"amount": lambda n: Decimal("1250.50")},
    "sales.dealline": {"price": lambda n: Decimal("99.99")},
    "planning.activity": {"subject": lambda n: f"Sample {n}"},
    "sales.stage": {"probability": lambda n: 10},
    "access.role": {"grants": lambda n: {}, "classes": lambda n: ["public"], "code": lambda n: f"role-{n}"},
    "access.savedview": {"object": lambda n: "party.party", "query": lambda n: {"state": "active"}},
    "exchange.savedmapping": {
        "columns": lambda n: ["a"],
        "object": lambda n: "party.party",
        "mapping": lambda n: {"version": 1, "columns": [{"from": "a", "to": "name"}]},
    },
}


def regon(number: int) -> str:
    """A REGON of nine digits with its check digit."""
    digits = f"{number:08d}"
    check = sum(int(d) * w for d, w in zip(digits, (8, 9, 2, 3, 4, 5, 6, 7), strict=True)) % 11 % 10
    return f"{digits}{check}"


def iban(number: int) -> str:
    """A Polish IBAN with its check digits."""
    account = f"10901014{number:016d}"
    return f"PL{98 - int(f'{account}252100') % 97:02d}{account}"


class Samples:
    """Makes records: ``of(entry)`` a new valid one, ``in_state(record, state)`` brings one along its state table."""

    def __init__(self, actor: Actor):
        self.actor = actor
        self.numbers = itertools.count(1)
        self._making: set[str] = set()

    def of(self, entry: Entry) -> models.Model:
        """A new record of an object, with what it must point to."""
        special = SPECIAL.get(entry.label) or self._upload_of(entry)
        if special is not None:
            return special(self, entry)
        names = writable_fields(self.actor, entry)
        if not names or entry.surface.automatic:
            return self._written(entry)
        return gate.perform(self.actor, entry.model, "add", self._data(entry, names))

    def shared(self, entry: Entry) -> models.Model:
        """The first record of an object that is there, else a new one."""
        return entry.model._default_manager.first() or self.of(entry)

    def in_state(self, record, state: str, field: str = "state"):
        """Bring a record to a state by the shortest way that its state table allows, past all verbs."""
        edges = follows_of(type(record), field).edges
        ways = deque([[getattr(record, field)]])
        seen = {ways[0][0]}
        while ways:
            way = ways.popleft()
            if way[-1] == state:
                for step in way[1:]:
                    self.write(record, field, step)
                return type(record)._default_manager.get(pk=record.pk)
            for after in edges[way[-1]]:
                if after not in seen:
                    seen.add(after)
                    ways.append([*way, after])
        raise AssertionError(f"{type(record).__name__} never gets to “{state}”.")

    def write(self, record, name: str, value) -> None:
        """Set one column with bare SQL, as the owner; where a check ties others to a state, what its verb sets goes along."""
        try:
            self._update(record, {name: value})
        except IntegrityError as error:
            checks = {c.name for c in record._meta.constraints if isinstance(c, models.CheckConstraint)}
            if error.__cause__.diag.constraint_name not in checks:
                raise
            along = self._set_by_the_verb(record, name, value)
            if not along:
                raise
            self._update(record, {name: value, **along})

    def _update(self, record, values: dict[str, object]) -> None:
        meta = record._meta
        fields = [meta.get_field(name) for name in values]
        columns = ", ".join(f'"{field.column}" = %s' for field in fields)
        with changing(self.actor, "attack"), connection.cursor() as cursor:
            cursor.execute(
                f'UPDATE "{meta.db_table}" SET {columns} WHERE id = %s',
                [*(f.get_db_prep_save(v, connection) for f, v in zip(fields, values.values(), strict=True)), record.pk],
            )

    def _set_by_the_verb(self, record, field: str, state) -> dict[str, object]:
        """The columns besides the state that the verb to this state sets, its arguments included."""
        found = (v for v in verbs_of(type(record)).values() if v.to == state and v.field == field)
        spec = next(found, None)
        if spec is None:
            return {}
        trial = type(record)._default_manager.get(pk=record.pk)
        before = {f.name: getattr(trial, f.attname) for f in trial._meta.concrete_fields}
        for name in spec.asks:
            setattr(trial, trial._meta.get_field(name).attname, self.other(trial, name))
        getattr(trial, spec.name)()
        after = {f.name: getattr(trial, f.attname) for f in trial._meta.concrete_fields}
        along = {name: value for name, value in after.items() if value != before[name] and name != field}
        return along | ALONG.get((record._meta.label_lower, str(state)), lambda _samples: {})(self)

    def other(self, record, name: str):
        """Another value for a field of a record, of the field's type."""
        field = record._meta.get_field(name)
        now = getattr(record, field.attname)
        if isinstance(field, models.ForeignKey):
            return self._other_relation(field, now)
        if field.choices:
            return next(str(v) for v, _label in field.flatchoices if str(v) != str(now))
        if isinstance(field, models.BooleanField):
            return not now
        if isinstance(field, models.JSONField):
            return {"another": "value"} if now != {"another": "value"} else {}
        if isinstance(field, models.DateTimeField):
            return (now or timezone.now()) + timedelta(hours=1)
        if isinstance(field, models.DateField):
            return (now or date(2026, 3, 31)) + timedelta(days=1)
        if isinstance(field, (models.DecimalField, models.IntegerField)):
            return (now or 0) + 1000 + next(self.numbers) if field.unique or self._alone(field) else (now or 0) + 1
        if isinstance(field, models.UUIDField):
            return uuid7()
        if isinstance(field, models.BinaryField):
            return b"another"
        limit = field.max_length or 20
        return f"other {next(self.numbers)}"[-limit:]

    def _alone(self, field) -> bool:
        """Whether a value of the field may stand in one row only."""
        return any(
            field.name in c.fields for c in field.model._meta.constraints if isinstance(c, models.UniqueConstraint)
        )

    def _other_relation(self, field, now):
        target = field.related_model
        try:
            entry = registry.of(target)
        except KeyError:
            return None
        return self.of(entry).pk

    def _data(self, entry: Entry, names) -> dict:
        number = next(self.numbers)
        demanded = DEMANDED.get(entry.label, {})
        self._prepare(entry)
        data = {}
        for name in names:
            field = entry.fields[name]
            if name in demanded:
                data[name] = demanded[name](number)
            elif isinstance(field, models.ForeignKey):
                if gate.is_required(field):
                    data[name] = self._related(entry, field)
            elif gate.is_required(field):
                data[name] = self._value(field, number)
        return data

    def _prepare(self, entry: Entry) -> None:
        """A deal needs a pipeline with a stage of every kind."""
        if entry.label == "sales.deal":
            stage = registry.get("sales.stage").model
            if stage.objects.values("kind").distinct().count() < 3:
                pipeline = self.of(registry.get("sales.pipeline"))
                for position, (kind, percent) in enumerate((("open", 10), ("won", 100), ("lost", 0))):
                    row = {
                        "pipeline": pipeline,
                        "name": kind,
                        "kind": kind,
                        "probability": percent,
                        "position": position,
                    }
                    gate.perform(self.actor, stage, "add", row)

    def _related(self, entry: Entry, field):
        if field.related_model is entry.model or entry.model._meta.get_field(field.name).name == "other":
            return self.of(registry.of(field.related_model))
        return self.shared(registry.of(field.related_model))

    def _value(self, field, number: int):
        if field.choices:
            return str(field.flatchoices[0][0])
        if isinstance(field, models.EmailField):
            return f"sample{number}@example.com"
        if isinstance(field, models.DateTimeField):
            return timezone.now()
        if isinstance(field, models.DateField):
            return timezone.localdate() + timedelta(days=30)  # most dates lie ahead: due, expected, until
        if isinstance(field, (models.DecimalField, models.IntegerField)):
            return number % 90 + 1
        if isinstance(field, models.JSONField):
            return {}
        if isinstance(field, models.UUIDField):
            return uuid7()
        if isinstance(field, models.BinaryField):
            return b"sample"
        return f"Sample {number}"[-(field.max_length or 40) :]

    def _written(self, entry: Entry):
        """A record that no form makes: written as the system writes it."""
        number = next(self.numbers)
        values = {}
        for name, field in entry.fields.items():
            if name in SYSTEM_FIELDS or field.null or field.has_default() or field.has_db_default():
                continue
            if isinstance(field, models.ForeignKey):
                alone = self._alone(field)
                values[name] = self.of(registry.of(field.related_model)) if alone else self._related(entry, field)
            elif not field.blank:
                values[name] = self._value(field, number)
        if not entry.model._meta.pk.has_default():
            values["id"] = uuid7()
        with changing(self.actor, "add"):
            record = entry.model(**values)
            if "owner" in entry.fields:
                record.owner_id = self.actor.user_id
            record.save(force_insert=True)
        return record

    def _upload_of(self, entry: Entry):
        return uploaded if issubclass(entry.model, Attachment) else None


def uploaded(samples: Samples, entry: Entry):
    """A file comes in by upload."""
    name = f"note {next(samples.numbers)}.txt"
    return files.store(samples.actor, samples.shared(entry.parent), io.BytesIO(b"Dzie\xc5\x84 dobry"), name)


def issued(samples: Samples, entry: Entry):
    """A token is issued."""
    return issue(samples.actor, samples.actor.user, f"Sample {next(samples.numbers)}", ["*:view"])[0]


def invited(samples: Samples, entry: Entry):
    """An invitation is sent."""
    role = samples.of(registry.get("access.role"))
    return invite(samples.actor, f"guest{next(samples.numbers)}@example.com", [role.code])


def stood(samples: Samples, entry: Entry):
    """A stage change is written by the database with the deal."""
    return samples.of(registry.get("sales.deal")).stage_changes.get()


def held(samples: Samples, entry: Entry):
    """Every role is held once by a person."""
    user, role = samples.of(registry.get("access.user")), samples.of(registry.get("access.role"))
    return gate.perform(samples.actor, entry.model, "add", {"user": user, "role": role})


def decided(samples: Samples, entry: Entry):
    """A rule of the policy names a field that can be opened, each once."""
    number = next(samples.numbers)
    declared = [
        f"{e.label}.{name}" for e in registry.entries() if e.model.sync in ("merge", "append")
        for name in e.fields if str(e.class_of(name)) == "confidential" and name not in e.model.data.secret
    ]  # fmt: skip
    data = {"about": "field", "name": declared[number % len(declared)], "level": 0}
    return gate.perform(samples.actor, entry.model, "add", data)


def sealed(samples: Samples, entry: Entry):
    """A label says that a record is sealed, so that people can be let in."""
    label = samples._written(entry)
    samples.write(label, "level", 2)
    return entry.model._default_manager.get(pk=label.pk)


# What is set with a state by more than its verb: a second owner agrees to what is opened.
ALONG: dict[tuple[str, str], Callable[[Samples], dict[str, object]]] = {
    ("hybrid.policyrule", "force"): lambda samples: {"approved_by": samples.of(registry.get("access.user")).pk},
}

SPECIAL: dict[str, Callable[[Samples, Entry], models.Model]] = {
    "access.apitoken": issued,
    "access.invitation": invited,
    "access.userrole": held,
    "exchange.importrun": Samples._written,
    "hybrid.label": sealed,
    "hybrid.policyrule": decided,
    "sales.stagechange": stood,
}
