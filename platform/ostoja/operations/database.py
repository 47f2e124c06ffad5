"""The database before any table: its version, roles, rights and extensions, whether embedded or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import psycopg2
from psycopg2 import sql

from ostoja.kernel.errors import OstojaError

SUPERUSER = "postgres"
OWNER = "ostoja_owner"
APP = "ostoja_app"
DATABASE = "ostoja"
EXTENSIONS = ("pg_trgm", "unaccent", "btree_gist")
LEAST_VERSION = 150000


class DatabaseUnfit(OstojaError):
    """The database can't be reached, is too old, or lacks a right; the message names what to grant."""

    code = "database_unfit"
    status = 503


def connect(parameters: Mapping[str, str] | str):
    """An autocommit connection from a URL or from keyword arguments of libpq. Raises DatabaseUnfit with the reason."""
    try:
        if isinstance(parameters, str):
            connection = psycopg2.connect(parameters, connect_timeout=10)
        else:
            connection = psycopg2.connect(connect_timeout=10, **parameters)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DatabaseUnfit(f"The database does not let us in: {reason}.") from error
    connection.autocommit = True
    return connection


def prepare_cluster(maintenance: Mapping[str, str], target: Mapping[str, str], passwords: Mapping[str, str]) -> None:
    """Make Ostoja's two roles, its database, their rights and extensions in a cluster where we are superuser.

    ``maintenance`` and ``target`` are the superuser's connections to ``postgres`` and to Ostoja's database. What is
    there stays as it is, so this can be repeated and goes on where it was interrupted.
    """
    name = sql.Identifier(target["dbname"])
    owner, app = sql.Identifier(OWNER), sql.Identifier(APP)
    with closing(connect(maintenance)) as connection, connection.cursor() as cursor:
        cursor.execute("select rolname from pg_roles where rolname in (%s, %s)", [OWNER, APP])
        roles = {row[0] for row in cursor.fetchall()}
        if OWNER not in roles:
            cursor.execute(
                sql.SQL("create role {} login createdb createrole password %s").format(owner), [passwords[OWNER]]
            )
        if APP not in roles:
            cursor.execute(sql.SQL("create role {} login noinherit password %s").format(app), [passwords[APP]])
        cursor.execute("select 1 from pg_database where datname = %s", [target["dbname"]])
        if not cursor.fetchone():
            cursor.execute(sql.SQL("create database {} owner {}").format(name, owner))
    with closing(connect(target)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select (select count(*) from pg_extension where extname = any(%s)) = %s"
            " and has_database_privilege(%s, current_database(), 'connect')"
            " and not has_database_privilege(%s, current_database(), 'temporary')"
            " and not has_schema_privilege(%s, 'public', 'create')",
            [list(EXTENSIONS), len(EXTENSIONS), APP, APP, APP],
        )
        if cursor.fetchone()[0]:
            return
        statements = [
            sql.SQL("alter schema public owner to {}").format(owner),
            sql.SQL("revoke create on schema public from public"),
            sql.SQL("revoke all on database {} from public").format(name),
            sql.SQL("grant connect on database {} to {}").format(name, app),
            *(
                sql.SQL("create extension if not exists {} with schema public").format(sql.Identifier(e))
                for e in EXTENSIONS
            ),
        ]
        for statement in statements:
            cursor.execute(statement)


def prepare_external(owner_url: str, app_url: str) -> None:
    """See that somebody else's database is fit for Ostoja, and add what the owner's role may add.

    ``owner_url`` migrates and makes tenants, ``app_url`` serves requests; they may be the same role, with less
    protection. Raises DatabaseUnfit with the statement that an administrator has to run.
    """
    with closing(connect(app_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select current_user, current_database()")
        app, app_database = cursor.fetchone()
    with closing(connect(owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select current_user, current_database(), current_setting('server_version_num')::int,"
            " current_setting('server_version'), rolcreatedb or rolsuper, rolcreaterole or rolsuper,"
            " pg_encoding_to_char((select encoding from pg_database where datname = current_database())),"
            " has_database_privilege(current_database(), 'create'), has_schema_privilege('public', 'create')"
            " from pg_roles where rolname = current_user"
        )
        owner, database, number, version, may_create_databases, may_create_roles, encoding, may_create, may_fill = (
            cursor.fetchone()
        )
        if database != app_database:
            raise DatabaseUnfit(
                f"database.url names the database {app_database} and database.owner_url {database}: name one."
            )
        if number < LEAST_VERSION:
            raise DatabaseUnfit(
                f"The database is PostgreSQL {version}: Ostoja needs {LEAST_VERSION // 10000} or newer."
            )
        if encoding != "UTF8":
            raise DatabaseUnfit(f"The database {database} has the encoding {encoding}: make it with `encoding 'UTF8'`.")
        missing = [
            statement
            for fine, statement in (
                (may_create_databases, f'alter role "{owner}" createdb;'),
                (may_create_roles, f'alter role "{owner}" createrole;'),
                (may_create, f'grant create on database "{database}" to "{owner}";'),
                (may_fill, f'alter schema public owner to "{owner}";'),
            )
            if not fine
        ]
        cursor.execute("select extname from pg_extension where extname = any(%s)", [list(EXTENSIONS)])
        installed = {row[0] for row in cursor.fetchall()}
        for extension in EXTENSIONS:
            if extension not in installed and may_create:
                try:
                    cursor.execute(
                        sql.SQL("create extension if not exists {} with schema public").format(
                            sql.Identifier(extension)
                        )
                    )
                except psycopg2.Error:
                    missing.append(f"create extension {extension} with schema public;")
        if missing:
            raise DatabaseUnfit(
                f"The database {database} lacks something; let its administrator run: {' '.join(missing)}"
            )
        if owner != app:
            cursor.execute("revoke create on schema public from public")
            cursor.execute(sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(database)))
