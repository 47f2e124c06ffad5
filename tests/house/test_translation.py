"""The words of every language: complete, filled with the same values as the source, and compiled."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from ostoja.kernel import registry
from ostoja.testing import catalogue
from ostoja.testing.catalogue import FORM, LANGUAGES, texts

NAMED = re.compile(r"(?<!%)%\((\w+)\)[sd]")
BRACED = re.compile(r"(?<!\{)\{(\w+)(?::\w+)?\}")
TAG = re.compile(r"</?\w+|href=\"[^\"]+\"")
MARKS = {"gettext", "ngettext", "gettext_lazy", "_"}
AGAIN = "Run: uv run python -m ostoja.testing.catalogue"


@pytest.fixture(scope="module", params=LANGUAGES)
def kept(request):
    return catalogue.read(request.param)


def key(message):
    """What a sentence is looked up by; Babel answers contexts of a compiled catalogue as bytes."""
    context = message.context.decode() if isinstance(message.context, bytes) else message.context
    return context, message.id if isinstance(message.id, str) else message.id[0]


def sentences(kept):
    """Every sentence with its translation, the head of the catalogue left out."""
    return [one for one in kept if one.id]


def test_every_sentence_of_the_source_has_its_words(kept):
    said = {key(one) for one in catalogue.extracted(kept) if one.id}
    waiting = sorted(said - {key(one) for one in sentences(kept) if all(texts(one))}, key=str)
    assert not waiting, f"{AGAIN}, then translate: {waiting}"


def test_no_sentence_is_kept_that_nobody_says(kept):
    said = {key(one) for one in catalogue.extracted(kept) if one.id}
    gone = sorted({key(one) for one in sentences(kept)} - said, key=str)
    assert not gone and not kept.obsolete, f"{AGAIN}; it takes out: {gone}"


def test_no_sentence_is_only_guessed(kept):
    assert not [one.id for one in sentences(kept) if one.fuzzy]


def test_every_plural_has_all_its_forms(kept):
    for one in sentences(kept):
        assert len(texts(one)) == (1 if isinstance(one.id, str) else kept.num_plurals), one.id


def test_translations_are_filled_with_the_same_values(kept):
    for one in sentences(kept):
        sources = (one.id,) if isinstance(one.id, str) else one.id
        for pattern in (NAMED, BRACED, TAG):
            offered = {name for source in sources for name in pattern.findall(source)}
            for text in texts(one):
                assert set(pattern.findall(text)) <= offered, f"{text!r} asks for what {one.id!r} does not have"
            if isinstance(one.id, str):  # a plural may say the number or the name in words: "no deals", "one deal"
                assert Counter(pattern.findall(texts(one)[0])) == Counter(pattern.findall(one.id)), one.id


def test_translations_begin_and_end_like_their_source(kept):
    for one in sentences(kept):
        source = one.id if isinstance(one.id, str) else one.id[-1]
        for text in texts(one):
            assert text == text.strip() and not re.search(r"  |“|\.\.\.", text), f"spaces, quotes or dots in {text!r}"
            if not NAMED.search(source) and not BRACED.search(source):
                assert text.endswith(".") == source.endswith("."), f"{source!r} -> {text!r}"


def test_what_is_compiled_is_what_is_written(kept):
    with catalogue.mo_of(str(kept.locale)).open("rb") as file:
        compiled = {key(one): texts(one) for one in read_mo(file) if one.id}
    assert compiled == {key(one): texts(one) for one in sentences(kept)}, AGAIN


def test_forms_of_nouns_are_asked_only_where_a_noun_is_given(kept):
    """``{thing:new}`` works on what ``entry.thing`` answers; on plain text it would fail, and in that language only."""
    asking = {key(one)[1] for one in sentences(kept) if any(FORM.search(text) for text in texts(one))}
    assert asking
    for path in Path(catalogue.PACKAGE).rglob("*.py"):
        if "node_modules" in path.parts or not any(source in path.read_text() for source in asking):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            said = isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS and node.args
            if not said or not isinstance(node.args[0], ast.Constant) or node.args[0].value not in asking:
                continue
            fills = [
                call for call in ast.walk(ast.parse(path.read_text()))
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "format"
                and ast.dump(call.func.value) == ast.dump(node)
            ]  # fmt: skip
            assert fills, f"{path}: fill “{node.args[0].value}” where it is said"
            for call in fills:
                given = {word.arg: getattr(word.value, "attr", "") for word in call.keywords}
                assert all(given[name] == name for name in {"thing", "things"} & set(given)), (
                    f"{path}:{call.lineno}: give entry.thing and entry.things to “{node.args[0].value}”"
                )


def test_polish_counts_in_three_ways_and_bends_the_name_of_what_it_counts():
    deal = registry.get("sales.deal")
    with override("pl"):
        said = [
            ngettext("{n} {thing}", "{n} {things}", n).format(n=n, thing=deal.thing, things=deal.things)
            for n in (1, 2, 5, 12, 22)
        ]
        assert said == [
            "1 szansa sprzedaży", "2 szanse sprzedaży", "5 szans sprzedaży", "12 szans sprzedaży", "22 szanse sprzedaży",
        ]  # fmt: skip
        assert _("New {thing}").format(thing=deal.thing) == "Nowa szansa sprzedaży"
        assert _("All {things}").format(things=registry.get("party.party").things) == "Wszyscy klienci"


def test_a_noun_without_the_form_stands_as_it_is():
    deal = registry.get("sales.deal")
    with override("en"):
        assert f"{deal.things:many} {deal.thing:new}" == "deals deal"
    with override("pl"):
        assert f"{deal.thing:unheard-of}" == "szansa sprzedaży"
