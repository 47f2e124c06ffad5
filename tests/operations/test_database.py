"""A database of somebody else: what is missing is told as the statement to run, what may be added is added."""

from contextlib import closing

import pytest
from psycopg2 import sql

from ostoja.operations.database import EXTENSIONS, OWNER, SUPERUSER, DatabaseUnfit, connect, prepare_external

NAME = "ostoja_theirs"


@pytest.fixture
def theirs(installation):
    """An empty database with roles of other names, as an administrator would hand it over: (owner's URL, app's URL, superuser)."""
    postgres = installation.postgres
    with closing(connect(postgres.connection(SUPERUSER, "postgres"))) as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        cursor.execute("DROP ROLE IF EXISTS their_owner, their_app")
        for role in ("their_owner", "their_app"):
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'word'").format(sql.Identifier(role)))
        cursor.execute(f"CREATE DATABASE {NAME} OWNER their_owner")
    url = postgres.dsn(OWNER, NAME).split("@", 1)[1]
    superuser = connect(postgres.connection(SUPERUSER, NAME))
    yield f"postgresql://their_owner:word@{url}", f"postgresql://their_app:word@{url}", superuser.cursor()
    superuser.close()
    with closing(connect(postgres.connection(SUPERUSER, "postgres"))) as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        cursor.execute("DROP ROLE their_owner, their_app")


def test_what_is_missing_is_told_as_statements_that_help(theirs):
    owner, app, superuser = theirs
    with pytest.raises(DatabaseUnfit) as refusal:
        prepare_external(owner, app)
    advice = refusal.value.message.split("let its administrator run: ")[1]
    assert 'alter role "their_owner" createdb;' in advice and 'alter role "their_owner" createrole;' in advice
    superuser.execute(advice)
    prepare_external(owner, app)
    superuser.execute("SELECT extname FROM pg_extension")
    assert set(EXTENSIONS) <= {row[0] for row in superuser.fetchall()}
    superuser.execute(
        "SELECT has_schema_privilege('their_app', 'public', 'create'), has_database_privilege('their_app', current_database(), 'temporary')"
    )
    assert superuser.fetchone() == (False, False)
    prepare_external(owner, app)


def test_two_urls_of_two_databases_are_refused(theirs, installation):
    _owner, app, _superuser = theirs
    with pytest.raises(DatabaseUnfit, match="name one"):
        prepare_external(installation.postgres.dsn(OWNER, "postgres"), app)


def test_a_database_that_is_away_is_one_sentence():
    with pytest.raises(DatabaseUnfit) as refusal:
        connect("postgresql://me:word@127.0.0.1:1/crm")
    assert refusal.value.message.startswith("The database does not let us in: ")
    assert "\n" not in refusal.value.message
    assert "word" not in refusal.value.message
