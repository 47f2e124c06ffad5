"""Generates the triggers that write the journal: one function per table, with explicit comparisons, no diff of whole rows."""

from __future__ import annotations

from collections.abc import Mapping

from ostoja.kernel import registry
from ostoja.kernel.record import Record

SKIPPED = ("id", "version", "updated_at", "created_at")
AT_ONCE = 8  # columns that are looked at together

TOUCH = """
CREATE OR REPLACE FUNCTION "record_touch"() RETURNS trigger LANGUAGE plpgsql AS $touch$
BEGIN
  NEW.version := OLD.version + 1;
  NEW.updated_at := now();
  RETURN NEW;
END $touch$
"""

SEQUENCE = """
CREATE OR REPLACE FUNCTION "journal_sequence"() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET random_page_cost = 1 AS $sequence$
DECLARE
  first bigint; chain bytea; row record; ids bigint[] := '{}'; chains bytea[] := '{}';
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema(), 7));
  SELECT c.seq, c.digest INTO first, chain FROM journal_change c WHERE c.seq IS NOT NULL ORDER BY c.seq DESC LIMIT 1;
  first := coalesce(first, 0);
  chain := coalesce(chain, ''::bytea);
  FOR row IN
    SELECT c.id, convert_to(journal_canonical(c.id, c.at, c.xid, c.model, c.record, c.op, c.fields, c.old, c.hlc, c.origin, c.actor,
      c.verb, c.cause), 'UTF8') AS said
    FROM (SELECT c.*, max(c.id) OVER (PARTITION BY c.xid) AS place FROM journal_change c WHERE c.seq IS NULL) c ORDER BY c.place, c.id
  LOOP
    chain := sha256(chain || row.said);
    ids := ids || row.id;
    chains := chains || chain;
  END LOOP;
  UPDATE journal_change c SET seq = first + s.place, digest = s.digest
  FROM unnest(ids, chains) WITH ORDINALITY AS s(id, digest, place) WHERE c.id = s.id;
  RETURN first + cardinality(ids);
END $sequence$
"""

CANONICAL = """
CREATE OR REPLACE FUNCTION "journal_canonical"(id bigint, at timestamptz, xid bigint, model text, record uuid, op text, fields text[],
  old jsonb, hlc bigint, origin smallint, actor text, verb text, cause uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $canonical$
  SELECT jsonb_build_array(id, extract(epoch FROM at)::text, xid, model, record, op, to_jsonb(fields), old, hlc, origin, actor, verb, cause)::text
$canonical$
"""

VERIFY = """
CREATE OR REPLACE FUNCTION "journal_verify"(OUT bad bigint, OUT why text, OUT head bigint, OUT head_digest bytea) LANGUAGE plpgsql AS $verify$
DECLARE
  chain bytea := ''::bytea; row record;
BEGIN
  head := 0;
  FOR row IN SELECT c.* FROM journal_change c WHERE c.seq IS NOT NULL ORDER BY c.seq LOOP
    IF row.seq <> head + 1 THEN bad := head + 1; why := 'missing'; RETURN; END IF;
    chain := sha256(chain || convert_to(journal_canonical(row.id, row.at, row.xid, row.model, row.record, row.op, row.fields, row.old,
      row.hlc, row.origin, row.actor, row.verb, row.cause), 'UTF8'));
    IF chain IS DISTINCT FROM row.digest THEN bad := row.seq; why := 'changed'; RETURN; END IF;
    head := row.seq; head_digest := chain;
  END LOOP;
END $verify$
"""


def function_name(model: type[Record]) -> str:
    """The name of a table's journal function and trigger."""
    return f"journal_{model._meta.db_table}"


def changed_sql(then: Mapping[str, str]) -> str:
    """What a trigger of updates does for each column that changed: {column: statements}.

    It looks at several columns at once before it looks at one: most rows change in few, and every look takes its time.
    """
    out, columns = [], list(then)
    for start in range(0, len(columns), AT_ONCE):
        some = columns[start : start + AT_ONCE]
        new, old = (", ".join(f'{row}."{c}"' for c in some) for row in ("NEW", "OLD"))
        out.append(f"    IF ({new}) IS DISTINCT FROM ({old}) THEN")
        out += [f'      IF NEW."{c}" IS DISTINCT FROM OLD."{c}" THEN {then[c]} END IF;' for c in some]
        out.append("    END IF;")
    return "\n".join(out)


def capture_sql(model: type[Record]) -> list[str]:
    """The statements that (re)install the journal trigger and the version trigger of one table."""
    table, name = model._meta.db_table, function_name(model)
    columns = [(f.column, f.name in model.data.secret) for f in model._meta.concrete_fields if f.name not in SKIPPED]
    tests = changed_sql({
        c: f"changed := changed || '{c}'::text;"
        + ("" if secret else f" before := before || jsonb_build_object('{c}', OLD.\"{c}\");")
        for c, secret in columns
    })  # fmt: skip
    hidden = "".join(f" - '{c}'" for c, secret in columns if secret)
    return [
        f"""
CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS $journal$
DECLARE
  who text := current_setting('ostoja.actor', true);
  changed text[] := '{{}}'; before jsonb := NULL; key uuid;
BEGIN
  IF coalesce(who, '') = '' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'No actor, no change: set ostoja.actor in this transaction.';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    key := NEW.id; before := '{{}}';
{tests}
    IF changed = '{{}}' THEN RETURN NULL; END IF;
  ELSIF TG_OP = 'DELETE' THEN
    key := OLD.id;
    IF current_setting('ostoja.verb', true) IS DISTINCT FROM 'purge' THEN before := to_jsonb(OLD){hidden}; END IF;
  ELSE
    key := NEW.id;
  END IF;
  INSERT INTO journal_change (xid, model, record, op, fields, old, hlc, actor, verb, cause)
  VALUES (pg_current_xact_id()::text::bigint, '{model._meta.label_lower}', key, left(TG_OP, 1), changed, before,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, who,
    coalesce(nullif(current_setting('ostoja.verb', true), ''), lower(TG_OP)), nullif(current_setting('ostoja.cause', true), '')::uuid);
  RETURN NULL;
END $journal$""",
        f'CREATE OR REPLACE TRIGGER "{name}" AFTER INSERT OR UPDATE OR DELETE ON "{table}" FOR EACH ROW EXECUTE FUNCTION "{name}"()',
        f'CREATE OR REPLACE TRIGGER "a_touch" BEFORE UPDATE ON "{table}" FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION "record_touch"()',
    ]


def install_sql() -> list[str]:
    """All statements that make a schema journalled; they name no schema and may be run again after any migration."""
    statements = [TOUCH, CANONICAL, SEQUENCE, VERIFY]
    for model in sorted(registry.records(), key=lambda m: m._meta.label_lower):
        statements += capture_sql(model)
    return statements


def install(cursor) -> None:
    """Make the schema at the head of the search_path journalled."""
    for statement in install_sql():
        cursor.execute(statement)
