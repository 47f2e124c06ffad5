"""Numbers of records: who has none takes the next of its series from a counter row, in whatever way the record is made.

A tenant that lives on several sites has a series at each, so that no two sites ever hand out one number: ``D-000017`` at the
first, ``D-2-000001`` at the second. Which site this is stands in the counters, too, under ``SITE``.
"""

from __future__ import annotations

from ostoja.kernel.constraints import Rule
from ostoja.kernel.ids import UUID7_SQL

SITE = "site"

# The row of the counter is locked until the transaction ends, so that no two take one number; a number that an import has
# brought along already is passed over. A sequence would do neither, and it would not travel with the tenant's rows.
TAKE = """
IF coalesce(NEW.number, '') = '' THEN
  DECLARE
    given bigint;
    mark text := coalesce((SELECT c.value || '-' FROM party_counter c WHERE c.code = '{site}' AND c.value > 1), '');
  BEGIN
    LOOP
      INSERT INTO party_counter (id, code, value) VALUES ({new_id}, '{series}' || rtrim('/' || mark, '/-'), 1)
      ON CONFLICT (code) DO UPDATE SET value = party_counter.value + 1 RETURNING value INTO given;
      NEW.number := '{prefix}' || mark || lpad(given::text, greatest({digits}, length(given::text)), '0');
      EXIT WHEN NOT EXISTS (SELECT FROM {table} WHERE number = NEW.number);
    END LOOP;
  END;
END IF;
RETURN NEW;
"""


class Numbered(Rule):
    """New records without a ``number`` take the next one of their series: ``prefix`` and at least ``digits`` digits."""

    def __init__(self, series: str, prefix: str, *, table: str, name: str, digits: int = 6):
        self.series, self.prefix, self.table, self.digits = series, prefix, table, digits
        sql = TAKE
        words = {
            "series": series,
            "prefix": prefix,
            "table": table,
            "digits": str(digits),
            "new_id": UUID7_SQL,
            "site": SITE,
        }
        for word, value in words.items():
            sql = sql.replace(f"{{{word}}}", value)
        super().__init__(sql, name=name, on="INSERT", timing="BEFORE")

    def deconstruct(self):
        path, _args, kwargs = super().deconstruct()
        return path, (self.series, self.prefix), {"name": kwargs["name"], "table": self.table, "digits": self.digits}
