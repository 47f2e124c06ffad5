"""The second wall: one database role per tenant, with rights on its schema only and none to rewrite the journal."""

from __future__ import annotations

from .context import role_of

KEPT = {"journal_change": "UPDATE, DELETE", "django_migrations": "INSERT, UPDATE, DELETE"}
ROWS = "SELECT, INSERT, UPDATE, DELETE"


def role_sql(schema: str, app: str, postgres_major: int) -> list[str]:
    """Make the tenant's role; the application's login role ``app`` may switch to it but inherits nothing from it."""
    role = role_of(schema)
    options = " WITH INHERIT FALSE, SET TRUE" if postgres_major >= 16 else ""
    return [f'CREATE ROLE "{role}" NOLOGIN NOINHERIT', f'GRANT "{role}" TO "{app}"{options}']


def schema_sql(schema: str) -> list[str]:
    """Give the tenant's role its rights on the schema as it stands, and by default on what is added later.

    May be run again after any migration. The tables in ``KEPT`` are written by triggers and migrations: the role can't
    rewrite them.
    """
    role = role_of(schema)
    where = f'IN SCHEMA "{schema}"'
    by_default = f"ALTER DEFAULT PRIVILEGES {where} GRANT"
    return [
        f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"',
        f'GRANT {ROWS} ON ALL TABLES {where} TO "{role}"',
        *(f'REVOKE {rights} ON "{schema}"."{table}" FROM "{role}"' for table, rights in KEPT.items()),
        f'GRANT USAGE, SELECT ON ALL SEQUENCES {where} TO "{role}"',
        f"REVOKE ALL ON ALL ROUTINES {where} FROM PUBLIC",
        f'GRANT EXECUTE ON ALL ROUTINES {where} TO "{role}"',
        f'{by_default} {ROWS} ON TABLES TO "{role}"',
        f'{by_default} USAGE, SELECT ON SEQUENCES TO "{role}"',
        f'{by_default} EXECUTE ON ROUTINES TO "{role}"',
    ]


def public_sql(app: str, owner: str) -> list[str]:
    """Give the application's login role the rows of the shared tables; nobody else gets anything there.

    Where one role is both, nothing can be kept from it.
    """
    nobody = ["REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC"]
    if app == owner:
        return nobody
    return [
        *nobody,
        f'GRANT USAGE ON SCHEMA public TO "{app}"',
        f'GRANT {ROWS} ON ALL TABLES IN SCHEMA public TO "{app}"',
        f'REVOKE INSERT, UPDATE, DELETE ON public.platform_migration, public.tenancy_template FROM "{app}"',
        f'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO "{app}"',
    ]
