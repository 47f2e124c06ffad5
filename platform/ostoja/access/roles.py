"""Roles as people see them: a matrix of objects, verbs and scopes, read from a role's grants and written back into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from ostoja.kernel import registry
from ostoja.kernel.record import EDITING
from ostoja.kernel.registry import Entry

from .actor_of import merged
from .grants import check_grants
from .policy import editing_verbs

__all__ = [
    "CLASS_NAMES",
    "Cell",
    "Line",
    "check_grants",
    "class_choices",
    "grants_of",
    "matrix",
    "scope_name",
    "verb_name",
]

VERB_NAMES = {
    "view": gettext_lazy("See"),
    "add": gettext_lazy("Add"),
    "change": gettext_lazy("Change"),
    "delete": gettext_lazy("Delete"),
    "import": gettext_lazy("Import"),
    "export": gettext_lazy("Export"),
}
SCOPE_NAMES = {
    "": gettext_lazy("No"),
    "own": gettext_lazy("Own"),
    "team": gettext_lazy("Team's"),
    "shared": gettext_lazy("Own and shared"),
    "all": gettext_lazy("All"),
}
CLASS_NAMES = {
    "public": gettext_lazy("Public: may be known to anybody"),
    "internal": gettext_lazy("Internal: for everybody who works here"),
    "confidential": gettext_lazy("Confidential: costs, notes, personal things"),
    "restricted": gettext_lazy("Restricted: bank accounts, salaries, health"),
}


@dataclass(frozen=True)
class Cell:
    """One verb on one object: ``name`` of its form field, the scope it has, and the scopes to choose from."""

    name: str
    verb: str
    label: str
    value: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Line:
    """One object: the editing verbs in the order of ``EDITING`` (None for one that it does not have), then those it declares."""

    label: str
    title: str
    group: str
    cells: tuple[Cell | None, ...]
    more: tuple[Cell, ...]


def verb_name(entry: Entry | None, verb: str) -> str:
    """A verb in words."""
    if verb in VERB_NAMES:
        return str(VERB_NAMES[verb])
    return str(entry.verbs[verb].label) if entry and verb in entry.verbs else verb


def scope_name(scope: str) -> str:
    """A scope in words."""
    return str(SCOPE_NAMES.get(scope, scope.replace("_", " ").capitalize()))


def matrix(grants: Mapping) -> list[Line]:
    """What these grants mean, object by object: the daily ones in the order of navigation, then what is in no navigation.

    Parts are left out: they follow their record.
    """
    rights = merged([grants])
    general = rights.get("*", {})
    lines = []
    for entry in sorted(registry.entries(), key=lambda e: not e.surface.group):
        if entry.parent is not None:
            continue
        said = rights.get(entry.label, general)
        cells = {verb: _cell(entry, verb, said.get(verb) or said.get("*") or "") for verb in editing_verbs(entry)}
        lines.append(
            Line(
                label=entry.label,
                title=str(capfirst(entry.model._meta.verbose_name_plural)),
                group=entry.surface.group,
                cells=tuple(cells.get(verb) for verb in EDITING),
                more=tuple(cell for verb, cell in cells.items() if verb not in EDITING),
            )
        )
    return lines


def _cell(entry: Entry, verb: str, scope: str) -> Cell:
    value = scope if scope in ("", *entry.scopes) else ""
    options = tuple((s, scope_name(s)) for s in ("", *entry.scopes))
    return Cell(f"{entry.label}:{verb}", verb, verb_name(entry, verb), value, options)


def grants_of(posted: Mapping, before: Mapping | None = None) -> dict[str, dict[str, str]]:
    """The grants that a posted matrix says (``sales.deal:view`` -> ``own``); a field that was not posted says no.

    Where ``before`` had ``*`` and the matrix still says one scope for all, the ``*`` stays, so that verbs and objects to
    come are included. The result is checked where it is saved.
    """
    before = before or {}
    grants: dict[str, dict[str, str]] = {}
    everything = before.get("*", {}).get("*")
    whole = bool(everything)
    for entry in registry.entries():
        if entry.parent is not None:
            continue
        verbs = {v: str(posted.get(f"{entry.label}:{v}") or "") for v in editing_verbs(entry)}
        given = {verb: scope for verb, scope in verbs.items() if scope}
        scopes = set(verbs.values())
        whole = whole and scopes == {everything}
        if len(scopes) == 1 and given and (before.get(entry.label) or before.get("*") or {}).get("*"):
            given = {"*": scopes.pop()}
        if given:
            grants[entry.label] = given
    return {"*": {"*": everything}} if whole else grants


def class_choices() -> list[tuple[str, str]]:
    """The data classes with their meaning, for the form of a role."""
    return [(name, str(label)) for name, label in CLASS_NAMES.items()]
