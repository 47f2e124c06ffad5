"""The terms two sites agree on: levels, how each field merges, who has authority, and the manifest that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import orjson

OPEN = 0  # may leave the premises
LOCAL = 1  # stays on the premises; the default of everything undeclared
SEALED = 2  # stays on the premises, and there only for those who need it
NEVER = 9  # leaves no site at all, whatever its clearance: secrets, digests


class Merge(StrEnum):
    """How two values of one field become one."""

    LATEST = "latest"  # the larger stamp wins
    FIXED = "fixed"  # said once, when the row is made; of one that is made anew on two sites, the later one counts
    TRANSITION = "transition"  # only the authority sets it, following its table; others ask for a step


class Mode(StrEnum):
    """How rows of a model travel; the words of ``kernel.data.Sync``."""

    MERGE = "merge"
    APPEND = "append"
    PREMISES = "premises"
    CLOUD = "cloud"


class Authority(StrEnum):
    """Which kind of site decides."""

    SHARED = "shared"
    PREMISES = "premises"
    CLOUD = "cloud"


class FieldTerms(NamedTuple):
    """What two sites know of a field: its level, its merge, the model it refers to ("" for none)."""

    level: int = LOCAL
    merge: str = Merge.LATEST
    refers: str = ""


class Unique(NamedTuple):
    """A rule that no two living rows have the same values in these fields; ``premises_only`` when one of them is not open."""

    name: str
    fields: tuple[str, ...]
    premises_only: bool = False


@dataclass(frozen=True)
class ModelTerms:
    """What two sites know of a model.

    ``together`` are groups of fields that move as one (an amount and its currency); ``inherits`` is the reference whose
    record's level this one takes at least; ``edges`` maps a transition field to {state: (states that may follow)};
    ``stable`` names a field for life on the wire.
    """

    mode: str
    authority: str = Authority.SHARED
    fields: Mapping[str, FieldTerms] = field(default_factory=dict)
    together: tuple[tuple[str, ...], ...] = ()
    unique: tuple[Unique, ...] = ()
    edges: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    inherits: str = ""

    def open_at(self, ceiling: int) -> frozenset[str]:
        """The fields that may pass a link with this ceiling."""
        found = self._open.get(ceiling)
        if found is None:
            found = frozenset(name for name, terms in self.fields.items() if terms.level <= ceiling)
            self._open[ceiling] = found
        return found

    @cached_property
    def _open(self) -> dict[int, frozenset[str]]:
        return {}

    @cached_property
    def group_of(self) -> Mapping[str, tuple[str, ...]]:
        """Field -> the group that moves with it."""
        return {name: group for group in self.together for name in group}

    def as_data(self) -> dict:
        """The terms as plain data."""
        return {
            "mode": str(self.mode),
            "authority": str(self.authority),
            "fields": {n: [t.level, str(t.merge), t.refers] for n, t in self.fields.items()},
            "together": [list(group) for group in self.together],
            "unique": [[u.name, list(u.fields), u.premises_only] for u in self.unique],
            "edges": {f: {s: list(to) for s, to in table.items()} for f, table in self.edges.items()},
            "inherits": self.inherits,
        }

    @classmethod
    def from_data(cls, data: Mapping) -> ModelTerms:
        """The terms from plain data. Raises KeyError, TypeError or ValueError when it is not what ``as_data`` gives."""
        return cls(
            mode=Mode(data["mode"]),
            authority=Authority(data["authority"]),
            fields={
                n: FieldTerms(int(level), Merge(merge), str(refers))
                for n, (level, merge, refers) in data["fields"].items()
            },
            together=tuple(tuple(group) for group in data["together"]),
            unique=tuple(Unique(n, tuple(f), bool(p)) for n, f, p in data["unique"]),
            edges={f: {s: tuple(to) for s, to in table.items()} for f, table in data["edges"].items()},
            inherits=str(data["inherits"]),
        )


@dataclass(frozen=True)
class Manifest:
    """What may pass between sites: model label -> terms. What it does not name stays where it is."""

    models: Mapping[str, ModelTerms]

    @cached_property
    def canonical(self) -> bytes:
        """Its one canonical form: JSON with sorted keys and without spaces."""
        return orjson.dumps({n: t.as_data() for n, t in self.models.items()}, option=orjson.OPT_SORT_KEYS)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form, in hex; part of every envelope."""
        return hashlib.sha256(self.canonical).hexdigest()

    @classmethod
    def from_canonical(cls, body: bytes) -> Manifest:
        """The manifest that a peer sent. Raises ValueError when it can't be read."""
        try:
            return cls({str(n): ModelTerms.from_data(d) for n, d in orjson.loads(body).items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"This is no manifest: {error!r}") from error

    def open(self, model: str, ceiling: int) -> frozenset[str]:
        """The fields of a model that may pass a link with this ceiling; none for a model that is not named."""
        terms = self.models.get(model)
        return terms.open_at(ceiling) if terms else frozenset()

    def intersect(self, other: Manifest) -> Manifest:
        """What both sides allow: a field at the higher of its two levels; whatever they disagree on stays where it is."""
        return Manifest(
            {
                label: both
                for label in sorted(self.models.keys() & other.models.keys())
                if (both := _agreed(self.models[label], other.models[label])) is not None
            }
        )


def _agreed(ours: ModelTerms, theirs: ModelTerms) -> ModelTerms | None:
    if (ours.mode, ours.authority, ours.inherits) != (theirs.mode, theirs.authority, theirs.inherits):
        return None
    agreed = {}
    for name in sorted(ours.fields.keys() & theirs.fields.keys()):
        mine, other = ours.fields[name], theirs.fields[name]
        if (mine.merge, mine.refers) == (other.merge, other.refers):
            agreed[name] = mine._replace(level=max(mine.level, other.level))
    groups = tuple(group for group in ours.together if group in theirs.together and agreed.keys() >= set(group))
    halves = {n for g in (*ours.together, *theirs.together) if g not in groups for n in g}
    agreed = {n: t for n, t in agreed.items() if n not in halves}
    edges = {
        f: {
            state: tuple(to for to in table[state] if to in theirs.edges[f].get(state, ()))
            for state in table
            if state in theirs.edges[f]
        }
        for f, table in ours.edges.items()
        if f in theirs.edges and f in agreed
    }
    unique = tuple(u for u in ours.unique if u in theirs.unique and agreed.keys() >= set(u.fields))
    return ModelTerms(ours.mode, ours.authority, agreed, groups, unique, edges, ours.inherits)
