"""Export: what the actor may see and no more, formulas made harmless, and every object reads back as it was written."""

import csv
import io
from datetime import timedelta

import openpyxl
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ostoja import gate
from ostoja.access.actor_of import actor_of
from ostoja.access.models import Department
from ostoja.exchange import export, files, runs
from ostoja.exchange.jobs import forget_old_files
from ostoja.exchange.models import ExportRun
from ostoja.exchange.selecting import selected
from ostoja.exchange.targets import Targets
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_actor, make_user

# A few records of every object that people fill, in the order in which they need each other; the import makes them.
SAMPLES = {
    "access.department": "name,parent\nSales,\nWest,Sales\n",
    "access.user": "name,email,department,is_active\nAnna Łęcka,anna@example.com,West,no\n=HYPERLINK(1),evil@example.com,,no\n",
    "access.role": 'name,code,level,grants,classes\nReader,reader,5,"{""party.party"": {""view"": ""all""}}","[""internal""]"\n',
    "access.userrole": "user,role\nanna@example.com,reader\n",
    "access.savedview": 'name,object,query,shared\nMine,sales.deal,"{""state"": ""open""}",yes\n',
    "catalog.category": "name,parent\nTools,\nHammers,Tools\n",
    "catalog.unit": "code,name,decimals\npcs,piece,0\nkg,kilogram,3\n",
    "catalog.product": 'code,name,list_price,category,unit,weight\n\'=A1,Hammer,12.34567890,Hammers,pcs,1.5\n007,"Multi\nline, ""quoted""",0,,,\n',
    "party.party": "name,industry,annual_revenue,website,employees\n'+Plus GmbH,żelazo,1100040000.00,https://example.com,12\nTwin,a,,,\nTwin,b,,,\n",
    "party.contactpoint": "party,type,value,is_primary\n+Plus GmbH,phone,+48 601 234 567,yes\n",
    "party.address": "party,type,line1,postal_code,city\n+Plus GmbH,seat,ul. Długa 1,00-001,Łódź\n",
    "party.taxid": "party,country,type,value\n+Plus GmbH,PL,nip,5260250995\n",
    "party.bankaccount": "party,iban,currency\n+Plus GmbH,PL61109010140000071219812874,PLN\n",
    "party.consent": "party,state,source\n+Plus GmbH,given,form\n",
    "party.relation": "party,type,other\n+Plus GmbH,partner_of,5260250995\n",
    "sales.pipeline": "name,position\nShop,1\nOther,2\n",
    "sales.stage": "pipeline,name,kind,probability,position\nShop,New,open,10,1\nShop,Won,won,100,2\nShop,Lost,lost,0,3\nOther,New,open,5,1\n",
    "sales.lostreason": "name\nToo dear\n",
    "sales.deal": "number,title,party,stage,state,amount,closed_at,closes_on\nD1,-1+1,+Plus GmbH,Shop / New,open,10.50,,2026-12-31\nD2,Won one,+Plus GmbH,Shop / Won,won,99,2026-01-02T03:04:05Z,\nD3,Nobody's,,Other / New,open,1,,\n",
    "sales.dealline": "deal,product,quantity,price\nD1,Hammer,2.5,4.20\n",
    "planning.activity": 'kind,subject,body,at,party\ncall,Rang,"=1+1\n@home",2026-05-06T07:08:09Z,+Plus GmbH\n',
    "exchange.savedmapping": 'object,name,mapping,columns\naccess.department,M,"{""columns"": [{""from"": ""a"", ""to"": ""name""}]}","[""a""]"\n',
}


@pytest.fixture(scope="module")
def sampled(module_tenant, work):
    """A tenant with the samples, imported."""
    with tenant_context(module_tenant), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)
        owner = actor_of(make_user("Olga Owner", owner=True, email="olga@example.com"))
        for label, text in SAMPLES.items():
            if label == "party.relation":
                text = text.replace("5260250995", str(registry.get("party.party").model.objects.get(industry="a").pk))
            columns = [{"from": n, "to": n} for n in next(csv.reader(io.StringIO(text)))]
            run = runs.start(owner, label, text.encode(), "s.csv", mapping={"columns": columns, "mode": "add"})
            run = work(runs.go(owner, run))
            assert run.created and not run.failed, (label, [e.message for e in runs.errors(run)], run.result)
    return module_tenant, owner


@pytest.fixture
def filled(sampled):
    """The tenant with the samples, open."""
    with tenant_context(sampled[0]):
        yield sampled[0]


@pytest.fixture
def actor(request):
    """The owner of the tenant with the samples, or of a fresh one where a test asks for that."""
    if "filled" in request.fixturenames:
        return request.getfixturevalue("sampled")[1]
    return actor_of(request.getfixturevalue("owner"))


@pytest.fixture
def written(actor, work):
    """``written("deals", "csv")`` -> the bytes of a finished export."""

    def go(label, format="csv", by=None, **query):
        run = work(export.export(by or actor, label, query, format))
        assert run.state == "done", run.job.error
        return export.open_export(by or actor, run.pk)[0].read()

    return go


def test_there_is_a_sample_of_every_object_that_is_found_by_a_key():
    """Whoever declares a natural key means the object to be imported; give it a sample above."""
    meant = {e.label for e in registry.entries() if e.surface.natural_key and not e.label.startswith("ext_")}
    assert meant <= set(SAMPLES)


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_every_object_reads_back_as_it_was_written(filled, written, actor, work, errors, format):
    for label in SAMPLES:
        entry = registry.get(label)
        data = written(entry.label, format)
        run = runs.start(actor, entry.label, data, f"x.{format}")
        mapped = {c["to"] for c in run.mapping["columns"]}
        assert mapped == {t.path for t in Targets(actor, entry) if not t.part}, entry.label
        assert run.mode == "upsert"
        run = work(runs.go(actor, run))
        count = entry.model._default_manager.count()
        assert (run.unchanged, run.updated, run.created, run.failed) == (count, 0, 0, 0), (entry.label, errors(run))


def test_an_export_edited_in_a_spreadsheet_changes_just_that(filled, written, actor, work, rows):
    book = openpyxl.load_workbook(io.BytesIO(written("deals", "xlsx")))
    sheet = book.active
    header = [c.value for c in sheet[1]]
    row = next(r for r in sheet.iter_rows(min_row=2) if r[header.index("Number")].value == "D1")
    row[header.index("Source")].value = "Fair"
    out = io.BytesIO()
    book.save(out)
    run = work(runs.go(actor, runs.start(actor, "deals", out.getvalue(), "deals.xlsx")))
    assert (run.updated, run.unchanged, run.failed) == (1, 2, 0) and rows("sales.deal").get(
        number="D1"
    ).source == "Fair"


def test_no_cell_is_a_formula(filled, written):
    for label in ("users", "products", "parties", "deals", "activities"):
        for line in csv.reader(io.StringIO(written(label).decode("utf-8-sig"))):
            for cell in line:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")) and (
                    not cell.startswith("-") or cell[1:].replace(".", "").isdigit()
                )
        book = openpyxl.load_workbook(io.BytesIO(written(label, "xlsx")))
        assert all(cell.data_type != "f" for row in book.active.iter_rows() for cell in row)
    assert b"'=HYPERLINK(1)" in written("users")


def test_numbers_and_dates_are_typed_in_a_workbook(filled, written):
    sheet = openpyxl.load_workbook(io.BytesIO(written("deals", "xlsx"))).active
    header = [c.value for c in sheet[1]]
    row = next([c.value for c in r] for r in sheet.iter_rows(min_row=2) if r[header.index("Number")].value == "D1")
    assert row[header.index("Amount")] == 10.5 and row[header.index("Expected close")].year == 2026
    assert row[header.index("Customer")] == "+Plus GmbH" and row[header.index("Stage")] == "Shop / New"


def test_an_ambiguous_name_is_written_as_an_id(filled, written, actor, rows):
    twin = rows("party.party").filter(name="Twin").first()
    gate.perform(actor, rows("sales.deal").model, "add", {"title": "T", "party": twin.pk})
    lines = list(csv.DictReader(io.StringIO(written("deals").decode("utf-8-sig"))))
    assert next(line for line in lines if line["Title"] == "T")["Customer"] == str(twin.pk)


def test_hidden_fields_and_foreign_rows_are_absent(filled, written, actor, rows):
    seller = make_actor({"party.party": {"view": "all", "export": "own", "add": "own"}}, classes=["public", "internal"])
    gate.perform(seller, rows("party.party").model, "add", {"name": "Mine"})
    lines = list(csv.reader(io.StringIO(written("parties", by=seller).decode("utf-8-sig"))))
    assert len(lines) == 2 and "Mine" in lines[1] and "Annual revenue" not in lines[0] and "Notes" not in lines[0]
    for query in ({"annual_revenue__gte": 1}, {"sort": "annual_revenue"}, {"nonsense": 1}):
        with pytest.raises(OstojaError, match="is no "):
            export.export(seller, "parties", query)
    with pytest.raises(Refused):
        export.export(seller, "parties", columns=["name", "notes"])
    with pytest.raises(Refused):
        export.export(actor, "users", columns=["password"])
    with pytest.raises(NotAllowed):
        export.export(make_actor({"party.party": {"view": "all"}}), "parties")
    with pytest.raises(NotFound):
        export.export(make_actor({}), "parties")


def test_filters_search_and_sort_are_those_of_the_list(filled, actor):
    entry = registry.get("party.party")
    names = lambda **query: list(selected(actor, entry, query).values_list("name", flat=True))  # noqa: E731
    assert names(industry="a") == ["Twin"] and names(search="plus") == ["+Plus GmbH"]
    assert names(sort="-industry")[0] == "+Plus GmbH" and "+Plus GmbH" not in names(annual_revenue__isnull="true")
    assert names(ids=[str(entry.model.objects.get(industry="b").pk)]) == ["Twin"]


def test_the_file_is_the_requesters_alone_and_for_a_day(tenant, other_tenant, actor, work, as_role):
    gate.perform(actor, Department, "add", {"name": "A"})
    run = work(export.export(actor, "departments"))
    boss = as_role({"*": {"*": "all"}})
    with pytest.raises(NotFound):
        export.open_export(boss, run.pk)
    with tenant_context(other_tenant), pytest.raises(NotFound):
        files.read(run.file_key)
    assert 23 < (run.expires_at - timezone.now()).total_seconds() / 3600 <= 24
    with changing(actor, "change"):
        ExportRun.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    with pytest.raises(NotFound):
        export.open_export(actor, run.pk)
    assert forget_old_files() == 1
    run.refresh_from_db()
    assert run.state == "gone"
    with pytest.raises(NotFound):
        files.read(run.file_key)


def test_secrets_are_in_no_export(filled, written):
    for entry in registry.entries():
        header = next(csv.reader(io.StringIO(written(entry.label).decode("utf-8-sig"))))
        assert not {str(entry.fields[n].verbose_name).lower() for n in entry.model.data.secret} & {
            h.lower() for h in header
        }


def test_the_template_names_every_field(tenant, actor):
    header = next(csv.reader(io.StringIO(runs.template_file(actor, "deals").decode("utf-8-sig"))))
    run = runs.start(actor, "deals", (",".join(header) + "\n" + "x," * (len(header) - 1) + "x\n").encode(), "t.csv")
    assert [c["from"] for c in run.mapping["columns"]] == header


def test_a_large_export_costs_few_queries(tenant, actor, bring):
    bring(
        "departments",
        "name,part of\n" + "Top,\n" + "".join(f"d{n},Top\n" for n in range(3000)),
        columns=[{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}],
    )
    entry = registry.get("access.department")
    with CaptureQueriesContext(connection) as queries:
        out = io.BytesIO()
        assert export.write(out, actor, entry, selected(actor, entry, {}), ("id", "name", "parent"), "csv") == 3001
    assert len(queries) <= 5
