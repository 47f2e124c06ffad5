"""What goes wrong is said without values: in no line of the log, no sentence of an error, no answer to the other site."""

from __future__ import annotations

import ast
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import test_gates
from django.db import connection, connections, transaction
from django.test import Client
from two_sites import SYSTEM, do

import ostoja.hybrid
from ostoja.hybrid import views
from ostoja.hybrid.dialling import Caller, Unreachable
from ostoja.hybrid.exchange import BadMessage, Message
from ostoja.hybrid.models import Link, LinkUse, Parked, Progress
from ostoja.hybrid.writing import REFUSALS, said
from ostoja.journal.context import changing
from ostoja.kernel.errors import OstojaError
from ostoja.party.models import BankAccount, ContactPoint, Party
from ostoja.tenancy.context import tenant_context
from ostoja.testing.canaries import Canaries
from ostoja.testing.clients import host_of

scene = test_gates.scene

ROOM = Path(ostoja.hybrid.__file__).parent
# Rooms whose words are for people who may see the values: pages, the preview, the policy.
FOR_PEOPLE = {
    "pages",
    "previewing.py",
    "words.py",
    "levels.py",
    "policing.py",
    "surfaces.py",
    "frames.py",
    "migrations",
}
VALUES = {
    "body", "cell", "cells", "content", "data", "lost", "kept", "marked", "mine", "new", "old", "op", "ops", "ours", "put", "puts",
    "raw", "row", "rows", "text", "theirs", "typed", "value", "values", "was",
}  # fmt: skip
LOGGING = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def sources() -> list[Path]:
    return [p for p in sorted(ROOM.rglob("*.py")) if not FOR_PEOPLE & {*p.relative_to(ROOM).parts}]


def named_in(node: ast.AST) -> set[str]:
    """The names that an expression shows: what is compared or counted is not shown."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("len", "sum", "type", "bool"):
        return set()
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("values", "items", "keys"):
        return named_in(node.func.value)  # of a dictionary
    own = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    return own.union(*(named_in(child) for child in ast.iter_child_nodes(node)))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOM)))
def test_no_line_of_code_puts_a_value_into_a_log_or_an_error(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = [*node.exc.args, *(k.value for k in node.exc.keywords)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGGING:
            if getattr(node.func.value, "id", "") not in ("log", "logger", "logging"):
                continue
            arguments = node.args
        else:
            continue
        wrong = set().union(*map(named_in, arguments)) & VALUES
        if wrong:
            found.append(f"line {node.lineno}: {', '.join(sorted(wrong))}")
    assert found == []


WRONG = {
    "a number that is none": "SELECT %s::int",
    "a date that is none": "SELECT %s::date",
    "a key that is none": "SELECT %s::uuid",
    "JSON that is none": "SELECT ('{' || %s)::jsonb",
    "too long": "UPDATE party_party SET currency = %s",
    "a rule": "UPDATE party_party SET kind = %s, name = '', last_name = ''",
    "a second of its kind": "INSERT INTO party_counter (id, code, value) SELECT gen_random_uuid(), v, 1 FROM (VALUES (%s), (%s)) AS t(v)",
}


@pytest.mark.parametrize("sql", WRONG.values(), ids=WRONG)
def test_what_the_database_refuses_is_said_and_logged_without_the_value(installation, tenant, sql):
    canaries = Canaries()
    do(tenant, Party, "add", {"kind": "org", "name": "Acme"})
    word = canaries.text("a value")
    with pytest.raises(REFUSALS) as refused, changing(SYSTEM, "change"), connection.cursor() as cursor:
        cursor.execute(sql, [word] * sql.count("%s"))
        if "SELECT" not in sql:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    found = said(refused.value)
    assert found.message and not canaries.found(f"{found.message} {found.code} {found.fields}")
    assert canaries.in_file(installation.postgres.log) == set()


@pytest.fixture
def line(scene, monkeypatch):
    """The premises dial the cloud over HTTP, all in this process; what was answered is kept."""
    monkeypatch.setattr(views, "LONGEST_WAIT", 0.1)
    kept = SimpleNamespace(answers=[], spoil=lambda body: body)

    def post(_line, path, body, headers):
        named = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items() if k.startswith("X-")}
        response = Client(raise_request_exception=False).post(
            path,
            kept.spoil(body),
            content_type="application/octet-stream",
            HTTP_HOST=host_of(scene.pair.cloud),
            **named,
        )
        kept.answers.append(response.content + repr(dict(response.headers)).encode())
        if response.status_code >= 400:
            told = response.json() if response["Content-Type"] == "application/problem+json" else {}
            raise Unreachable(f"refuses: {told.get('detail')}", code=told.get("code", f"http_{response.status_code}"))
        return SimpleNamespace(status=response.status_code, data=response.content, headers=response.headers)

    monkeypatch.setattr("ostoja.hybrid.dialling.Line.post", post)
    with tenant_context(scene.pair.premises), changing(SYSTEM, "change"):
        Link.objects.update(url="http://cloud.localhost")
    return kept


def push(scene) -> Unreachable | None:
    """The premises say what is new; answers what was refused."""
    with tenant_context(scene.pair.premises):
        link = Link.objects.select_related("site", "progress").get()
        try:
            Caller(link, "push").push()
        except Unreachable as error:
            return error
    return None


def words_of(tenant) -> str:
    """What a site shows of its links and of what is parked."""
    with tenant_context(tenant):
        shown = [
            *Progress.objects.values_list("problem", flat=True),
            *LinkUse.objects.values_list("trouble_words", flat=True),
        ]
        return " ".join([*shown, *Parked.objects.values_list("reason", flat=True)])


def test_what_a_closed_door_refuses_is_nowhere_in_the_cloud_and_not_in_the_answer(scene, line, sinks, monkeypatch):
    for gate in test_gates.GATES[:3]:
        gate(scene, monkeypatch)
    test_gates.work(scene)
    refused = push(scene)
    assert refused is not None and refused.code == "not_open"
    there = "\n".join(sinks(scene.pair.cloud, scene.log).values())
    assert "not_open" in "\n".join(scene.log)
    for said_by in (there, words_of(scene.pair.cloud), *line.answers, refused.message):
        assert scene.canaries.found(said_by) == set()


@pytest.mark.parametrize(
    "spoil", [lambda b: b[: len(b) // 2], lambda b: b + b"x", lambda b: b"{}"], ids=["half", "more", "another"]
)
def test_a_damaged_message_is_refused_without_a_word_of_it(scene, line, sinks, spoil):
    test_gates.work(scene)
    with tenant_context(scene.pair.premises):
        packed = scene.pair.exchange(scene.pair.premises).outgoing().pack()
    if spoil(packed) != packed + b"x":
        with pytest.raises(BadMessage) as damaged:
            Message.unpack(spoil(packed))
        assert not scene.signals.found(damaged.value.message)
    line.spoil = spoil
    assert push(scene) is not None
    said_by = [*line.answers, "\n".join(scene.log), words_of(scene.pair.cloud)]
    assert not any(scene.signals.found(one) or scene.canaries.found(one) for one in said_by)


def test_what_the_cloud_can_not_write_is_parked_without_the_value_in_its_reason(scene, line):
    party = scene.party
    with tenant_context(scene.pair.cloud), transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                f'ALTER TABLE "{scene.pair.cloud.schema_name}".party_party ADD CONSTRAINT no_signals CHECK (name NOT LIKE %s)',
                [f"{scene.signals.head}%"],
            )
    do(scene.pair.premises, party, data={"name": scene.signals.text("an open name")})
    push(scene)
    with tenant_context(scene.pair.cloud):
        parked = Parked.objects.get()
    assert parked.reason and not scene.signals.found(parked.reason)
    said_by = [*line.answers, "\n".join(scene.log), words_of(scene.pair.cloud)]
    assert not any(scene.signals.found(one) for one in said_by)


def test_what_is_typed_in_the_cloud_and_refused_is_in_no_file_of_the_database(scene, installation):
    cloud, canaries = scene.pair.cloud, Canaries()
    typed = [
        (scene.party, "change", {"notes": canaries.text("notes")}),
        (Party, "add", {"kind": "org", "name": "New", "notes": canaries.text("notes of a new one")}),
        (ContactPoint, "add", {"party": scene.party.pk, "type": "email", "value": canaries.email("e-mail")}),
        (BankAccount, "add", {"party": scene.party.pk, "iban": canaries.iban("IBAN"), "currency": "PLN"}),
    ]
    for target, verb, data in typed:
        with pytest.raises(OstojaError) as refused:
            do(cloud, target, verb, data)
        assert not canaries.found(f"{refused.value.message} {refused.value.fields}")
    with closing(installation.superuser()) as superuser, superuser.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT current_setting('data_directory'), pg_relation_filepath(c.oid) FROM pg_class c "
            "WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'i', 't')",
            [cloud.schema_name],
        )
        for place, path in cursor.fetchall():
            assert canaries.in_file(Path(place) / path) == set()


def test_the_embedded_database_logs_no_values(installation):
    wanted = {
        "log_min_messages": "log",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }
    with closing(installation.superuser()) as superuser, superuser.cursor() as cursor:
        for name, value in wanted.items():
            cursor.execute("SELECT current_setting(%s)", [name])
            assert cursor.fetchone()[0] == value, name
