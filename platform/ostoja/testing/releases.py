"""The next release for tests: real migration files on top of the jobs app, in a directory of their own; and what a schema consists of."""

from __future__ import annotations

import shutil
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.test import override_settings

from ostoja.tenancy import release
from ostoja.tenancy.context import platform_context

HEAD = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from ostoja.kernel.constraints import Check, Rule
"""


def write_migrations(directory: Path, *bodies: str) -> str:
    """A package with the present migrations of jobs and further ones; each body is the inside of its Migration class."""
    package = f"jobs_{directory.name.replace('-', '_')}"
    place = directory / package
    place.mkdir()
    for file in Path(apps.get_app_config("jobs").path, "migrations").glob("*.py"):
        shutil.copy(file, place)
    last = max(file.stem for file in place.glob("0*.py"))
    for number, body in enumerate(bodies, start=9001):
        name = f"{number}_next"
        text = f'{HEAD}\n\nclass Migration(migrations.Migration):\n    dependencies = [("jobs", "{last}")]\n'
        (place / f"{name}.py").write_text(text + textwrap.indent(textwrap.dedent(body), "    "))
        last = name
    return package


@contextmanager
def next_release(directory: Path, *bodies: str):
    """The code is of the next release for the block."""
    package = write_migrations(directory, *bodies)
    sys.path.insert(0, str(directory))
    release.fingerprint.cache_clear()
    try:
        with override_settings(MIGRATION_MODULES={**settings.MIGRATION_MODULES, "jobs": package}):
            yield package
    finally:
        sys.path.remove(str(directory))
        release.fingerprint.cache_clear()


ANATOMY = """
SELECT 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = %(s)s::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = %(s)s::regnamespace
UNION ALL SELECT 'index', c.relname, pg_get_indexdef(c.oid) FROM pg_class c WHERE c.relnamespace = %(s)s::regnamespace AND relkind = 'i'
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = %(s)s::regnamespace
UNION ALL SELECT 'trigger', c.relname || '.' || tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  WHERE c.relnamespace = %(s)s::regnamespace AND NOT tgisinternal
UNION ALL SELECT 'owner', relname, relowner::regrole::text FROM pg_class WHERE relnamespace = %(s)s::regnamespace
UNION ALL SELECT 'right', c.relname, x.grantee::regrole::text || ' ' || x.privilege_type FROM pg_class c, aclexplode(c.relacl) x
  WHERE c.relnamespace = %(s)s::regnamespace
UNION ALL SELECT 'right', p.proname, x.grantee::regrole::text || ' ' || x.privilege_type FROM pg_proc p, aclexplode(p.proacl) x
  WHERE p.pronamespace = %(s)s::regnamespace
UNION ALL SELECT 'default', defaclobjtype::text, x.grantee::regrole::text || ' ' || x.privilege_type FROM pg_default_acl, aclexplode(defaclacl) x
  WHERE defaclnamespace = %(s)s::regnamespace
"""


def anatomy(schema: str) -> set[tuple[str, str, str]]:
    """Everything that a schema consists of, without its own name."""
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute(ANATOMY, {"s": schema})
        rows = {tuple(part.replace(schema, "SCHEMA") for part in row) for row in cursor.fetchall()}
        cursor.execute(f"SELECT 'migration', app, name FROM {schema}.django_migrations")
        return rows | set(cursor.fetchall())
