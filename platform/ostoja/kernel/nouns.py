"""A noun is the name of an object, which a translated sentence may ask for in the form that its grammar needs.

English has ``New {thing}`` and ``{n} {things}``. A language with genders and cases writes ``{thing:new}`` or ``{things:many}``
in its translation and keeps that form of each object's name in its catalogue, with the form as the context.
"""

from __future__ import annotations

from functools import cache

from django.db import models
from django.utils.translation import override, pgettext


class Noun(str):
    """The name of an object in the reader's language; ``format(noun, form)`` is one of its other forms."""

    source: str

    def __new__(cls, label: object, source: str) -> Noun:
        noun = super().__new__(cls, label)
        noun.source = source
        return noun

    def __format__(self, form: str) -> str:
        """The name in this form; as it stands where the language has no such form of it."""
        said = pgettext(form, self.source) if form else self.source
        return str(self) if said == self.source else said


@cache
def sources(model: type[models.Model]) -> tuple[str, str]:
    """The name of an object, one and many, as written in the source: what translations look it up by."""
    with override("en"):
        return str(model._meta.verbose_name), str(model._meta.verbose_name_plural)


def noun(model: type[models.Model]) -> Noun:
    """What one of these objects is called."""
    return Noun(model._meta.verbose_name, sources(model)[0])


def nouns(model: type[models.Model]) -> Noun:
    """What many of these objects are called."""
    return Noun(model._meta.verbose_name_plural, sources(model)[1])
