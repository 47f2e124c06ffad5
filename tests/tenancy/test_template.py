"""The template: a dump of a really migrated schema as one script, and prepare(), which finds nothing to do the second time."""

import re

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from ostoja.kernel import registry
from ostoja.tenancy import finishing, install, platform_schema, pool, release, template
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import ReadySchema, Template
from ostoja.testing.releases import anatomy

LOOKS = re.compile(r"\s*(SELECT|BEGIN|COMMIT|SAVEPOINT|RELEASE|SET )", re.IGNORECASE)


def databases(like):
    """Names of databases."""
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [like])
        return [row[0] for row in cursor.fetchall()]


def own_templates():
    """Small databases that were made for this one."""
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT 'ostoja_template_' || oid || '_%%' FROM pg_database WHERE datname = current_database()", []
        )
        return databases(cursor.fetchone()[0])


DUMP = """
\\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
-- Name: x; a comment; with a semicolon
CREATE SCHEMA stands;
CREATE FUNCTION stands.f() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
BEGIN
SET LOCAL x = 1;
UPDATE t
SET a = '$1;';
-- not a comment of ours;
END $_$;
SET default_tablespace = '';
INSERT INTO stands.t VALUES
\t(1, 'a;b
SET c = ''d'';
-- e');
CREATE TABLE stands."odd;name" (id int CHECK (id - 1 > 0));
\\unrestrict abc
"""


def test_a_dump_becomes_statements_without_its_session_settings():
    kept = template.as_script(DUMP).split(";\nGRANT")[0]
    assert kept.startswith("CREATE SCHEMA stands;\nCREATE FUNCTION")
    for inside in (
        "SET LOCAL x = 1;",
        "\nSET a = '$1;';",
        "-- not a comment of ours;",
        "'a;b\nSET c = ''d'';\n-- e'",
        '"odd;name" (id int CHECK (id - 1 > 0))',
    ):
        assert inside in kept
    for gone in ("statement_timeout", "set_config", "default_tablespace", "restrict", "Name: x"):
        assert gone not in kept


def test_the_script_makes_every_table_and_finishes_it(lender):
    made = template.current()
    assert {tuple(one) for one in made.migrations} == set(release.migrations(public=False))
    tables = {m._meta.db_table for m in registry.things()}
    assert all(f"CREATE TABLE {template.PLACEHOLDER}.{table} " in made.script for table in tables)
    assert "journal_sequence" in made.script and len(made.finishing) == len(finishing.finishing_sql())


def test_schemas_of_one_template_are_alike(lender):
    one, other = (pool.add(template.current()) for _n in range(2))
    assert anatomy(one) == anatomy(other)
    for schema in (one, other):
        pool.drop(schema)


def test_prepare_has_nothing_to_do_the_second_time(lender):
    install.prepare(lambda _line: None, ready=1)
    lines = []
    with CaptureQueriesContext(connections["owner"]) as asked:
        install.prepare(lines.append, ready=1)
    assert lines == [] and not [q["sql"] for q in asked if not LOOKS.match(q["sql"])]
    assert platform_schema.pending(connections["owner"]) == []
    assert own_templates() == []


def test_prepare_builds_what_was_lost_and_drops_what_is_old(lender):
    install.prepare(lambda _line: None, ready=1)
    with platform_context():
        ReadySchema.objects.update(release="old")
        old = list(ReadySchema.objects.values_list("schema_name", flat=True))
        Template.objects.using("owner").all().delete()
    lines = []
    install.prepare(lines.append, ready=2)
    assert lines[0].startswith("Building the schema") and lines[-1] == "Ready schemas: 2 of 2"
    with platform_context():
        assert ReadySchema.objects.count() == 2 and not ReadySchema.objects.filter(schema_name__in=old).exists()
    assert own_templates() == []


def test_a_build_that_was_killed_leaves_nothing_for_long(lender):
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        cursor.execute(f'CREATE DATABASE "ostoja_template_{cursor.fetchone()[0]}_killed"')
    assert len(own_templates()) == 1
    template.build(lambda _line: None)
    assert own_templates() == []


def test_a_model_without_a_migration_is_told_in_a_sentence(lender, monkeypatch):
    monkeypatch.setattr(finishing, "_sources", [lambda: ["SELECT * FROM table_of_a_new_model"]])
    with pytest.raises(template.CannotBuildTemplate, match="makemigrations"):
        template.build(lambda _line: None)
    assert own_templates() == []


def test_no_pg_dump_is_told_in_a_sentence(monkeypatch):
    with pytest.raises(template.CannotBuildTemplate, match="postgresql-client-99"):
        template.pg_dump(99)
