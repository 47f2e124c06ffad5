"""An import: every row through the gate, every error by row and column, nothing twice and nothing half."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ostoja import gate
from ostoja.access.models import Department, User
from ostoja.exchange import runs
from ostoja.exchange.models import ImportRun, RowError, SavedMapping
from ostoja.jobs import queue, runner
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, NotFound, Refused

ALL = {"view": "all", "add": "all", "change": "all", "import": "all", "export": "all"}


def test_the_header_is_guessed_in_english_and_polish(tenant, actor):
    run = runs.start(actor, "parties", "Nazwa,Telefon,Branża,Strona WWW,Rok założenia\nA,1,2,3,4\n".encode(), "a.csv")
    found = {c["from"]: c["to"] for c in run.mapping["columns"]}
    assert found == {"Nazwa": "name", "Branża": "industry", "Strona WWW": "website", "Rok założenia": "founded"}
    run = runs.start(
        actor, "deals", b"Opportunity ID,Sales agent,Account,Close value,Close date\nX,Y,Z,1,12/31/2026\n", "d.csv"
    )
    found = {c["from"]: c["to"] for c in run.mapping["columns"]}
    assert found["Opportunity ID"] == "number" and found["Sales agent"] == "owner" and found["Account"] == "party"
    assert (
        found["Close value"] == "amount"
        and next(c for c in run.mapping["columns"] if c["from"] == "Close date")["date_order"] == "mdy"
    )


def test_a_file_with_unknown_columns_only_says_so_before_it_runs(tenant, actor):
    run = runs.start(actor, "departments", b"zzz,qqq\n1,2\n", "x.csv")
    assert run.mapping["columns"] == [] and runs.missing_fields(actor, run) == ["Name"]
    with pytest.raises(Refused, match="where the columns go"):
        runs.check(actor, run)


def test_errors_are_told_by_row_and_column_and_do_not_stop_the_others(bring, errors, rows):
    text = "name,founded,revenue,boss\nGood,1999,5,\n,2000,1,\nOld,long ago,1,\nRich,2001,much,\nOwned,2002,1,Nobody\nFine,2003,7,\n"
    run = bring(
        "parties", text, columns=[
            {"from": "name", "to": "name"}, {"from": "founded", "to": "founded"}, {"from": "revenue", "to": "annual_revenue"},
            {"from": "boss", "to": "owner"},
        ],
    )  # fmt: skip
    assert (run.state, run.rows, run.created, run.failed) == ("done", 6, 2, 4)
    told = errors(run)
    assert [(row, column) for row, column, _m in told] == [(3, "name"), (4, "founded"), (5, "revenue"), (6, "boss")]
    assert "long ago" in told[1][2] and "Nobody" in told[3][2]
    assert sorted(rows("party.party").values_list("name", flat=True)) == ["Fine", "Good"]


def test_a_check_writes_nothing_and_tells_the_same(bring, errors, rows):
    text = "name,part of\nSales,\nsales,\nEast,Sales\nWest,Nowhere\n"
    columns = [{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}]
    before = Change.objects.exclude(model__startswith="exchange.").count()
    checked = bring("departments", text, check=True, columns=columns, mode="add")
    assert not Department.objects.exists() and Change.objects.exclude(model__startswith="exchange.").count() == before
    assert (checked.state, checked.created, checked.failed) == ("checked", 3, 1)
    done = bring("departments", text, columns=columns, mode="add")
    assert errors(checked) == errors(done) and (done.created, done.failed) == (3, 1)
    assert errors(done)[0] == (3, "name", "There is a department of this name.")


def test_add_update_and_upsert(bring, errors, rows):
    columns = [{"from": "code", "to": "code"}, {"from": "name", "to": "name"}, {"from": "price", "to": "list_price"}]
    first = "code,name,price\nA,Apple,1.50\nB,Bread,2\n"
    assert bring("products", first, columns=columns).created == 2
    again = bring("products", first, columns=columns, mode="upsert")
    assert (again.created, again.updated, again.unchanged, again.failed) == (0, 0, 2, 0)
    more = "code,name,price\na,Apple,1.75\nC,Cheese,9\n"
    only = bring("products", more, columns=columns, mode="update")
    assert (only.updated, only.failed) == (1, 1) and errors(only)[0][:2] == (3, "code")
    both = bring("products", more, columns=columns, mode="upsert")
    assert (both.created, both.updated, both.unchanged) == (1, 0, 1)
    assert rows("catalog.product").get(code="a").list_price == Decimal("1.75")
    twice = bring("products", first, columns=columns, mode="add")
    assert twice.failed == 1 and errors(twice)[0][1] == "code"  # A became a; B is there


def test_the_same_key_twice_in_a_file_changes_what_the_first_row_made(bring, rows):
    columns = [{"from": "code", "to": "code"}, {"from": "name", "to": "name"}]
    run = bring("products", "code,name\nA,First\nB,Other\na ,Second\nA,Third\n", columns=columns, mode="upsert")
    assert (run.created, run.updated, run.failed) == (2, 2, 0)
    assert dict(rows("catalog.product").values_list("code", "name"))["A"] == "Third"


def test_empty_cells_keep_what_is_there_unless_told_to_clear(bring, rows):
    columns = [{"from": "code", "to": "code"}, {"from": "name", "to": "name"}, {"from": "colour", "to": "color"}]
    bring("products", "code,name,colour\nA,Apple,red\n", columns=columns)
    bring("products", "code,name,colour\nA,Apple,\n", columns=columns, mode="upsert")
    assert rows("catalog.product").get().color == "red"
    columns[2]["blank"] = "clear"
    bring("products", "code,name,colour\nA,Apple,\n", columns=columns, mode="upsert")
    assert rows("catalog.product").get().color == ""


def test_relations_are_found_whatever_the_case_and_spaces_and_ambiguity_is_told(bring, errors, rows):
    bring("parties", "name,external_ref\nAcme  Corp,1\nTwin,2\nTwin,3\n")
    text = "title,party\nOne,acme corp\nTwo,Twin\nThree,3\nFour,Acme Crop\n"
    bring(
        "sales.stage",
        "pipeline,name,kind,probability\nP,New,open,1\n",
        columns=[
            {"from": "pipeline", "to": "pipeline", "create": True},
            *({"from": n, "to": n} for n in ("name", "kind", "probability")),
        ],
    )
    run = bring("deals", text, columns=[{"from": "title", "to": "title"}, {"from": "party", "to": "party"}])
    told = {row: message for row, _column, message in errors(run)}
    assert set(told) == {3, 5} and "fits 2 customers" in told[3] and "Did you mean “Acme  Corp”?" in told[5]
    assert rows("sales.deal").get(title="Three").party.external_ref == "3"


def test_missing_relations_are_made_once_when_allowed(bring, rows, as_role, errors):
    text = "code,name,group\nA,Apple,Fruit\nB,Pear,fruit \nC,Bread,Bakery\n"
    columns = [
        {"from": "code", "to": "code"},
        {"from": "name", "to": "name"},
        {"from": "group", "to": "category", "create": True},
    ]
    run = bring("products", text, columns=columns)
    assert (run.created, rows("catalog.category").count()) == (3, 2)
    humble = as_role({"catalog.product": ALL, "catalog.category": {"view": "all"}})
    run = bring("products", "code,name,group\nD,Doll,Toys\n", columns=columns, by=humble)
    assert run.failed == 1 and "does not include" in errors(run)[0][2]


def test_references_to_rows_further_down_and_up(bring, rows):
    run = bring(
        "departments",
        "name,part of\nA,C\nB,A\nC,\nD,D2\nD2,B\n",
        columns=[{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}],
    )
    assert (run.created, run.failed) == (5, 0) and run.result["errors"] == 0
    assert {d.name: d.parent and d.parent.name for d in Department.objects.all()} == {
        "A": "C",
        "B": "A",
        "C": None,
        "D": "D2",
        "D2": "B",
    }


def test_references_across_chunks(bring, monkeypatch):
    monkeypatch.setattr("ostoja.exchange.jobs.CHUNK", 2)
    lines = "".join(f"d{n},d{n + 1 if n < 20 else ''}\n".replace("d\n", "\n") for n in range(1, 21))
    run = bring(
        "departments",
        "name,part of\n" + lines,
        columns=[{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}],
    )
    assert (run.created, run.result["errors"]) == (20, 0)
    assert Department.objects.get(name="d3").parent.name == "d4" and Department.objects.get(name="d20").parent is None


def test_dirty_values_constants_skips_and_pieces(bring, rows):
    text = "full,mail,status,group\nAnna Łęcka,ANNA@EXAMPLE.COM,ok,x\nJan Nowak,,deleted,x\nEwa Żak,,OK,x\n"
    run = bring(
        "users", text, mode="upsert", columns=[
            {"from": "full", "to": "name", "case": "upper"},
            {"from": "full", "to": "email", "slug": ".", "suffix": "@example.com"},
            {"from": "status", "to": "is_active", "values": {"ok": False}},
        ],
        constants={"language": "pl"}, skip=[{"column": "status", "is": ["Deleted"]}],
    )  # fmt: skip
    assert (run.created, run.skipped, run.failed) == (2, 1, 0)
    anna = User.objects.get(email="anna.lecka@example.com")
    assert (anna.name, anna.language, anna.is_active, anna.password) == ("ANNA ŁĘCKA", "pl", False, "")


def test_lines_of_following_rows_belong_to_the_record_above(bring, stages, rows, errors):
    bring("products", "code,name,list_price\nA,Apple,1\nB,Bread,2\n")
    text = "number,title,product,qty\nD1,First,Apple,2\nD1,First,Bread,3\n,,Apple,1\nD2,Second,Bread,1\nD3,Third,Cake,1\nD4,Fourth,Apple,none\n"
    columns = [
        {"from": "number", "to": "number"}, {"from": "title", "to": "title"},
        {"from": "product", "to": "lines.product", "by": "name"}, {"from": "qty", "to": "lines.quantity"},
    ]  # fmt: skip
    run = bring("deals", text, columns=columns, mode="upsert")
    assert (run.rows, run.created, run.failed) == (6, 2, 2)
    assert [(r, c) for r, c, _m in errors(run)] == [(6, "product"), (7, "qty")]
    deal = rows("sales.deal").get(number="D1")
    assert [(line.product.code, line.quantity) for line in deal.lines.all()] == [
        ("A", 2),
        ("B", 3),
        ("A", 1),
    ] and deal.amount == 9
    again = bring("deals", text, columns=columns, mode="upsert")
    assert (again.unchanged, again.updated) == (2, 0)
    changed = bring("deals", text.replace("Bread,3", "Bread,4"), columns=columns, mode="upsert")
    assert changed.updated == 1 and rows("sales.deal").get(number="D1").amount == 11


def test_an_error_of_the_gate_in_a_line_is_told_in_its_row(bring, stages, errors):
    bring("products", "code,name,list_price\nA,Apple,1\n")
    text = "number,product,qty\nD1,Apple,2\nD1,Apple,-3\n"
    run = bring(
        "deals",
        text,
        columns=[
            {"from": "number", "to": "number"},
            {"from": "product", "to": "lines.product"},
            {"from": "qty", "to": "lines.quantity"},
        ],
    )
    assert run.failed == 2 and errors(run) == [(3, "qty", "A quantity is greater than zero.")]


def test_parts_come_with_their_record_and_a_bad_one_refuses_it(bring, rows, errors):
    text = "name,mail,phone\nA,a@example.com,+48 601 234 567\nB,not an address,\nC,,22 123 45 67\n"
    columns = [
        {"from": "name", "to": "name"},
        {"from": "mail", "to": "contact_points.value", "group": "mail", "set": {"type": "email"}},
        {"from": "phone", "to": "contact_points.value", "group": "phone", "set": {"type": "phone"}},
    ]
    run = bring("parties", text, columns=columns, mode="upsert")
    assert (run.created, run.failed) == (2, 1) and errors(run)[0][:2] == (3, "mail")
    assert sorted(rows("party.contactpoint").values_list("party__name", "type")) == [
        ("A", "email"),
        ("A", "phone"),
        ("C", "phone"),
    ]
    again = bring("parties", text, columns=columns, mode="upsert")
    assert (again.created, rows("party.contactpoint").count()) == (0, 3)


def test_won_deals_come_in_won_with_their_lines(bring, stages, rows):
    bring("products", "code,name,list_price\nA,Apple,1\n")
    text = "number,stage,state,closed,product,price\nD1,Won,won,2026-01-15,Apple,12.50\n"
    run = bring(
        "deals", text, columns=[
            {"from": "number", "to": "number"}, {"from": "stage", "to": "stage"}, {"from": "state", "to": "state"},
            {"from": "closed", "to": "closed_at"}, {"from": "product", "to": "lines.product"}, {"from": "price", "to": "lines.price"},
        ],
    )  # fmt: skip
    deal = rows("sales.deal").get()
    assert (run.created, deal.state, deal.amount, deal.lines.count()) == (1, "won", Decimal("12.50"), 1)


def test_all_or_nothing(bring, errors, work, actor):
    run = bring("departments", "name\nA\nB\n\nA\n", whole=True, columns=[{"from": "name", "to": "name"}])
    assert (run.state, run.failed) == ("failed", 0) and not Department.objects.exists()
    assert errors(run)[0][:2] == (5, "name") and "nothing was written" in run.result["error"]
    assert bring("departments", "name\nA\nB\n", whole=True, columns=[{"from": "name", "to": "name"}]).created == 2


def test_rows_of_odd_shape_and_odd_bytes_are_told(bring, errors):
    run = bring(
        "departments",
        b"name\nA\nB,too,many\nC\x00D\n" + b"x" * 500 + b"\n=1+1\n",
        columns=[{"from": "name", "to": "name"}],
    )
    told = errors(run)
    assert [(r, c) for r, c, _m in told] == [(3, ""), (4, "name"), (5, "name")] and run.created == 2
    assert "3 cells" in told[0][2] and "can't be stored" in told[1][2]
    assert Department.objects.filter(name="=1+1").exists()


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        ({"columns": [{"from": "nope", "to": "name"}]}, "no column “nope”"),
        ({"columns": [{"from": "name", "to": "password"}]}, "no field “password”"),
        ({"columns": [{"from": "name", "to": "id", "colour": 1}]}, "“colour” means nothing"),
        ({"columns": [{"from": "name", "to": "name"}, {"from": "x", "to": "name"}]}, "Two columns"),
        ({"columns": [{"from": "name", "to": "name", "multiply": "much"}]}, "not a number"),
        ({"columns": [{"from": "name", "to": "name", "date_order": "ydm"}]}, "none of"),
        ({"columns": [{"from": "name", "to": "department", "by": "password"}]}, "can't be found by"),
        ({"columns": [{"from": "name", "to": "department", "where": {"users__password": "x"}}]}, "have no field"),
        ({"columns": [{"from": "name", "to": "language"}], "mode": "upsert"}, "tells records apart"),
        ({"columns": [{"from": "name", "to": "name"}], "constants": {"is_owner": True}}, "no field “is_owner”"),
        ({"columns": [{"from": "name", "to": "name"}], "key": ["email"]}, "no column goes to it"),
        (
            {"columns": [{"from": "name", "to": "name"}], "skip": [{"column": "nope", "empty": True}]},
            "no column “nope”",
        ),
        ({"columns": [{"from": "name", "to": "name"}], "mode": "replace"}, "none of: add"),
        ({"columns": [{"from": "name", "to": "name"}], "version": 2}, "version 2"),
        ({"columns": "all"}, "a list"),
        ({"columns": [{"from": "name", "to": "name"}], "extra": 1}, "“extra”"),
        ({"columns": ["name"]}, "“from” names"),
    ],
)
def test_a_mapping_that_lies_is_refused_with_the_place(tenant, actor, mapping, word):
    with pytest.raises(Refused, match=word):
        runs.start(actor, "users", b"name,x\nA,B\n", "u.csv", mapping=mapping)
    assert not ImportRun.objects.exists()


def test_who_may_not_import_is_refused_with_the_reason(tenant, actor, as_role):
    with pytest.raises(NotAllowed, match="import"):
        runs.start(as_role({"party.party": {"view": "all", "add": "all"}}), "parties", b"name\nA\n", "a.csv")
    with pytest.raises(NotFound):
        runs.start(as_role({}), "parties", b"name\nA\n", "a.csv")
    with pytest.raises(NotFound):
        runs.start(actor, "nonsense", b"name\nA\n", "a.csv")


def test_rights_are_those_of_the_person_while_it_runs(bring, errors, rows, as_role, actor):
    limited = as_role(
        {"party.party": {"view": "all", "add": "own", "change": "own", "import": "all"}, "access.user": {"view": "all"}}
    )
    text = f"name,owner\nMine,{limited.user.email}\nTheirs,owner@example.com\n"
    columns = [{"from": "name", "to": "name"}, {"from": "owner", "to": "owner"}]
    run = bring("parties", text, columns=columns, by=limited)
    assert (run.created, run.failed) == (1, 1) and errors(run)[0][0] == 3
    gate.perform(actor, rows("party.party").model, "add", {"name": "Other"})
    run = bring(
        "parties",
        "name,industry\nOther,food\nMine,food\n",
        columns=[{"from": "name", "to": "name"}, {"from": "industry", "to": "industry"}],
        mode="upsert",
        by=limited,
    )
    assert (run.updated, run.failed) == (1, 1) and "scope" in errors(run)[0][2]
    assert not any(c.to == "bank_accounts.iban" for c in []) and "bank_accounts.iban" not in {
        t.path for t in runs.targets_for(limited, "parties")
    }


def test_an_import_is_its_starters_own(tenant, actor, as_role):
    first, second = (as_role({"access.department": ALL}) for _ in range(2))
    run = runs.start(first, "departments", b"name\nA\n", "a.csv")
    assert list(runs.runs(first)) == [run] and not runs.runs(second).exists() and runs.runs(actor).exists()
    with pytest.raises(NotFound):
        runs.go(second, run)


def test_every_change_names_the_import_as_its_cause(bring):
    run = bring("departments", "name\nA\nB\n")
    changes = Change.objects.filter(model="access.department")
    assert {c.cause for c in changes} == {run.pk} and {c.verb for c in changes} == {"import"}
    assert {c.actor for c in changes} == {f"job:{run.job_id}"}


def test_a_run_without_a_file_can_not_be_made_through_the_gate(tenant, actor):
    with pytest.raises(Refused, match="upload one|can't be set"):
        gate.perform(actor, ImportRun, "add", {"name": "x"})
    run = runs.start(actor, "departments", b"name\nA\n", "a.csv")
    for field in ("file_key", "object", "rows", "state", "owner"):
        with pytest.raises(Refused):
            gate.perform(actor, run, "change", {field: "x"})


def test_what_has_run_can_not_be_changed_or_run_again(bring, actor):
    run = bring("departments", "name\nA\n")
    with pytest.raises(Refused, match="has run"):
        runs.remap(actor, run, mapping={"columns": [{"from": "name", "to": "parent"}]})
    with pytest.raises(Refused):
        runs.go(actor, run)


def test_the_file_can_be_read_in_another_way_and_mapped_anew(tenant, actor, work):
    run = runs.start(actor, "departments", b"Report\nname;x\nA;1\n", "a.csv", options={"header_row": 2})
    assert run.columns == ["name", "x"]
    run = runs.remap(actor, run, options={"delimiter": ";", "header_row": 0})
    assert run.columns == ["A"] or run.columns[0] == "A"
    run = runs.remap(
        actor,
        run,
        options={"header_row": 2},
        mapping={"columns": [{"from": "x", "to": "name"}]},
        mode="add",
        name="Mine",
    )
    run = work(runs.check(actor, run))
    run = runs.remap(actor, run, mapping={"columns": [{"from": "name", "to": "name"}]})
    assert run.state == "draft" and run.name == "Mine"
    assert work(runs.go(actor, run)).created == 1 and Department.objects.get().name == "A"


def test_a_saved_mapping_is_offered_for_the_same_columns(tenant, actor, bring, work):
    run = runs.start(
        actor,
        "departments",
        b"Abteilung,Teil von\nA,\n",
        "a.csv",
        mapping={
            "columns": [{"from": "Abteilung", "to": "name"}, {"from": "Teil von", "to": "parent"}],
            "mode": "upsert",
        },
    )
    runs.save_mapping(actor, run, "German")
    runs.save_mapping(actor, run, "German")
    assert SavedMapping.objects.count() == 1
    again = runs.start(actor, "departments", b"abteilung,Teil von\nB,\n".replace(b"abteilung", b"Abteilung"), "b.csv")
    assert again.mapping["columns"] == run.mapping["columns"] and again.mode == "upsert"


def test_unknown_values_are_listed_with_a_proposal_and_answered_once(tenant, actor, bring, work, rows):
    bring("catalog.category", "name\nGTX Pro\nMG\n")
    run = runs.start(
        actor, "products", b"code,name,kind,group\n1,A,goods,GTXPro\n2,B,Goodz,GTXPro\n3,C,service,MG\n", "p.csv",
        mapping={"columns": [{"from": "code", "to": "code"}, {"from": "name", "to": "name"}, {"from": "kind", "to": "kind"}, {"from": "group", "to": "category"}]},
    )  # fmt: skip
    unknown = {c.name: [(v.text, v.rows, v.proposal) for v in c.values] for c in runs.unknown_values(actor, run)}
    assert unknown == {"group": [("GTXPro", 2, "GTX Pro")], "kind": [("Goodz", 1, "goods")]}
    mapping = run.mapping | {
        "columns": [{**c, "values": {v[0]: v[2] for v in unknown.get(c["from"], ())}} for c in run.mapping["columns"]]
    }
    run = runs.remap(actor, run, mapping=mapping)
    assert runs.unknown_values(actor, run) == [] and work(runs.go(actor, run)).created == 3


def test_the_preview_shows_records_as_they_would_be(tenant, actor, bring):
    run = runs.start(actor, "departments", b"name,part of\nB,A\nA,\n,\xc5\xbb\n", "a.csv")
    shown = runs.preview(actor, run)
    assert [label for _path, label in shown.columns] == ["Name", "Part of"]
    assert [(r.row, r.action, r.values["name"], r.values["parent"]) for r in shown.rows[:2]] == [
        (2, "create", "B", "A"),
        (3, "create", "A", ""),
    ]
    assert shown.rows[2].action == "error" and shown.rows[2].errors[0]["row"] == 4
    assert not Department.objects.exists()


def test_refused_rows_can_be_fetched_corrected_and_brought_again(bring, actor):
    run = bring("departments", "name,note\nA,1\nA,2\nB,3\n", columns=[{"from": "name", "to": "name"}], mode="add")
    text = runs.errors_file(actor, run).decode("utf-8-sig")
    assert text.splitlines() == ["name,note,What is wrong", "A,2,name: There is a department of this name."]
    assert bring("departments", text.replace("A,2", "C,2"), columns=[{"from": "name", "to": "name"}]).created == 1


def test_stopped_imports_go_on_where_they_were(tenant, actor, bring, work, monkeypatch):
    monkeypatch.setattr("ostoja.exchange.jobs.CHUNK", 10)
    run = runs.start(actor, "departments", ("name\n" + "".join(f"d{n}\n" for n in range(100))).encode(), "d.csv")
    run = runs.go(actor, run)
    real = runner.Run.progress

    def stop_soon(self, done, *args, **kwargs):
        if done == 40:
            queue.cancel(self.job)
        return real(self, done, *args, **kwargs)

    monkeypatch.setattr(runner.Run, "progress", stop_soon)
    run = work(run)
    assert (run.state, run.created, Department.objects.count()) == ("stopped", 30, 30)
    monkeypatch.setattr(runner.Run, "progress", real)
    run = work(runs.go(actor, run))
    assert (run.state, run.created, run.failed, Department.objects.count()) == ("done", 100, 0, 100)


def test_looking_relations_up_costs_a_query_for_each_column_not_for_each_row(tenant, actor, bring, stages, work):
    bring("parties", "name\n" + "".join(f"Party {n}\n" for n in range(50)))
    text = "title,party,owner,stage\n" + "".join(f"Deal {n},Party {n % 50},owner@example.com,New\n" for n in range(400))
    run = runs.go(
        actor,
        runs.start(
            actor,
            "deals",
            text.encode(),
            "d.csv",
            mapping={"columns": [{"from": n, "to": n} for n in ("title", "party", "owner", "stage")]},
        ),
    )
    with CaptureQueriesContext(connection) as queries:
        run = work(run)
    assert run.created == 400 and len(queries) <= 60


def test_another_tenants_import_does_not_exist(tenant, other_tenant, actor):
    from ostoja.tenancy.context import tenant_context

    with tenant_context(other_tenant):
        theirs = runs.start(actor, "departments", b"name\nA\n", "a.csv") if User.objects.exists() else None
    assert theirs is None or not runs.runs(actor).filter(pk=theirs.pk).exists()
    run = runs.start(actor, "departments", b"name\nA\n", "a.csv")
    with tenant_context(other_tenant), pytest.raises(NotFound):
        runs.table_of(run)
    assert RowError.objects.count() == 0
