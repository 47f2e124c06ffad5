"""Graves: what is left of deleted records is forgotten once every other site knows of the death and nothing older is on its way."""

from __future__ import annotations

from django.db import connection

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor

from .models import Link, Progress, Site
from .sites import here

AGE_DAYS = 180  # a death is remembered at least so long, for sites that are away

COLLECT = """
WITH last AS (
  SELECT c.id, (SELECT max(j.seq) FROM journal_change j WHERE j.record = c.id) AS seq,
    (SELECT bool_or(j.seq IS NULL) FROM journal_change j WHERE j.record = c.id) AS open
  FROM hybrid_clock c
  WHERE c.cl %% 2 = 0 AND NOT c.withheld AND c.hlc < %s
    AND NOT EXISTS (SELECT FROM hybrid_parked p WHERE p.record = c.id)
    AND NOT EXISTS (SELECT FROM hybrid_stash s WHERE s.id = c.id)
    AND NOT EXISTS (SELECT FROM hybrid_conflict k WHERE k.record = c.id AND k.state = 'open')
    AND NOT (%s AND (c.label_ver > 0 OR EXISTS (SELECT FROM hybrid_label l WHERE l.id = c.id)))
  LIMIT 10000
), gone AS (
  DELETE FROM hybrid_clock c USING last WHERE c.id = last.id AND last.seq <= %s AND NOT coalesce(last.open, false) RETURNING last.seq
)
SELECT count(*), coalesce(max(seq), 0) FROM gone
"""


def collect(age_days: int = AGE_DAYS) -> int:
    """Forget old graves of the open tenant; answers how many.

    On the premises the grave of a record that ever had a label stays: it is the memory of the label.
    """
    owner = here().is_owner
    settled = Progress.objects.filter(link__state=Link.State.OPEN).values_list("settled", flat=True)
    with changing(Actor.system("Sites"), "graves"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT (extract(epoch FROM clock_timestamp() - make_interval(days => %s)) * 1000)::bigint << 16",
            [age_days],
        )
        before = cursor.fetchone()[0]
        cursor.execute(COLLECT, [before, owner, min(settled, default=0)])
        count, last = cursor.fetchone()
        if count:
            Site.objects.filter(here=True, collected_to__lt=last).update(collected_to=last)
    return count
