"""Whatever a file says: a value or a sentence, never a crash."""

import io
from datetime import timedelta

import pytest
import xlsxwriter
from django.db import models
from hypothesis import given, settings
from hypothesis import strategies as st

from ostoja.exchange import files, reading, runs, values
from ostoja.exchange.jobs import forget_old_uploads
from ostoja.exchange.models import ImportRun
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.fields import MoneyField

FIELDS = [
    models.CharField(max_length=20), models.IntegerField(), MoneyField(), models.DateField(), models.DateTimeField(),
    models.BooleanField(), models.JSONField(default=list), models.CharField(max_length=2, choices=[("a", "A")]),
]  # fmt: skip
ODD = st.one_of(
    st.text(max_size=40),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(),
    st.dates(),
    st.booleans(),
    st.from_regex(r"[-+(]?[\d., ]{1,12}(e\d{1,4})?[)%]?", fullmatch=True),
    st.from_regex(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}( \d\d:\d\d(:\d\d)?)?", fullmatch=True),
    st.sampled_from(["9" * 5000, "1e999999999", "0001-01-01 00:00", "9999-12-31 23:59:59", "\x00", "\ud800"]),
)


@given(
    cell=ODD, field=st.sampled_from(FIELDS), order=st.sampled_from(["", *values.ORDERS]), sign=st.sampled_from(["", ".", ","]),
    multiply=st.sampled_from(["", "1000000", "0.001"]),
)  # fmt: skip
@settings(max_examples=800, deadline=None)
def test_every_cell_gives_a_value_or_a_sentence(cell, field, order, sign, multiply):
    try:
        values.read(
            field, cell, {"date_order": order, "decimal": sign, "multiply": multiply, "timezone": "Europe/Warsaw"}
        )
    except values.Unreadable as advice:
        assert str(advice)
    assert isinstance(values.shown(cell), str) and isinstance(values.plain(cell), str)


@given(st.binary(max_size=400))
@settings(max_examples=500, deadline=None)
def test_every_file_gives_rows_or_a_sentence(data):
    try:
        assert all(isinstance(cells, list) for _n, cells in reading.open_table(data).rows())
    except Refused as advice:
        assert advice.message


@given(st.binary(min_size=1, max_size=60), st.integers(0, 4000))
@settings(max_examples=200, deadline=None)
def test_every_damaged_workbook_gives_rows_or_a_sentence(noise, place):
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as made:
        sheet = made.add_worksheet()
        for row in range(5):
            sheet.write_row(row, 0, ["name", row, "x" * 20])
    data = bytearray(out.getvalue())
    place %= len(data) - len(noise)
    data[place : place + len(noise)] = noise
    try:
        list(reading.open_table(bytes(data)).rows())
    except Refused as advice:
        assert advice.message


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "punycode"}, {"encoding": "unicode_escape"}, {"encoding": "zlib_codec"}, {"encoding": "x" * 5000}, {"delimiter": '"'},
        {"delimiter": "\n"}, {"delimiter": ";;"}, {"timezone": "../../etc/passwd"}, {"timezone": "Mars/Base"}, {"date_order": "ydm"},
        {"decimal": "x"}, {"header_row": "-1"}, {"header_row": "1e9"}, {"colour": "red"}, {"sheet": ["a"], "nope": 1},
    ],
)  # fmt: skip
def test_options_that_lie_are_refused(tenant, actor, options):
    with pytest.raises(Refused) as told:
        runs.start(actor, "departments", b"name\nA\n", "a.csv", options=options)
    assert told.value.fields and not ImportRun.objects.exists()


def test_extreme_numbers_are_told_by_row(bring, errors):
    lines = ["1e400", "9" * 400, "123456789012345678901234567890", "99999999999999999999", "1.123456789123456789"]
    text = "code,name,price\n" + "".join(f"{n},N,{v}\n" for n, v in enumerate(lines)) + "x,X,5\n"
    columns = [{"from": "code", "to": "code"}, {"from": "name", "to": "name"}, {"from": "price", "to": "list_price"}]
    run = bring("products", text, columns=columns, mode="upsert")
    assert (run.created, run.failed) == (1, 5) and {c for _r, c, _m in errors(run)} == {"price"}
    again = bring("products", text, columns=columns, mode="upsert")
    assert (again.unchanged, again.failed) == (1, 5)


def test_relations_are_not_found_by_what_one_may_not_see_or_can_not_compare(tenant, actor, as_role):
    everything = {"view": "all", "add": "all", "change": "all", "import": "all"}
    seller = as_role({"sales.deal": everything, "party.party": everything}, classes=["internal"])
    for by in ("annual_revenue", "notes", "created_at", "is_customer", "id__in", "owner__password"):
        with pytest.raises(Refused, match="can't be found by"):
            runs.start(
                seller, "deals", b"a\nb\n", "d.csv", mapping={"columns": [{"from": "a", "to": "party", "by": by}]}
            )
    for where in ("notes", "bank_accounts__iban", "owner__password", "pk", "name__contains"):
        with pytest.raises(Refused, match="have no field"):
            runs.start(
                seller,
                "deals",
                b"a\nb\n",
                "d.csv",
                mapping={"columns": [{"from": "a", "to": "party", "where": {where: "x"}}]},
            )


def test_the_file_of_an_old_import_is_forgotten_and_the_run_stays(bring, actor, monkeypatch):
    done = bring("departments", "name\nA\n")
    draft = runs.start(actor, "departments", b"name\nB\n", "b.csv")
    assert forget_old_uploads() == 0 and files.read(done.file_key)
    monkeypatch.setattr("ostoja.exchange.jobs.UPLOADS_KEPT", timedelta(0))
    assert forget_old_uploads() == 2 and forget_old_uploads() == 0
    for run in (done, draft):
        with pytest.raises(NotFound, match="not kept"):
            files.read(run.file_key)
    assert ImportRun.objects.count() == 2
    with pytest.raises(NotFound):
        files.read("t_other/exchange/x.csv")
