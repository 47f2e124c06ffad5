"""Makes a tenant's schema hybrid: triggers that keep clocks, and two roles that see nothing but what may leave."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings
from django.db import connections, transaction
from django.utils.translation import gettext_noop as _

from ostoja.journal.capture import changed_sql
from ostoja.tenancy.context import schema_context
from ostoja.tenancy.models import Tenant

from .tables import Column, Table, Tables

CLOUD_CEILING = 0
KEPT = {
    "premises": _("This is kept on the premises: change it there."),
    "cloud": _("This is kept in the cloud: change it there."),
}
# In the cloud: there are premises that decide. Before the first ones have joined, and after the last were revoked, the cloud does.
PREMISES_DECIDE = (
    "EXISTS (SELECT FROM hybrid_link l JOIN hybrid_site s ON s.id = l.site_id "
    "WHERE s.kind = 'premises' AND l.state <> 'revoked')"
)
HELD = _("This is held on the premises: enter it there.")
KEYS_ONLY = ("id", "seq", "xid", "model", "record", "op", "fields", "origin", "actor", "cause")
CLOCKS = ("id", "model", "cl", "hlc", "site", "stamps", "top", "withheld", "label_ver", "ships")

# A batch of another site writes this row itself: such a row is not handed to a function at all, which takes longer than to write it.
BATCH = "(pg_trigger_depth() = 0 AND coalesce(current_setting('ostoja.actor', true), '') LIKE 'site:%')"

# Puts the stamps of what changed here into the clock of the record. The row lock is held already, so that stamps of one
# record only grow, whatever the machine's clock does; whose value was replaced is kept as the base.
STAMP = """
CREATE OR REPLACE FUNCTION "hybrid_stamp"(what text, key uuid, changed text[], me smallint) RETURNS void LANGUAGE plpgsql AS $stamp$
DECLARE
  clock hybrid_clock; present bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16; was jsonb; name text;
BEGIN
  SELECT * INTO clock FROM hybrid_clock WHERE id = key FOR UPDATE;
  present := greatest(present, coalesce(clock.top, 0) + 1);
  IF clock.id IS NULL THEN
    INSERT INTO hybrid_clock (id, model, cl, hlc, site, stamps, top, withheld, label_ver, ships)
    VALUES (key, what, 1, present, me, '{}', present, false, coalesce((SELECT s.label_floor FROM hybrid_site s WHERE s.here), 0), '{}');
  ELSIF changed IS NULL THEN
    UPDATE hybrid_clock SET cl = cl + (cl + 1) % 2, hlc = present, site = me, stamps = '{}', top = present, withheld = false
    WHERE id = key;
  ELSE
    FOREACH name IN ARRAY changed LOOP
      was := coalesce(clock.stamps -> name, jsonb_build_array(clock.hlc, clock.site));
      IF (was ->> 1)::smallint = me THEN
        was := jsonb_build_array(present, me) || CASE WHEN was -> 2 IS NULL THEN '[]' ELSE jsonb_build_array(was -> 2, was -> 3) END;
      ELSE
        was := jsonb_build_array(present, me, was -> 0, was -> 1);
      END IF;
      clock.stamps := jsonb_set(clock.stamps, ARRAY[name], was);
    END LOOP;
    UPDATE hybrid_clock SET stamps = clock.stamps, top = present WHERE id = key;
  END IF;
END $stamp$
"""

DEATH = """
CREATE OR REPLACE FUNCTION "hybrid_death"(what text, key uuid, me smallint) RETURNS void LANGUAGE sql AS $death$
  INSERT INTO hybrid_clock AS c (id, model, cl, hlc, site, stamps, top, withheld, label_ver, ships)
  VALUES (key, what, 2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, me, '{}',
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, false, 0, '{}')
  ON CONFLICT (id) DO UPDATE SET cl = c.cl + c.cl % 2, hlc = greatest(excluded.hlc, c.top + 1), site = me, stamps = '{}',
    top = greatest(excluded.top, c.top + 1)
$death$
"""

CHAIN_ANEW = """
CREATE OR REPLACE FUNCTION "journal_chain_anew"(first bigint) RETURNS void LANGUAGE plpgsql AS $anew$
DECLARE
  chain bytea; row record;
BEGIN
  SELECT coalesce((SELECT c.digest FROM journal_change c WHERE c.seq = first - 1), ''::bytea) INTO chain;
  FOR row IN SELECT c.* FROM journal_change c WHERE c.seq >= first ORDER BY c.seq LOOP
    chain := sha256(chain || convert_to(journal_canonical(row.id, row.at, row.xid, row.model, row.record, row.op, row.fields, row.old,
      row.hlc, row.origin, row.actor, row.verb, row.cause), 'UTF8'));
    UPDATE journal_change c SET digest = chain WHERE c.id = row.id;
  END LOOP;
  UPDATE public.tenancy_journalanchor a SET digest = encode(c.digest, 'hex') FROM journal_change c, public.tenancy_tenant t
  WHERE t.schema_name = current_schema() AND a.tenant_id = t.id AND a.seq = c.seq AND c.seq >= first;
END $anew$
"""

# The history of records that were called back: their old values go, and the chain is laid anew over what is left. Only for
# records that are not here any more, so that it hides nothing of what is.
FORGET = """
DROP FUNCTION IF EXISTS "journal_forget"(uuid);
CREATE OR REPLACE FUNCTION "journal_forget"(keys uuid[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT AS $forget$
DECLARE
  first bigint;
BEGIN
  SELECT array_agg(id) INTO keys FROM hybrid_clock WHERE id = ANY(keys);
  IF keys IS NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema(), 7));
  SELECT min(c.seq) INTO first FROM journal_change c WHERE c.record = ANY(keys) AND c.old IS NOT NULL AND c.seq IS NOT NULL;
  UPDATE journal_change c SET old = NULL WHERE c.record = ANY(keys) AND c.old IS NOT NULL;
  IF first IS NULL THEN RETURN; END IF;
  PERFORM journal_chain_anew(first);
END $forget$
"""

# What was called back goes whatever state it is in: the rules that freeze records are for people who work with them. Only
# the cloud has this function, and only the premises' own order, as it is applied, may use it.
TAKE_AWAY = """
CREATE OR REPLACE FUNCTION "hybrid_take_away"(what text, tab text, col text, keys uuid[], remove boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $take_away$
BEGIN
  IF coalesce(current_setting('ostoja.actor', true), '') NOT LIKE 'site:%' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'Only the site that calls a record back takes it away.';
  END IF;
  SET CONSTRAINTS ALL IMMEDIATE;  -- a table with rules that still have to speak can't be altered
  EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', tab);
  IF remove THEN
    EXECUTE format('DELETE FROM %I WHERE %I = ANY($1)', tab, col) USING keys;
  ELSE
    EXECUTE format('UPDATE %I SET %I = NULL WHERE %I = ANY($1)', tab, col, col) USING keys;
  END IF;
  SET CONSTRAINTS ALL IMMEDIATE;
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', tab);
  SET CONSTRAINTS ALL DEFERRED;
  IF remove AND col = 'id' THEN
    INSERT INTO journal_change (xid, model, record, op, fields, hlc, actor, verb)
    SELECT pg_current_xact_id()::text::bigint, what, k, 'D', '{}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16,
      current_setting('ostoja.actor'), 'purge' FROM unnest(keys) k;
  END IF;
END $take_away$
"""

# What the site above has decided stands here too, whatever state the record is in: the rules were kept there, in their order.
TAKE_OVER = """
CREATE OR REPLACE FUNCTION "hybrid_take_over"(tab text, key uuid, fresh boolean, cols text[], types text[], vals text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $take_over$
DECLARE names text; given text;
BEGIN
  IF coalesce(current_setting('ostoja.actor', true), '') NOT LIKE 'site:%' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'Only the site that decides is taken at its word.';
  END IF;
  SELECT string_agg(format('%I', cols[i]), ', '), string_agg(format('%L::%s', vals[i], types[i]), ', ') INTO names, given
  FROM generate_subscripts(cols, 1) i;
  SET CONSTRAINTS ALL IMMEDIATE;
  EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', tab);
  IF fresh THEN
    EXECUTE format('INSERT INTO %I (id, version, updated_at, %s) VALUES ($1, 1, now(), %s)', tab, names, given) USING key;
  ELSE
    EXECUTE format('UPDATE %I SET (%s) = ROW (%s), version = version + 1, updated_at = now() WHERE id = $1', tab, names, given) USING key;
  END IF;
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', tab);
  SET CONSTRAINTS ALL DEFERRED;
END $take_over$
"""

# A reference that was kept aside is set again, in whatever state the record is: it says what it said all the time.
PUT_BACK = """
CREATE OR REPLACE FUNCTION "hybrid_put_back"(tab text, col text, key uuid, target uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $put_back$
BEGIN
  IF NOT EXISTS (SELECT FROM hybrid_absent a WHERE a.record = key) THEN RETURN; END IF;
  SET CONSTRAINTS ALL IMMEDIATE;
  EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', tab);
  EXECUTE format('UPDATE %I SET %I = $1 WHERE id = $2 AND %I IS NULL', tab, col, col) USING target, key;
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', tab);
END $put_back$
"""


def capture_name(table: Table) -> str:
    """The name of a table's clock function and trigger."""
    return f"hybrid_capture_{table.name}"


def egress_role(schema: str, ceiling: int = CLOUD_CEILING) -> str:
    """The role that reads what may leave to a site of this ceiling: ``e_`` for the cloud, ``s_`` for another premises."""
    return f"{'e' if ceiling == CLOUD_CEILING else 's'}_{schema}"


def view_of(table: Table, ceiling: int = CLOUD_CEILING) -> str:
    """The view of a table through which that role reads."""
    return f"{'egress' if ceiling == CLOUD_CEILING else 'whole'}_{table.name}"


def capture_sql(table: Table, me: int, *, in_cloud: bool, owner: bool, closed: bool = False) -> list[str]:
    """The trigger that keeps the clocks of one table, but for rows that a batch writes itself: that brings their stamps along.

    What belongs to another site is refused besides; ``closed``: a door turns away any value that may not be there.
    """
    name = capture_name(table)
    tests = changed_sql({c.column: f"changed := changed || '{c.field}'::text;" for c in table.columns.values()})
    for group in table.together:
        fields = ", ".join(f"'{n}'" for n in group)
        tests += (
            f"\n    IF changed && ARRAY[{fields}]::text[] THEN\n"
            f"      SELECT array_agg(DISTINCT f) INTO changed FROM unnest(changed || ARRAY[{fields}]::text[]) f;\n    END IF;"
        )
    owned = ""
    kept_by = {"premises": not owner, "cloud": not in_cloud}.get(str(table.model.sync), False)
    if kept_by:
        decided = f" AND {PREMISES_DECIDE}" if in_cloud else ""
        owned = (
            "  IF (TG_OP <> 'UPDATE' OR changed <> '{}') AND coalesce(current_setting('ostoja.actor', true), '') NOT LIKE 'site:%'"
            f"{decided} THEN\n"
            "    RAISE EXCEPTION USING ERRCODE = '23514', CONSTRAINT = 'hybrid_owned', TABLE = TG_TABLE_NAME,\n"
            f"      MESSAGE = '{KEPT[str(table.model.sync)]}';\n  END IF;\n"
        )
    inherit = ""
    if table.parent_column and owner:
        parent = table.model._meta.get_field(table.inside).related_model._meta.db_table
        inherit = (
            # Whoever marks the record above at this moment is waited for, or waits: he sees this row, or it sees his label.
            f'    PERFORM FROM "{parent}" p WHERE p.id = NEW."{table.parent_column}" FOR KEY SHARE;\n'
            "    INSERT INTO hybrid_label (id, created_at, updated_at, version, model, level, inherited, root)\n"
            f"    SELECT NEW.id, now(), now(), 1, '{table.label}', l.level, true, coalesce(l.root, l.id) FROM hybrid_label l\n"
            f'    WHERE l.id = NEW."{table.parent_column}" AND l.level > 0\n'
            "    ON CONFLICT (id) DO UPDATE SET level = excluded.level, inherited = true, root = excluded.root, updated_at = now()\n"
            "    WHERE hybrid_label.level < excluded.level;\n"
            "    IF FOUND THEN UPDATE hybrid_clock SET label_ver = greatest(label_ver,\n"
            "      (SELECT s.label_floor FROM hybrid_site s WHERE s.here)) + 1 WHERE id = NEW.id; END IF;\n"
        )
    moved = ""
    if inherit:
        moved = f"    IF changed && ARRAY['{table.inside}']::text[] THEN\n{inherit}    END IF;\n"
    forgotten = ""
    if references := ", ".join(f"'{c.field}'" for c in table.columns.values() if c.refers):
        forgotten = (  # the reference says something else now
            f"    IF changed && ARRAY[{references}]::text[] THEN\n"
            "      DELETE FROM hybrid_absent a WHERE a.record = NEW.id AND a.field = ANY(changed);\n    END IF;\n"
        )
    return [
        f"""
CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS $capture$
DECLARE changed text[] := '{{}}';
BEGIN
  IF TG_OP = 'UPDATE' THEN
{tests}
  END IF;
{owned}  IF TG_OP = 'INSERT' THEN
    PERFORM hybrid_stamp('{table.label}', NEW.id, NULL, {me}::smallint);
{inherit}  ELSIF TG_OP = 'DELETE' THEN
    PERFORM hybrid_death('{table.label}', OLD.id, {me}::smallint);
  ELSIF changed <> '{{}}' THEN
    PERFORM hybrid_stamp('{table.label}', NEW.id, changed, {me}::smallint);
{moved}{forgotten}  END IF;
  RETURN NULL;
END $capture$""",
        f'CREATE OR REPLACE TRIGGER "{name}" AFTER INSERT OR UPDATE OR DELETE ON "{table.name}" '
        f'FOR EACH ROW WHEN (NOT {BATCH}) EXECUTE FUNCTION "{name}"()',
        *door_sql(table, closed=closed),
        # What was there before the tenant became hybrid gets the clock of its last change.
        f"INSERT INTO hybrid_clock (id, model, cl, hlc, site, stamps, top, withheld, label_ver, ships) "
        f"SELECT t.id, '{table.label}', 1, v.hlc, {me}, '{{}}', v.hlc, false, 0, '{{}}' FROM \"{table.name}\" t, "
        f"LATERAL (SELECT (extract(epoch FROM t.updated_at) * 1000)::bigint << 16 AS hlc) v ON CONFLICT (id) DO NOTHING",
    ]


def door_sql(table: Table, *, closed: bool) -> list[str]:
    """The trigger that turns away what may not be here, whoever brings it, before a byte of it is in a file."""
    name = f"hybrid_door_{table.name}"
    wrong = _closed_sql(table) if closed else ""
    if not wrong:
        return [f'DROP TRIGGER IF EXISTS "zz_{name}" ON "{table.name}"']
    return [
        f"""
CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS $door$
BEGIN
  IF {wrong} THEN
    RAISE EXCEPTION USING ERRCODE = '23514', CONSTRAINT = 'hybrid_closed', TABLE = TG_TABLE_NAME,
      MESSAGE = '{HELD}';
  END IF;
  RETURN NEW;
END $door$""",
        # The last of its kind, by its name: it sees what the others make of a row.
        f'CREATE OR REPLACE TRIGGER "zz_{name}" BEFORE INSERT OR UPDATE ON "{table.name}" '
        f'FOR EACH ROW EXECUTE FUNCTION "{name}"()',
    ]


def closed_columns(table: Table, ceiling: int = CLOUD_CEILING) -> dict[str, str]:
    """The columns of a table that a site of this ceiling may not hold, with what stands in them there, as SQL."""
    out = {}
    for name, column in table.columns.items():
        if name not in table.open(ceiling):
            text = "NULL" if column.null else "'" + (column.default or "").replace("'", "''") + "'"
            out[column.column] = f"{text}::{column.type}"
    return out


def _closed_sql(table: Table) -> str:
    """The condition on NEW under which a row holds what the cloud may not hold; empty when there is nothing such."""
    if not table.holdable(1):
        return ""
    if not table.holdable(CLOUD_CEILING):
        return "TG_OP = 'INSERT'"
    return " OR ".join(f'NEW."{c}" IS DISTINCT FROM {value}' for c, value in closed_columns(table).items())


def view_sql(table: Table, ceiling: int, alias_key: str) -> str:
    """The view of what may leave: open columns as text; rows without a label; references to labelled rows as aliases."""
    columns, joins = ["t.id"], []
    for name in table.open(ceiling):
        column = table.columns[name]
        value = f't."{column.column}"'
        if column.refers:
            value, joined = _reference_sql(column, ceiling, alias_key, len(columns))
            joins += joined
        columns.append(f'({value})::text AS "{name}"')
    rows = f"WHERE NOT EXISTS (SELECT FROM hybrid_label l WHERE l.id = t.id AND l.level > {ceiling})"
    return (
        f'CREATE VIEW "{view_of(table, ceiling)}" WITH (security_barrier = true) AS '
        f'SELECT {", ".join(columns)} FROM "{table.name}" t {" ".join(joins)} {rows}'
    )


def _reference_sql(column: Column, ceiling: int, alias_key: str, number: int) -> tuple[str, list[str]]:
    """(a reference as it travels, the joins that it needs): the key, also of a record that is kept aside; or an alias.

    Joined, not asked for row by row: nearly no reference is kept aside or leads to a labelled record.
    """
    target, aside, label, joins = f't."{column.column}"', f"a{number}", f"l{number}", []
    if column.null:
        joins.append(f"LEFT JOIN hybrid_absent {aside} ON {aside}.record = t.id AND {aside}.field = '{column.field}'")
        target = f"coalesce({target}, CASE WHEN NOT {aside}.alias THEN {aside}.target END)"
    said = f"{target}::text"
    if ceiling == CLOUD_CEILING:
        joins.append(f"LEFT JOIN hybrid_label {label} ON {label}.id = {target} AND {label}.level > {ceiling}")
        alias = (
            f"encode(substring(sha256(convert_to('{alias_key}' || {target}::text, 'UTF8')) FROM 1 FOR 16), 'hex')::uuid"
        )
        said = f"CASE WHEN {label}.id IS NOT NULL THEN '~' || {alias} ELSE {said} END"
    if column.null:
        said = f"coalesce({said}, CASE WHEN {aside}.alias THEN '~' || {aside}.target END)"
    return said, joins


def install(
    tenant: Tenant, tables: Tables, me: int, *, in_cloud: bool, owner: bool | None = None, closed: bool = False
) -> None:
    """Make the tenant's schema hybrid, or bring it to another manifest; may be run again. Runs as the owner of schemas.

    A site in the cloud gets only the role for the premises: all that it has may go there. ``owner``: this is the premises,
    which own labels and what is theirs alone (a laptop is neither). ``closed``: it takes no value any more that may not be here.
    """
    owner_site = not in_cloud if owner is None else owner
    schema = tenant.schema_name
    app = settings.DATABASES["default"]["USER"]
    owner = connections["owner"]
    ceilings = (1,) if in_cloud else (CLOUD_CEILING, 1)
    alias_key = hmac.new(settings.SECRET_KEY.encode(), f"alias:{schema}".encode(), hashlib.sha256).hexdigest()
    with schema_context(schema), transaction.atomic(using="owner"), owner.cursor() as cursor:
        cursor.execute("SELECT set_config('ostoja.actor', 'system:', true), set_config('ostoja.verb', 'hybrid', true)")
        cursor.execute(
            "SELECT viewname FROM pg_views WHERE schemaname = %s AND viewname ~ '^(egress|whole)_'", [schema]
        )
        for (view,) in cursor.fetchall():
            cursor.execute(f'DROP VIEW "{view}"')
        cursor.execute(STAMP)
        cursor.execute(DEATH)
        cursor.execute(CHAIN_ANEW)
        cursor.execute(FORGET)
        cursor.execute(PUT_BACK)
        if not owner_site:
            cursor.execute(TAKE_AWAY)
            cursor.execute(TAKE_OVER)
            cursor.execute(f'GRANT EXECUTE ON FUNCTION "hybrid_take_away", "hybrid_take_over" TO "r_{schema}"')
        for table in tables:
            for statement in capture_sql(table, me, in_cloud=in_cloud, owner=owner_site, closed=closed):
                cursor.execute(statement)
        for ceiling in ceilings:
            role, prefix = egress_role(schema, ceiling), "egress" if ceiling == CLOUD_CEILING else "whole"
            _make_role(cursor, role, schema, app)
            views = []
            for table in tables:
                if table.holdable(ceiling):
                    cursor.execute(view_sql(table, ceiling, alias_key))
                    views.append(view_of(table, ceiling))
            keys = ", ".join(KEYS_ONLY)
            cursor.execute(
                f'CREATE VIEW "{prefix}_journal" WITH (security_barrier = true) AS SELECT {keys} FROM journal_change'
            )
            cursor.execute(
                f'CREATE VIEW "{prefix}_clock" WITH (security_barrier = true) AS '
                f"SELECT {', '.join(CLOCKS)} FROM hybrid_clock"
            )
            cursor.execute(
                f'CREATE VIEW "{prefix}_label" WITH (security_barrier = true) AS '
                "SELECT id, model, level FROM hybrid_label"
            )
            views += [f"{prefix}_journal", f"{prefix}_clock", f"{prefix}_label"]
            if prefix == "whole":
                cursor.execute(
                    'CREATE VIEW "whole_stash" WITH (security_barrier = true) AS '
                    "SELECT id, model, cl, label_ver, cells FROM hybrid_stash"
                )
                views.append("whole_stash")
            for view in views:
                # The tenant's own role gets nothing by default: through a view it could write what the table refuses it.
                cursor.execute(f'REVOKE ALL ON "{view}" FROM "r_{schema}"; GRANT SELECT ON "{view}" TO "{role}"')
        cursor.execute(
            f'GRANT EXECUTE ON FUNCTION "hybrid_stamp", "hybrid_death", "journal_forget", "hybrid_put_back" TO "r_{schema}"'
        )


def _make_role(cursor, role: str, schema: str, app: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    if not cursor.fetchone():
        cursor.execute(f'CREATE ROLE "{role}" NOLOGIN NOINHERIT')
        options = " WITH INHERIT FALSE, SET TRUE" if cursor.db.pg_version >= 160000 else ""
        cursor.execute(f'GRANT "{role}" TO "{app}"{options}')
    cursor.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"')
