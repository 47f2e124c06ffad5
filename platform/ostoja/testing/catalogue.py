"""The catalogue of translations: what the source says, extracted and kept in ``locale/``, without GNU gettext.

    python -m ostoja.testing.catalogue

takes new sentences into every language's ``.po``, leaves out those that are gone, compiles the ``.mo`` and names what still
waits for words. Of the objects it takes in each form that a translation asks for (``{things:many}``, see ``kernel/nouns.py``).
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

PACKAGE = Path(__file__).parent.parent
LOCALE = PACKAGE / "locale"
LANGUAGES = ("pl",)
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
FORM = re.compile(r"\{thing(s?):(\w+)\}")


def po_of(language: str) -> Path:
    """The catalogue that people edit."""
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def mo_of(language: str) -> Path:
    """The catalogue that programs read."""
    return po_of(language).with_suffix(".mo")


def read(language: str) -> Catalog:
    """A language's catalogue as it is kept."""
    with po_of(language).open("rb") as file:
        return read_po(file, locale=language)


def texts(message: Message) -> tuple[str, ...]:
    """The words of a translation, one for each plural form; a single empty one when it has none yet."""
    said = message.string or ""
    return (said,) if isinstance(said, str) else tuple(said)


def sources_of_words() -> Iterator[tuple[Path, bytes]]:
    """Every file that speaks to people, as Python that ``extract`` understands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" not in path.parts and "node_modules" not in path.parts:
            yield path, path.read_bytes()
    for path in sorted(PACKAGE.rglob("templates/**/*")):
        if path.suffix in (".html", ".txt"):
            # A template's code keeps its indentation, which Python would read as blocks.
            lines = templatize(path.read_text(), origin=str(path)).splitlines()
            yield path, "\n".join(line.strip() for line in lines).encode()


def extracted(kept: Catalog | None = None) -> Catalog:
    """All that is said in the source, with the forms of objects' names that the kept translations ask for."""
    from ostoja.kernel import registry  # it asks for Django to be set up, which running this file does below
    from ostoja.kernel.nouns import sources

    found = Catalog(charset="utf-8")
    for path, code in sources_of_words():
        place = str(path.relative_to(PACKAGE))
        for _line, words, comments, context in extract("python", io.BytesIO(code), KEYWORDS, (), {"encoding": "utf-8"}):
            found.add(words, locations=[(place, None)], auto_comments=comments, context=context, flags=_flags(words))
    asked = {(bool(many), form) for one in kept or () for text in texts(one) for many, form in FORM.findall(text)}
    for entry in registry.entries():
        if entry.model.__module__.startswith("ostoja."):
            place = f"{entry.model.__module__.removeprefix('ostoja.').replace('.', '/')}.py"
            for many, form in sorted(asked):
                found.add(sources(entry.model)[many], locations=[(place, None)], context=form)
    return found


def _flags(words: str | tuple[str, ...]) -> tuple[str, ...]:
    """A sentence that is filled by ``str.format`` may have per cent signs that mean themselves."""
    said = words if isinstance(words, str) else words[0]
    return ("no-python-format",) if "%" in said and not re.search(r"%(\(|%)", said) else ()


def update(language: str) -> list[str]:
    """Bring a language up to date with the source; answers what has no words yet."""
    kept = read(language)
    kept.update(extracted(kept), no_fuzzy_matching=True, update_header_comment=False)
    kept.obsolete.clear()
    for one in kept:
        one.flags.discard("python-brace-format")  # its check knows no forms of nouns; tests/house has one that does
    with po_of(language).open("wb") as file:
        write_po(file, kept, width=120, sort_output=False, include_lineno=False, omit_header=False)
    with mo_of(language).open("wb") as file:
        write_mo(file, kept)
    return [str(one.id) for one in kept if one.id and not all(texts(one))]


def main() -> int:
    """Update every language; the exit status says whether all words are there."""
    waiting = {language: update(language) for language in LANGUAGES}
    for language, words in waiting.items():
        sys.stdout.write(f"{language}: {len(words)} without words\n" + "".join(f"  {one}\n" for one in words))
    return int(any(waiting.values()))


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    django.setup()
    raise SystemExit(main())
