"""A backup of a site: every row of its tenant's schema and where its sequences stand, taken in one snapshot and laid back as it was."""

from __future__ import annotations

import itertools

_numbers = itertools.count(1)

TAKE = """
DO $take$
DECLARE
  one record; filled boolean;
BEGIN
  CREATE SCHEMA "{kept}";
  CREATE TABLE "{kept}"."~sequences" AS SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = '{schema}';
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM {schema}.%I)', one.tablename) INTO filled;
    IF filled THEN EXECUTE format('CREATE UNLOGGED TABLE "{kept}".%I AS TABLE {schema}.%I', one.tablename, one.tablename); END IF;
  END LOOP;
END $take$
"""
LAY_BACK = """
DO $back$
DECLARE
  one record; filled boolean; names text;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM {schema}.%I)', one.tablename) INTO filled;
    IF filled THEN EXECUTE format('DELETE FROM {schema}.%I', one.tablename); END IF;
  END LOOP;
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = '{kept}' AND tablename <> '~sequences' LOOP
    SELECT string_agg(quote_ident(attname), ', ') INTO names FROM pg_attribute
    WHERE attrelid = format('{schema}.%I', one.tablename)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    EXECUTE format('INSERT INTO {schema}.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM "{kept}".%I', one.tablename, names, names, one.tablename);
  END LOOP;
  FOR one IN SELECT sequencename, last_value FROM "{kept}"."~sequences" LOOP
    IF one.last_value IS NULL THEN EXECUTE format('ALTER SEQUENCE {schema}.%I RESTART', one.sequencename);
    ELSE PERFORM setval(format('{schema}.%I', one.sequencename)::regclass, one.last_value); END IF;
  END LOOP;
END $back$
"""


class Backup:
    """The rows of one tenant at one moment. ``superuser`` is a connection of its own, in autocommit."""

    def __init__(self, superuser, tenant):
        self.superuser, self.tenant = superuser, tenant
        self.kept = f"backup_{next(_numbers)}"
        self._do(TAKE)

    def lay_back(self) -> None:
        """The tenant is as it was."""
        self._do(LAY_BACK)

    def drop(self) -> None:
        """It is not needed any more."""
        with self.superuser.cursor() as cursor:
            cursor.execute("SET client_min_messages = warning")
            cursor.execute(f'DROP SCHEMA "{self.kept}" CASCADE')

    def _do(self, statement: str) -> None:
        with self.superuser.cursor() as cursor:
            cursor.execute(statement.format(schema=self.tenant.schema_name, kept=self.kept))
