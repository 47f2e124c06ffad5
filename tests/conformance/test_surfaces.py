"""What a surface names can be asked of the database, and every rule that it may refuse by has a sentence."""

from types import SimpleNamespace

import pytest
from django.db import IntegrityError
from django.db.models import Q, Sum, UniqueConstraint

from ostoja.access.policy import scope_filter, visible, visible_fields, writable_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import ALL_CLASSES
from ostoja.kernel.constraints import Check, Follows, Frozen
from ostoja.refusals import refusal

ENTRIES = sorted(registry.entries(), key=lambda e: e.label)
each_object = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.label)
RULES = [(e, c) for e in ENTRIES for c in e.model._meta.constraints]
each_rule = pytest.mark.parametrize(("entry", "rule"), RULES, ids=[f"{e.label}-{c.name}" for e, c in RULES])


class Cause(Exception):
    """What the driver says of a refusal."""

    def __init__(self, name: str):
        self.diag = SimpleNamespace(constraint_name=name, sqlstate="23514", column_name=None)


@each_rule
def test_every_rule_refuses_with_a_sentence_and_its_name(entry, rule):
    error = IntegrityError("refused")
    error.__cause__ = Cause(rule.name)
    refused = refusal(error)
    assert refused.code == rule.name
    assert len(refused.message) > 8 and refused.message.endswith((".", "!", "?")) or isinstance(rule, UniqueConstraint)
    assert rule.name not in refused.message and "{" not in refused.message
    assert set(refused.fields) <= {"", *entry.fields}
    if isinstance(rule, (Check, Frozen, Follows)):
        assert rule.says, f"{rule.name} does not say what people read."


@each_object
def test_every_path_of_a_surface_can_be_asked(samples, actor, entry):
    surface, rows = entry.surface, visible(actor, entry.model)
    list(rows.order_by(*surface.sort).select_related(*[n for n in surface.list if entry.fields[n].is_relation])[:5])
    for path in surface.search:
        list(rows.filter(**{f"{path}__icontains": "x"})[:5])
    for path in (*surface.filters, *surface.natural_key):
        list(rows.filter(**{f"{path}__isnull": False}).order_by(path)[:5])
    for scope in entry.scopes:
        list(rows.filter(scope_filter(actor, entry, scope) or Q())[:5])
    if surface.board:
        heads = rows.filter(surface.board.within or Q()).order_by().values(surface.board.field)
        list(heads.annotate(total=Sum(surface.board.total)) if surface.board.total else heads)
    if surface.calendar:
        list(rows.order_by(surface.calendar.start, *filter(None, [surface.calendar.end]))[:5])
    for panel in surface.panels:
        related = entry.model._meta.get_field(panel.related)
        part = registry.of(related.related_model)
        assert set(panel.columns) <= set(part.fields)
        list(visible(actor, part.model).filter(**{f"{related.field.name}__in": rows})[:5])


@each_object
def test_a_field_is_seen_with_its_class_and_a_secret_never(as_role, entry):
    for cls in sorted(ALL_CLASSES):
        reader = as_role({entry.label: {"*": "all"}}, classes=[cls])
        seen = set(visible_fields(reader, entry))
        assert seen == {n for n in entry.fields if str(entry.class_of(n)) in {cls, "public"}} - entry.model.data.secret
        assert set(writable_fields(reader, entry, history=True)) <= seen
