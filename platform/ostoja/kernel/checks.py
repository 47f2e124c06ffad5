"""What is refused at start: a declaration that is missing or lies, each with an id."""

from __future__ import annotations

from django.apps import apps
from django.core.checks import Error, register
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CASCADE

from . import registry
from .constraints import Follows
from .data import CLOSED_CLASSES, Data, Sync
from .record import SYSTEM_FIELDS, Record, Thing, follows_of, verbs_of


@register("ostoja")
def declarations(app_configs, **kwargs):
    """Every stored model says its data and its sync, truly."""
    errors = []
    for model in apps.get_models():
        if not model.__module__.startswith(("ostoja.", "ext_")) or getattr(model, "lives_in_public", False):
            continue
        if not issubclass(model, Thing):
            errors.append(
                Error(f"{model.__name__} is neither a Thing nor lives_in_public.", obj=model, id="ostoja.E000")
            )
            continue
        errors += _says(model)
        if issubclass(model, Record):
            errors += _merges(model)
            errors += _verbs(model)
    for entry in registry.entries():
        errors += _surface(entry)
    return errors


def _says(model):
    if not isinstance(getattr(model, "sync", None), Sync):
        yield Error(f"{model.__name__} does not say its sync.", hint="sync = Sync.MERGE", obj=model, id="ostoja.E001")
    data = getattr(model, "data", None)
    if not isinstance(data, Data):
        yield Error(f"{model.__name__} does not say its data.", hint="data = Data(…)", obj=model, id="ostoja.E002")
        return
    if data.rest is not None and data.rest not in CLOSED_CLASSES:
        yield Error(f"{model.__name__}: “*” may stand only in confidential or restricted.", obj=model, id="ostoja.E003")
    names = {f.name for f in model._meta.concrete_fields}
    for name in sorted(names - SYSTEM_FIELDS):
        if data.class_of(name) is None:
            yield Error(f"{model.__name__}.{name} has no data class.", obj=model, id="ostoja.E004")
    for name in sorted(set(data.named) - names):
        yield Error(f"{model.__name__}.data names {name}, which is no field.", obj=model, id="ostoja.E005")


def _merges(model):
    fields = {f.name for f in model._meta.concrete_fields}
    named = [name for group in model.sync_together for name in group]
    sources = {source for source in model.sync_derived.values() if "." not in source}
    for name in sorted({*named, *model.sync_derived, *sources} - fields):
        yield Error(f"{model.__name__} says how {name} merges, which is no field.", obj=model, id="ostoja.E006")
    for name in sorted({n for n in named if named.count(n) > 1}):
        yield Error(f"{model.__name__}.{name} is in two groups that merge as one.", obj=model, id="ostoja.E007")


def _verbs(model):
    fields = {f.name for f in model._meta.concrete_fields}
    for name, spec in verbs_of(model).items():
        if spec.to is not None:
            table = follows_of(model, spec.field)
            if table is None:
                yield Error(
                    f"{model.__name__}.{name} leads to a state, but no Follows says from where.",
                    obj=model,
                    id="ostoja.E010",
                )
            elif not any(spec.to in to for to in table.edges.values()):
                yield Error(
                    f"{model.__name__}.{name} leads to “{spec.to}”, which no state is followed by.",
                    obj=model,
                    id="ostoja.E011",
                )
        for argument in spec.arguments:
            if argument not in fields:
                yield Error(
                    f"{model.__name__}.{name} asks for {argument}, which is no field.", obj=model, id="ostoja.E012"
                )
    for constraint in model._meta.constraints:
        if isinstance(constraint, Follows):
            choices = {str(value) for value, _label in model._meta.get_field(constraint.field).flatchoices}
            named = set(constraint.edges) | {b for to in constraint.edges.values() for b in to}
            for state in sorted(named ^ choices):
                yield Error(
                    f"{model.__name__}: state “{state}” is in the choices or in Follows, not in both.",
                    obj=model,
                    id="ostoja.E013",
                )
    for field in model._meta.concrete_fields:
        if field.many_to_one and field.remote_field.on_delete is CASCADE and issubclass(field.related_model, Record):
            yield Error(
                f"{model.__name__}.{field.name} deletes by CASCADE, which no gate sees.",
                hint="Use PROTECT; lines are deleted by the gate.",
                obj=model,
                id="ostoja.E014",
            )


def _surface(entry):
    surface, model = entry.surface, entry.model
    named = [
        *surface.list,
        *surface.form_fields(),
        *surface.filters,
        *surface.codes,
        *(name.split("__")[0] for _label, asked in surface.views for name in asked),
        *surface.history,
        *surface.natural_key,
        *surface.subtitle,
    ]
    if surface.title:
        named.append(surface.title)
    if surface.board:
        named.append(surface.board.field)
    for path in dict.fromkeys(named):
        try:
            _walk(model, path)
        except FieldDoesNotExist:
            yield Error(
                f"{surface.__name__} names {path}, which is no field of {model.__name__}.",
                obj=surface,
                id="ostoja.E020",
            )
    for path in surface.search:
        try:
            _walk(model, path)
        except FieldDoesNotExist:
            yield Error(f"{surface.__name__} searches {path}, which is no field.", obj=surface, id="ostoja.E021")


def _walk(model, path):
    for part in path.split("__"):
        field = model._meta.get_field(part)
        model = field.related_model
