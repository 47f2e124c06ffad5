"""Undo: the journal takes a whole import back; what somebody changed since is left and listed."""

import json

import pytest
from django.db import connection

from ostoja import gate
from ostoja.exchange import runs, undoing
from ostoja.jobs import queue, runner

# What goes on whatever is undone: the journal, the jobs, the imports themselves, numbers given, and the clock of each row.
GOES_ON = (
    "journal_change",
    "jobs_job",
    "exchange_importrun",
    "exchange_rowerror",
    "party_counter",
    "django_migrations",
)
CLOCK = {"version", "updated_at"}


@pytest.fixture
def state(tenant):
    """Every row of every table of the tenant, but for what goes on."""

    def read():
        with connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [tenant.schema_name])
            tables = sorted({t for (t,) in cursor.fetchall()} - set(GOES_ON))
            found = {}
            for name in tables:
                cursor.execute(f'SELECT to_jsonb(t)::text FROM "{name}" t')  # noqa: S608 - our own tables
                rows = [{k: v for k, v in json.loads(r).items() if k not in CLOCK} for (r,) in cursor.fetchall()]
                found[name] = sorted(json.dumps(r, sort_keys=True) for r in rows)
        return found

    return read


@pytest.fixture
def undo(actor, work):
    return lambda run: work(runs.undo(actor, run))


PARTIES = [
    {"from": "name", "to": "name"},
    {"from": "industry", "to": "industry"},
    {"from": "mail", "to": "contact_points.value", "set": {"type": "email"}},
]


def test_created_parents_parts_relations_and_references_are_gone(bring, state, undo):
    before = state()
    text = "name,part of\nA,C\nB,A\nC,\n"
    run = bring("departments", text, columns=[{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}])
    products = bring(
        "products",
        "code,name,group\n1,A,Fruit\n2,B,Fruit\n",
        columns=[
            {"from": "code", "to": "code"},
            {"from": "name", "to": "name"},
            {"from": "group", "to": "category", "create": True},
        ],
    )
    parties = bring("parties", "name,industry,mail\nA,x,a@example.com\nB,y,b@example.com\n", columns=PARTIES)
    assert state() != before
    for done in (parties, products, run):
        done = undo(done)
        assert (done.state, done.result["undo"]["kept_count"]) == ("undone", 0)
    assert state() == before


def test_won_deals_and_their_lines_are_gone(bring, stages, state, undo):
    bring("products", "code,name,list_price\nA,Apple,1\n")
    before = state()
    text = "number,stage,state,product,price\n" + "".join(
        f"D{n},{s},{t},Apple,{n + 1}\n"
        for n, (s, t) in enumerate([("Won", "won"), ("Lost", "lost"), ("New", "open")] * 5)
    )
    columns = [
        {"from": n, "to": t}
        for n, t in (
            ("number", "number"),
            ("stage", "stage"),
            ("state", "state"),
            ("product", "lines.product"),
            ("price", "lines.price"),
        )
    ]
    run = bring("deals", text, columns=columns)
    assert run.created == 15
    run = undo(run)
    assert (run.result["undo"]["deleted"], run.result["undo"]["kept"]) == (15, [])
    assert state() == before


def test_changed_records_get_their_old_values_and_replaced_lines_come_back(bring, stages, state, undo):
    bring("products", "code,name,list_price\nA,Apple,1\nB,Bread,2\n")
    columns = [
        {"from": n, "to": t}
        for n, t in (("number", "number"), ("title", "title"), ("product", "lines.product"), ("qty", "lines.quantity"))
    ]
    first = "number,title,product,qty\nD1,One,Apple,1\nD1,One,Bread,2\nD2,Two,Apple,3\n"
    bring("deals", first, columns=columns)
    before = state()
    run = bring(
        "deals",
        first.replace("Two", "Zwei").replace("D1,One,Bread,2\n", "").replace("Apple,1", "Bread,9"),
        columns=columns,
        mode="upsert",
    )
    assert run.updated == 2 and state() != before
    assert undo(run).result["undo"]["kept"] == []
    assert state() == before


def test_what_was_changed_since_is_left_and_listed(bring, undo, rows, actor):
    bring("parties", "name,industry\nOld,food\n", columns=PARTIES[:2])
    columns = [*PARTIES[:2], {"from": "city", "to": "city"}]
    run = bring(
        "parties",
        "name,industry,city\nOld,steel,Opole\nNew,wood,Toruń\nFine,glass,Ełk\n",
        columns=columns,
        mode="upsert",
    )
    old, new = rows("party.party").get(name="Old"), rows("party.party").get(name="New")
    gate.perform(actor, old, "change", {"city": "Kraków"})
    gate.perform(actor, new, "change", {"city": "Gdynia"})
    run = undo(run)
    kept = {name: reason for _label, _key, name, reason in run.result["undo"]["kept"]}
    assert set(kept) == {"Old", "New"} and "City" in kept["Old"].title()
    old.refresh_from_db()
    assert (old.industry, old.city) == ("food", "Kraków")
    assert sorted(rows("party.party").values_list("name", flat=True)) == ["New", "Old"]


def test_what_others_point_to_is_left_and_says_by_what(bring, stages, undo, rows, actor):
    run = bring("parties", "name\nA\nB\n")
    gate.perform(actor, rows("sales.deal").model, "add", {"title": "T", "party": rows("party.party").get(name="A").pk})
    run = undo(run)
    assert run.state == "undone" and [k[2] for k in run.result["undo"]["kept"]] == ["A"]
    assert "deals" in run.result["undo"]["kept"][0][3]


def test_lines_of_a_kept_record_are_kept(bring, stages, undo, rows, actor):
    bring("products", "code,name,list_price\nA,Apple,1\n")
    columns = [{"from": n, "to": t} for n, t in (("number", "number"), ("product", "lines.product"))]
    run = bring("deals", "number,product\nD1,Apple\nD2,Apple\n", columns=columns)
    gate.perform(actor, rows("sales.deal").get(number="D1"), "change", {"title": "Mine now"})
    run = undo(run)
    assert run.result["undo"]["kept_count"] == 1
    assert rows("sales.deal").get().lines.count() == 1


def test_an_undo_that_was_stopped_goes_on(tenant, bring, actor, work, state, monkeypatch):
    monkeypatch.setattr(undoing, "CHUNK", 10)
    before = state()
    run = bring("departments", "name\n" + "".join(f"d{n}\n" for n in range(60)))
    run = runs.undo(actor, run)
    real = runner.Run.progress

    def stop_soon(self, done, *args, **kwargs):
        if done == 30:
            queue.cancel(self.job)
        return real(self, done, *args, **kwargs)

    monkeypatch.setattr(runner.Run, "progress", stop_soon)
    run = work(run)
    assert (run.state, run.result["undo"]["deleted"]) == ("done", 20)
    monkeypatch.setattr(runner.Run, "progress", real)
    assert work(runs.undo(actor, run)).state == "undone" and state() == before


def test_who_may_not_delete_keeps_what_was_made(bring, as_role, work, rows):
    rights = {"view": "all", "add": "all", "change": "all", "import": "all"}
    person = as_role({"access.department": rights})
    run = bring("departments", "name\nA\n", by=person)
    run = work(runs.undo(person, run))
    assert run.result["undo"]["kept_count"] == 1 and "does not include" in run.result["undo"]["kept"][0][3]
    assert rows("access.department").count() == 1


def test_an_import_is_undone_only_once(bring, undo, actor):
    run = undo(bring("departments", "name\nA\n"))
    with pytest.raises(Exception, match="Undone"):
        runs.undo(actor, run)
