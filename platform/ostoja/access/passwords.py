"""What a password must be like: judged by zxcvbn with the person's own words in mind, and explained in helpful sentences."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    check_password,
    identify_hasher,
    is_password_usable,
    make_password,
)
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from zxcvbn import zxcvbn

from ostoja.kernel.errors import Refused

SHORTEST = 10
LONGEST = 1000
GOOD_ENOUGH = 3  # of 4: withstands 10^8 guesses
JUDGED = 72  # characters that zxcvbn looks at; its time grows with the cube

# What zxcvbn says, marked so that it can be said in other languages too.
SENTENCES = frozenset(
    (
        gettext_noop("Use a few words, avoid common phrases."),
        gettext_noop("No need for symbols, digits, or uppercase letters."),
        gettext_noop("Add another word or two. Uncommon words are better."),
        gettext_noop("Straight rows of keys are easy to guess."),
        gettext_noop("Short keyboard patterns are easy to guess."),
        gettext_noop("Use a longer keyboard pattern with more turns."),
        gettext_noop('Repeats like "aaa" are easy to guess.'),
        gettext_noop('Repeats like "abcabcabc" are only slightly harder to guess than "abc".'),
        gettext_noop("Avoid repeated words and characters."),
        gettext_noop('Sequences like "abc" or "6543" are easy to guess.'),
        gettext_noop("Avoid sequences."),
        gettext_noop("Recent years are easy to guess."),
        gettext_noop("Avoid recent years."),
        gettext_noop("Avoid years that are associated with you."),
        gettext_noop("Dates are often easy to guess."),
        gettext_noop("Avoid dates and years that are associated with you."),
        gettext_noop("This is a top-10 common password."),
        gettext_noop("This is a top-100 common password."),
        gettext_noop("This is a very common password."),
        gettext_noop("This is similar to a commonly used password."),
        gettext_noop("A word by itself is easy to guess."),
        gettext_noop("Names and surnames by themselves are easy to guess."),
        gettext_noop("Common names and surnames are easy to guess."),
        gettext_noop("Capitalization doesn't help very much."),
        gettext_noop("All-uppercase is almost as easy to guess as all-lowercase."),
        gettext_noop("Reversed words aren't much harder to guess."),
        gettext_noop("Predictable substitutions like '@' instead of 'a' don't help very much."),
    )
)


class Argon2(Argon2PasswordHasher):
    """Argon2id with 32 MiB and three passes on one lane: above OWASP's least, and eight sign-ins at once fit a small machine.

    Django's own 100 MiB on eight lanes let a handful of strangers fill the memory of a server with two cores.
    """

    time_cost = 3
    memory_cost = 32 * 1024
    parallelism = 1


def check(password: str, about: Iterable[str] = (), *, field: str = "password") -> None:
    """Raise Refused (by ``field``) unless the password is good enough.

    ``about`` are words that belong to the person: e-mail, name, company; a password made of them is a weak one.
    """
    problems = problems_of(password, about)
    if problems:
        raise Refused(problems[0], fields={field: problems}, code="weak_password")


def problems_of(password: str, about: Iterable[str] = ()) -> list[str]:
    """What is wrong with a password, in sentences; an empty list when it is good enough."""
    if not isinstance(password, str) or len(password) < SHORTEST:
        return [
            _("Use at least {number} characters. A few unusual words make a good password.").format(number=SHORTEST)
        ]
    if len(password) > LONGEST:
        return [_("Use at most {number} characters.").format(number=LONGEST)]
    if "\x00" in password:
        return [_("This password has a character that can't be used.")]
    result = zxcvbn(password[:JUDGED], user_inputs=_words(about))
    if result["score"] >= GOOD_ENOUGH:
        return []
    said = [result["feedback"]["warning"], *result["feedback"]["suggestions"]]
    sentences = [_(s) for s in said if s in SENTENCES]
    return [_("This password would be guessed too soon."), *dict.fromkeys(sentences)]


def strength(password: str, about: Iterable[str] = ()) -> int:
    """0 (guessed at once) to 4 (very hard to guess), for the meter beside the field."""
    return int(zxcvbn(password[:JUDGED], user_inputs=_words(about))["score"]) if password else 0


def _words(about: Iterable[str]) -> list[str]:
    words = ["ostoja"]
    for text in about:
        text = str(text or "").lower()
        words += [text, *(w for w in text.replace("@", " ").replace(".", " ").replace("-", " ").split() if len(w) > 2)]
    return [w for w in dict.fromkeys(words) if w]


@lru_cache(maxsize=1)
def stand_in() -> str:
    """The hash that is checked where there is none, so that unknown and known take the same work."""
    return make_password("nobody's password")


def is_right(password: str, encoded: str | None) -> bool:
    """Whether the password belongs to the hash: always one Argon2 computation, whatever there is to compare with."""
    known = bool(encoded) and is_password_usable(encoded) and _identified(encoded)
    right = check_password(password, encoded if known else stand_in())
    return known and right


def _identified(encoded: str) -> bool:
    try:
        identify_hasher(encoded)
    except ValueError:
        return False
    return True


def hashed(password: str) -> str:
    """The Argon2 hash to keep."""
    return make_password(password)
