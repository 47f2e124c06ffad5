"""The manifest of a tenant: compiled from what every model declares and from the tenant's policy; undeclared is local."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import models
from django.utils.translation import gettext as _

from ostoja.kernel import registry
from ostoja.kernel.constraints import Follows
from ostoja.kernel.data import CLOSED_CLASSES, DataClass, Sync
from ostoja.kernel.errors import Refused
from ostoja.kernel.record import Record, class_of

from .core.terms import LOCAL, NEVER, OPEN, SEALED, Authority, FieldTerms, Manifest, Merge, Mode, ModelTerms, Unique

EACH_SITE_KEEPS = frozenset({"id", "version", "updated_at"})
BY_CLASS = {
    DataClass.PUBLIC: OPEN,
    DataClass.INTERNAL: OPEN,
    DataClass.CONFIDENTIAL: LOCAL,
    DataClass.RESTRICTED: LOCAL,
}
AUTHORITY = {
    Sync.MERGE: Authority.SHARED,
    Sync.APPEND: Authority.SHARED,
    Sync.PREMISES: Authority.PREMISES,
    Sync.CLOUD: Authority.CLOUD,
}


@dataclass(frozen=True)
class Policy:
    """What a tenant decided: levels by data class and by field (``sales.deal.notes``), and models that stay at home.

    Anything may be raised. Only what is public, internal or confidential may be lowered; restricted and secret never.
    """

    classes: Mapping[DataClass, int] = field(default_factory=dict)
    fields: Mapping[str, int] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Difference:
    """What a change of policy does: fields (``model.field``) that would leave the premises, and those that are called back."""

    opens: tuple[str, ...]
    closes: tuple[str, ...]


def never_lower(model: type[models.Model], name: str) -> bool:
    """Whether no policy may open this field."""
    return name in model.data.secret or class_of(model, name) in (None, DataClass.RESTRICTED)


def compile_manifest(policy: Policy | None = None, records: Iterable[type[Record]] | None = None) -> Manifest:
    """The manifest of all business objects under a policy. Raises Refused when the policy names nothing, or too much."""
    policy = policy or Policy()
    found = sorted(registry.records() if records is None else records, key=lambda m: m._meta.label_lower)
    _check(policy, {m._meta.label_lower: m for m in found})
    travelling = {m for m in found if m.sync in AUTHORITY and m._meta.label_lower not in policy.closed}
    return Manifest({m._meta.label_lower: _terms(m, policy, travelling) for m in found if m in travelling})


def difference(before: Manifest, after: Manifest, ceiling: int = OPEN) -> Difference:
    """What passes a link with this ceiling after a change of policy and did not before, and the other way round."""

    def passing(manifest):
        return {f"{label}.{name}" for label in manifest.models for name in manifest.open(label, ceiling)}

    was, now = passing(before), passing(after)
    return Difference(tuple(sorted(now - was)), tuple(sorted(was - now)))


def _terms(model, policy: Policy, travelling: set) -> ModelTerms:
    follows = {c.field: c for c in model._meta.constraints if isinstance(c, Follows)}
    fields = {}
    for column in model._meta.concrete_fields:
        if column.name in EACH_SITE_KEEPS or column.generated or column.primary_key:
            continue
        refers = column.related_model if column.is_relation else None
        merge = Merge.LATEST
        if model.sync == Sync.APPEND or column.name == "created_at":
            merge = Merge.FIXED
        elif column.name in follows and model.sync == Sync.MERGE:
            merge = Merge.TRANSITION
        level = _level(model, column.name, policy)
        if refers is not None and refers not in travelling:
            level = max(level, LOCAL)  # a key of what never leaves tells that it exists
        fields[column.name] = FieldTerms(level, merge, refers._meta.label_lower if refers else "")
    together = tuple(tuple(group) for group in model.sync_together)
    for group in together:  # a group is as closed as its most closed field
        top = max(fields[name].level for name in group)
        fields |= {name: fields[name]._replace(level=top) for name in group}
    return ModelTerms(
        mode=Mode(model.sync),
        authority=AUTHORITY[model.sync],
        fields=fields,
        together=together,
        unique=tuple(_uniques(model, fields)),
        edges={name: table.edges for name, table in follows.items() if fields[name].merge == Merge.TRANSITION},
        inherits=_inherits(model, travelling),
    )


def _level(model, name: str, policy: Policy) -> int:
    declared = class_of(model, name)
    if name in model.data.secret:
        return NEVER
    if declared is None:
        return LOCAL
    level = policy.classes.get(declared, BY_CLASS[declared])
    return policy.fields.get(f"{model._meta.label_lower}.{name}", level)


def _uniques(model, fields):
    for rule in model._meta.constraints:
        if isinstance(rule, models.UniqueConstraint) and rule.fields and fields.keys() >= set(rule.fields):
            closed = any(fields[name].level > OPEN for name in rule.fields)
            yield Unique(rule.name, tuple(rule.fields), premises_only=closed)
    for column in model._meta.concrete_fields:
        if column.unique and column.name in fields:
            yield Unique(f"{column.name}_is_unique", (column.name,), premises_only=fields[column.name].level > OPEN)


def _inherits(model, travelling: set) -> str:
    entry = registry.get(model._meta.label_lower)
    name = getattr(model, "sync_inherits", "") or (entry.surface.inside if entry else "")
    return name if name and model._meta.get_field(name).related_model in travelling else ""


def _check(policy: Policy, known: dict) -> None:
    wrong: dict[str, list[str]] = {}
    for name in sorted(policy.closed - known.keys()):
        wrong[name] = [_("There is no such object. Write it like “sales.deal”.")]
    for cls, level in policy.classes.items():
        if level not in (OPEN, LOCAL, SEALED):
            wrong[str(cls)] = [_("A level is 0 (open), 1 (local) or 2 (sealed).")]
        elif cls == DataClass.RESTRICTED and level < BY_CLASS[cls]:
            wrong[str(cls)] = [_("Restricted data never leaves the premises. Leave this class closed.")]
    for path, level in policy.fields.items():
        label, _dot, name = path.rpartition(".")
        model = known.get(label)
        if model is None or name not in {f.name for f in model._meta.concrete_fields}:
            wrong[path] = [_("There is no such field. Write it like “sales.deal.notes”.")]
        elif level not in (OPEN, LOCAL, SEALED):
            wrong[path] = [_("A level is 0 (open), 1 (local) or 2 (sealed).")]
        elif never_lower(model, name) and level < LOCAL:
            wrong[path] = [_("This field never leaves the premises. Take it out of the policy.")]
    if wrong:
        raise Refused(_("The policy can't be used: see the names it gives."), fields=wrong, code="policy")


def lowered(policy: Policy) -> tuple[str, ...]:
    """What a policy opens that the code keeps closed: each needs a second person's approval."""
    by_class = [str(c) for c, level in policy.classes.items() if c in CLOSED_CLASSES and level < BY_CLASS[c]]
    by_field = []
    for path, level in policy.fields.items():
        label, _dot, name = path.rpartition(".")
        entry = next((m for m in registry.records() if m._meta.label_lower == label), None)
        if entry is not None and level < _level(entry, name, Policy()):
            by_field.append(path)
    return tuple(sorted(by_class + by_field))
