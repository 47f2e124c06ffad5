"""One valid record of every object, made through the API itself."""

from __future__ import annotations

import itertools
from decimal import Decimal

from django.db import models

from ostoja.access.policy import may, writable_fields
from ostoja.gate import is_required
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from .answers import at

_numbers = itertools.count(1)


def closed_field(number: int) -> str:
    """A field that the code keeps closed and that two owners may open, another for every number."""
    found = [
        f"{e.label}.{name}" for e in registry.entries() if e.model.sync in ("merge", "append")
        for name in e.fields if str(e.class_of(name)) == "confidential" and name not in e.model.data.secret
    ]  # fmt: skip
    return found[number % len(found)]


# What a form demands beyond the type of a field.
KNOWN = {
    ("party.contactpoint", "type"): "email",
    ("party.contactpoint", "value"): lambda n: f"sample{n}@example.com",
    ("party.taxid", "type"): "vat",
    ("party.taxid", "country"): "DE",
    ("party.taxid", "value"): "DE136695976",
    ("party.bankaccount", "iban"): "PL61109010140000071219812874",
    ("access.role", "grants"): {},
    ("access.role", "classes"): ["public"],
    ("access.role", "code"): lambda n: f"role-{n}",
    ("access.savedview", "object"): "access.user",
    ("hybrid.policyrule", "about"): "field",
    ("hybrid.policyrule", "name"): closed_field,
    ("hybrid.policyrule", "level"): 0,
    ("exchange.savedmapping", "object"): "access.user",
    ("exchange.savedmapping", "mapping"): {"columns": []},
    ("sales.stage", "kind"): "open",
    ("party.party", "name"): lambda n: f"Sample {n}",
    ("party.party", "kind"): "org",
    ("party.party", "website"): lambda n: f"https://sample{n}.example",
    ("planning.activity", "subject"): lambda n: f"Sample {n}",
    ("sales.deal", "title"): lambda n: f"Sample {n}",
    ("sales.dealline", "price"): "10.00",
}


def fill(program, owner) -> dict:
    """One record of every object that can be added by its fields: entry -> id. Objects come after what they point to.

    Under ``(entry, "another")`` there is a second one, where there can be two.
    """
    there: dict = {registry.of(type(owner)): str(owner.pk)}
    waiting = [e for e in registry.entries() if may(Actor.system(), e, "add") and writable_fields(Actor.system(), e)]
    while waiting:
        later = []
        for entry in waiting:
            body = sample(entry, there)
            response = None if body is None else program.post(at(entry.slug), body)
            if response is not None and response.status_code == 201:
                there[entry] = response.json()["id"]
                other = program.post(at(entry.slug), sample(entry, there))
                if other.status_code == 201:
                    there[entry, "another"] = other.json()["id"]
            else:
                later.append(entry)
        if len(later) == len(waiting):
            break
        waiting = later
    return there


def sample(entry: Entry, there: dict, every: bool = False) -> dict | None:
    """A body for a new record with the fields that it needs (or with every one); None while what it points to is missing."""
    number, body = next(_numbers), {}
    for name in writable_fields(Actor.system(), entry):
        field = entry.fields[name]
        if not every and not is_required(field) and (entry.label, name) not in KNOWN and name != entry.surface.inside:
            continue
        if field.is_relation:
            try:
                target = registry.of(field.related_model)
            except KeyError:
                target = None
            twice = target is not None and name != entry.surface.inside and target is entry.parent
            key = there.get((target, "another") if twice else target)
            if key is None and is_required(field):
                return None
            if key is not None and field.related_model is not entry.model:
                body[name] = key
            continue
        known = KNOWN.get((entry.label, name))
        body[name] = known(number) if callable(known) else known if known is not None else value(field, number)
    return body


def value(field: models.Field, number: int) -> object:
    """A value that the field takes, another for every number."""
    if field.choices:
        return str(field.flatchoices[0][0])
    if isinstance(field, models.BooleanField):
        return True
    if isinstance(field, models.IntegerField):
        return number % 90 + 1
    if isinstance(field, models.DecimalField):
        return str(Decimal(number % 90 + 1))
    if isinstance(field, models.DateTimeField):
        return "2026-03-31T12:00:00Z"
    if isinstance(field, models.DateField):
        return "2026-03-31"
    if isinstance(field, models.EmailField):
        return f"sample{number}@example.com"
    if isinstance(field, models.JSONField):
        return field.get_default() if field.has_default() else {}
    return f"Sample {number}"[: field.max_length or 100]
