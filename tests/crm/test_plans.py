"""How the database answers what people ask most: by an index, and with few of them."""

import pytest
from django.db import connection, transaction
from django.db.models.functions import Upper

from ostoja.access.policy import visible
from ostoja.crm.sales.models import Deal
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.party.models import Party

PARTIES = """
INSERT INTO party_party (id, created_at, updated_at, version, kind, name, first_name, last_name, state, is_customer, is_supplier,
  industry, city, country, currency, website, external_ref, notes)
SELECT gen_random_uuid(), now(), now(), 1, 'org', md5(n::text) || ' Stal ' || n, '', '', 'active', true, false, '', '', '', 'PLN', '', '', ''
FROM generate_series(1, 20000) n
"""
DEALS = """
INSERT INTO sales_deal (id, created_at, updated_at, version, title, party_id, stage_id, amount, currency, source, reopened_because, notes)
SELECT gen_random_uuid(), now(), now(), 1, 'Deal ' || n, (SELECT id FROM party_party ORDER BY id LIMIT 1 OFFSET n % 50),
  (SELECT id FROM sales_stage WHERE kind = 'open' ORDER BY position LIMIT 1 OFFSET n % 2), n, 'PLN', '', '', ''
FROM generate_series(1, 3000) n
"""

# Each index of a table whose columns are the first columns of another one, with the same condition.
SPARE = """
SELECT a.indrelid::regclass::text, a.indexrelid::regclass::text, b.indexrelid::regclass::text
FROM pg_index a JOIN pg_index b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
JOIN pg_class t ON t.oid = a.indrelid JOIN pg_class i ON i.oid = a.indexrelid JOIN pg_class j ON j.oid = b.indexrelid
WHERE t.relnamespace = current_schema()::regnamespace AND NOT a.indisunique AND i.relam = j.relam
  AND a.indexprs IS NULL AND b.indexprs IS NULL
  AND pg_get_expr(a.indpred, a.indrelid) IS NOT DISTINCT FROM pg_get_expr(b.indpred, b.indrelid)
  AND (b.indkey::text || ' ') LIKE (a.indkey::text || ' %')
ORDER BY 1, 2
"""


@pytest.fixture
def crowd(pipeline):
    """20,000 parties and 3,000 deals."""
    with changing(Actor.system("Test"), "test"), connection.cursor() as cursor:
        cursor.execute(PARTIES)
        cursor.execute(DEALS)


def plan(rows, **settings) -> str:
    """How the database would answer, with planner settings for this question alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute(f"SET LOCAL {name} = {value}")
        sql, params = rows.query.sql_with_params()
        cursor.execute("EXPLAIN " + sql, params)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_what_is_asked_most_is_answered_by_an_index(crowd, actor, pipeline):
    assert Party.objects.count() == 20_000
    by_name = plan(visible(actor, Party).order_by(Upper("name"), "id")[:50])
    assert "party_by_name" in by_name and "Sort" not in by_name
    by_part = plan(visible(actor, Party).filter(name__icontains="tal 1999"), enable_seqscan="off")
    assert "party_name_part" in by_part
    newest = plan(visible(actor, Deal).order_by("-id")[:50])
    assert "Backward using sales_deal_pkey" in newest and "Sort" not in newest
    stage = pipeline.stages.get(name="Engaging")
    assert "deal_by_stage" in plan(visible(actor, Deal).filter(state="open", stage=stage).order_by("-id")[:25])


def test_no_index_is_the_beginning_of_another(tenant):
    with connection.cursor() as cursor:
        cursor.execute(SPARE)
        spare = cursor.fetchall()
    assert [s for s in spare if s[0].startswith(("party_", "catalog_", "sales_", "planning_", "documents_"))] == []
