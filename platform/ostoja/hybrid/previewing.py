"""Exactly what a decision would let leave the premises, or call back: records, fields, values and files, counted and shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from django.db import connection, models
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ostoja.access.policy import may, out_of_sight, visible_fields
from ostoja.documents.models import Attachment
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.record import Record
from ostoja.web import display
from ostoja.web.columns import title_of

from . import labels
from .core.terms import OPEN
from .levels import tables_under
from .manifest import Policy
from .models import PolicyRule
from .policing import with_rule, without_rule
from .sites import policy_in_force
from .tables import Table, Tables

SAMPLES = 5
MOST_WORDS = 80


@dataclass
class Passing:
    """What of one object passes: how many records have something in these fields, how many values, and some of them."""

    label: str
    name: str
    records: int = 0
    whole: bool = False  # records that were not there at all, or are not any longer
    file: bool = False
    size: int = 0  # bytes of files
    fields: list[dict] = field(default_factory=list)  # {name, label, values, samples}

    @property
    def values(self) -> int:
        """How many values these are."""
        return sum(f["values"] for f in self.fields)


@dataclass
class Preview:
    """What leaves, and what is called back."""

    leaves: list[Passing] = field(default_factory=list)
    returns: list[Passing] = field(default_factory=list)

    def said(self) -> list[str]:
        """The whole in one sentence for each direction."""
        out = []
        if total := _total(self.leaves):
            out.append(_("{what} will leave the premises.").format(what=total))
        if total := _total(self.returns):
            out.append(_("{what} will be called back from the cloud.").format(what=total))
        return out or [_("Nothing leaves and nothing is called back now: there are no such values yet.")]


def _total(passing: list[Passing]) -> str:
    """“These 14 values in 3 records, among them 2 files,”; nothing when there are none."""
    values, records = sum(p.values for p in passing), sum(p.records for p in passing)
    files = [p for p in passing if p.file and p.whole]
    if not values:
        return ""
    these = ngettext("This {n} value", "These {n} values", values).format(n=values)
    within = ngettext("{n} record", "{n} records", records).format(n=records)
    if not files:
        return _("{values} in {records}").format(values=these, records=within)
    number = sum(p.records for p in files)
    also = ngettext("{n} file", "{n} files", number).format(n=number)
    return _("{values} in {records}, among them {files},").format(values=these, records=within, files=also)


def of_decision(about: str, name: str, level: int) -> Preview:
    """What a decision would change. It must be a possible one (``policing.check``)."""
    policy = policy_in_force()
    return between(policy, with_rule(policy, about, name, level))


def of_withdrawal(rule: PolicyRule) -> Preview:
    """What ending a rule would change; nothing for a proposal."""
    policy = policy_in_force()
    if rule.state != PolicyRule.State.FORCE:
        return Preview()
    return between(policy, without_rule(policy, rule.about, rule.name))


def between(before: Policy, after: Policy) -> Preview:
    """What another policy would change. Two queries for every object that it concerns."""
    was, will = tables_under(before), tables_under(after)
    out = Preview()
    for label in sorted(was.by_label.keys() | will.by_label.keys()):
        there, then = _passing(was, label), _passing(will, label)
        if then - there:
            out.leaves.append(_counted(will.by_label[label], then - there, whole=not there))
        if there - then:
            out.returns.append(_counted(was.by_label[label], there - then, whole=not then))
    out.leaves = [p for p in out.leaves if p.records]
    out.returns = [p for p in out.returns if p.records]
    return out


def _passing(tables: Tables, label: str) -> set[str]:
    table = tables.get(label)
    return set(table.open(OPEN)) if table is not None and table.holdable(OPEN) else set()


def _made(table: Table, whole: bool) -> Passing:
    entry = registry.get(table.label)
    name = str(capfirst(entry.things if entry else table.model._meta.verbose_name_plural))
    return Passing(table.label, name, whole=whole, file=issubclass(table.model, Attachment))


def _counted(table: Table, names: Iterable[str], *, whole: bool) -> Passing:
    """How much these fields hold in records that are not marked as sensitive, with the newest few values of each."""
    ordered = [f.name for f in table.model._meta.concrete_fields if f.name in set(names)]
    out = _made(table, whole)
    filled = [f"nullif(t.\"{table.columns[n].column}\"::text, '')" for n in ordered]
    rows = (
        f'FROM "{table.name}" t WHERE NOT EXISTS (SELECT FROM hybrid_label l WHERE l.id = t.id AND l.level > 0) '
        f"AND coalesce({', '.join(filled)}) IS NOT NULL"
    )
    size = ", coalesce(sum(t.size), 0)" if out.file else ", 0"
    counts = ", ".join(f"count({one})" for one in filled)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*){size}, {counts} {rows}")
        out.records, out.size, *values = (int(n) for n in cursor.fetchone())
        if out.records:
            columns = ", ".join(filled)
            cursor.execute(f"SELECT {columns} {rows} ORDER BY t.id DESC LIMIT 200")
            found = cursor.fetchall()
    if not out.records:
        return out
    samples = {
        name: list(dict.fromkeys(row[i] for row in found if row[i] is not None))[:SAMPLES]
        for i, name in enumerate(ordered)
    }
    shown = drawn(table.model, samples)
    out.fields = [
        {"name": name, "label": _label(table.model, name), "values": number, "samples": shown[name]}
        for name, number in zip(ordered, values, strict=True)
        if number
    ]
    return out


def of_record(record: Record, actor: Actor) -> list[Passing]:
    """What is in a record and its parts that travels: what leaves when it is opened, and what is called back when it is marked.

    Of parts that are not for this actor nothing is told, nor what a record is called that is not for them.
    """
    tables = tables_under(policy_in_force())
    by_label: dict[str, dict[object, Mapping[str, str | None]]] = {}
    for label, key, values in labels.preview(record):
        by_label.setdefault(label, {})[key] = values
    out = []
    for label, by_key in by_label.items():
        table = tables.by_label[label]
        hidden = out_of_sight(actor, table.model, by_key)
        rows = [values for key, values in by_key.items() if key not in hidden]
        if not rows:
            continue
        passing = _made(table, whole=True)
        passing.records = len(rows)
        ordered = [f.name for f in table.model._meta.concrete_fields if f.name in rows[0]]
        values = {n: [text for row in rows if (text := row[n]) not in (None, "")] for n in ordered}
        shown = drawn(table.model, {n: list(dict.fromkeys(texts))[:SAMPLES] for n, texts in values.items()}, actor)
        passing.fields = [
            {"name": n, "label": _label(table.model, n), "values": len(values[n]), "samples": shown[n]} for n in ordered if values[n]
        ]  # fmt: skip
        out.append(passing)
    return out


def narrowed(actor: Actor, passing: Iterable[Passing]) -> list[Passing]:
    """What passes, without the values that this actor may not see; they are counted all the same."""
    out = []
    for one in passing:
        entry = registry.get(one.label)
        seen = set(visible_fields(actor, entry)) if entry is not None and may(actor, entry, "view") else set()
        fields = [f if f["name"] in seen else {**f, "samples": []} for f in one.fields]
        out.append(replace(one, fields=fields))
    return out


def _label(model: type[models.Model], name: str) -> str:
    return str(capfirst(model._meta.get_field(name).verbose_name))


def drawn(
    model: type[models.Model], samples: Mapping[str, list[str]], actor: Actor | None = None
) -> dict[str, list[str]]:
    """Values as the database writes them, as people read them: what a reference points to is named, as far as it is for this
    actor, if one is given. One query a reference, or two."""
    return {name: _drawn(model._meta.get_field(name), texts, actor) for name, texts in samples.items()}


def _drawn(column: models.Field, texts: list[str], actor: Actor | None) -> list[str]:
    if column.is_relation:
        related = column.related_model
        found = {r.pk: title_of(r) for r in related._default_manager.filter(pk__in=texts)}
        hidden = out_of_sight(actor, related, found) if actor is not None else ()
        names = {str(key): _("(not visible)") if key in hidden else name for key, name in found.items()}
        return [Truncator(names.get(text, text)).chars(MOST_WORDS) for text in texts]
    if column.choices:
        known = {str(value): str(label) for value, label in column.flatchoices}
        return [known.get(text, text) for text in texts]
    if isinstance(column, models.BooleanField):
        return [_("Yes") if text == "true" else _("No") for text in texts]
    if isinstance(column, models.DecimalField):
        return [display.number(Decimal(text)) for text in texts]
    if isinstance(column, models.DateTimeField):
        return [display.moment(dt.datetime.fromisoformat(text)) for text in texts]
    if isinstance(column, models.DateField):
        return [display.date(dt.date.fromisoformat(text)) for text in texts]
    return [Truncator(text).chars(MOST_WORDS) for text in texts]


def as_data(passing: Iterable[Passing]) -> list[dict]:
    """A preview as plain data, for programs."""
    return [
        {
            "object": p.label, "records": p.records, "values": p.values, "whole_records": p.whole, "files": p.records if p.file else 0,
            "bytes_of_files": p.size,
            "fields": [{"field": f["name"], "values": f["values"], "samples": f["samples"]} for f in p.fields],
        }
        for p in passing
    ]  # fmt: skip
