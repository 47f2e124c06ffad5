"""A line of the log says what went wrong and where, and no value of it."""

from __future__ import annotations

import logging

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from ostoja.kernel.errors import NotFound, OstojaError, Refused
from ostoja.kernel.lines import Line, told, words
from ostoja.party.models import Party
from ostoja.testing.canaries import Canaries

TWICE = "INSERT INTO party_counter (id, code, value) SELECT gen_random_uuid(), v, 1 FROM (VALUES (%s), (%s)) AS t(v)"


class Away(OstojaError):
    """A fault, told to operators."""

    status = 503


def line(message: str, *args, error: BaseException | None = None) -> str:
    """A record as it stands in the log."""
    info = (type(error), error, error.__traceback__) if error else None
    return Line("%(levelname)s %(message)s").format(
        logging.LogRecord("ostoja", logging.ERROR, "", 1, message, args, info)
    )


def raised(work) -> BaseException:
    """What the work raises."""
    with pytest.raises(Exception) as failed:
        work()
    return failed.value


@pytest.mark.parametrize("sql", ["SELECT %s::int", "SELECT %s::date", TWICE])
def test_what_the_database_quotes_is_not_written(tenant, sql):
    word = (canaries := Canaries()).text("a value")

    def ask():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, [word] * sql.count("%s"))

    error = raised(ask)
    assert canaries.found(str(error)) and isinstance(error, DataError | IntegrityError)
    said = line("Job %s failed: %s", 7, error, error=error)
    assert not canaries.found(said)
    assert said.startswith(f"ERROR Job 7 failed: {type(error).__name__}") and "cursor.execute(sql" in said
    assert ("23505 one_counter_per_series party_counter" in said) == (sql is TWICE)


@pytest.mark.parametrize(
    "fault",
    [lambda w: int(w), lambda w: {}[w], lambda w: Party(annual_revenue=w).full_clean(), lambda w: Party.objects.get(pk=w), lambda w: open(w)],
    ids=["ValueError", "KeyError", "ValidationError", "of a query", "a file"],
)  # fmt: skip
def test_what_python_and_django_quote_is_not_written(tenant, fault):
    word = (canaries := Canaries()).text("a value")
    error = raised(lambda: fault(word))
    assert canaries.found(str(error))
    said = line("It failed: %s", error, error=error)
    assert not canaries.found(said) and type(error).__name__ in said


def test_what_led_to_an_error_stands_above_it_and_each_is_told_once():
    def work():
        try:
            {}["a value"]
        except KeyError as key:
            raise Away("The broker is away: start it.") from key

    said = line("No.", error=raised(work))
    assert said.index("KeyError") < said.index("Then:") < said.index("Away: The broker is away: start it.")
    assert "a value'" not in said.replace('{}["a value"]', "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Away("Start it."), "Start it."),
        (Refused("“Acme” is taken."), "invalid"),
        (NotFound("Acme is not here."), "not_found"),
        (AttributeError("'str' object has no attribute 'pk'"), "'str' object has no attribute 'pk'"),
        (FileNotFoundError(2, "No such file or directory", "contract with Acme.pdf"), "No such file or directory"),
        (ValueError("Acme"), ""),
    ],
)
def test_words_that_hold_no_value_are_kept(error, said):
    assert words(error) == said and told(error) == (f"{type(error).__name__}: {said}" if said else "ValueError")


def test_what_celery_spells_of_an_error_is_not_written():
    context = {"name": "ostoja.run_job", "id": "1", "description": "raised unexpected", "exc": "ValueError('Acme')"}
    said = line("Task %(name)s[%(id)s] %(description)s: %(exc)s", context, error=ValueError("Acme"))
    assert said.startswith("ERROR Task ostoja.run_job[1] raised unexpected: see below") and "Acme" not in said


def test_every_program_writes_such_lines():
    assert [
        type(handler.formatter) for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler
    ] == [Line]
