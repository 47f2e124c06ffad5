"""What rooms above the API add to it: words below an object (``/policy-rules/preview``) or below each record (``/deals/<id>/sharing``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.access.policy import find
from ostoja.kernel.errors import NotFound
from ostoja.kernel.registry import Entry

from . import values
from .door import body_of, entry_at, key_in, query_of, reply
from .problems import WrongMethod


def _everywhere() -> bool:
    return True


def _every(entry: Entry) -> bool:
    return True


@dataclass(frozen=True)
class Word:
    """One address that a room adds.

    ``of`` is the object's label, every object when it is empty; ``record``: it stands below each record. ``read`` answers
    a GET from (actor, entry or record, query), ``do`` a POST from (actor, entry or record, body). Where ``here`` says no,
    the word is not there at all, and ``fits`` says below which objects it is. ``query`` and ``body`` describe what is given: {name: description}.
    """

    name: str
    summary: object
    of: str = ""
    record: bool = True
    read: Callable[..., Mapping] | None = None
    do: Callable[..., Mapping] | None = None
    here: Callable[[], bool] = _everywhere
    fits: Callable[[Entry], bool] = _every
    query: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods that it answers."""
        return [*(("GET", "HEAD") if self.read else ()), *(("POST",) if self.do else ())]


_words: dict[tuple[str, bool, str], Word] = {}


def add(word: Word) -> None:
    """Declare a word. Raises TypeError when there is one already."""
    if (word.name, word.record, word.of) in _words:
        raise TypeError(f"The word “{word.name}” is taken.")
    _words[word.name, word.record, word.of] = word


def pattern(record: bool) -> str:
    """What all words of a kind look like, for the table of addresses."""
    names = sorted({w.name for w in _words.values() if w.record is record})
    return "(?P<word>" + ("|".join(re.escape(n) for n in names) or "(?!)") + ")"


def words_of(entry: Entry, standing: Mapping[Callable, bool]) -> Iterator[Word]:
    """The words below an object, of those that are here (``standing()`` says, once for all objects)."""
    for word in _words.values():
        if word.of in ("", entry.label) and word.fits(entry) and standing[word.here]:
            yield word


def standing() -> dict[Callable, bool]:
    """Which words are here at all, each room asked once."""
    return {asked: asked() for asked in {w.here for w in _words.values()}}


def answered(request: HttpRequest, slug: str, word: str, key: str | None = None) -> HttpResponse:
    """The answer to a word below an object or one of its records."""
    entry = entry_at(request, slug)
    record = key is not None
    found = _words.get((word, record, entry.label)) or _words.get((word, record, ""))
    if found is None or not found.fits(entry) or not found.here():
        raise NotFound(_("There is nothing at this address, or you may not see it."))
    if request.method not in found.methods:
        raise WrongMethod([*found.methods, "OPTIONS"])
    target = entry if key is None else find(request.actor, entry.model, key_in(entry, key))
    if request.method == "POST":
        query_of(request, known=())
        said = found.do(request.actor, target, body_of(request))
    else:
        asked = query_of(request, known=tuple(found.query))
        said = found.read(request.actor, target, {name: texts[-1] for name, texts in asked.items()})
    return reply(values.dumps(said))
