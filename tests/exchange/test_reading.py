"""Reading: real and hostile files become rows, or one clear sentence with the limit and the way out."""

import io
import zipfile
from datetime import date, datetime
from decimal import Decimal

import pytest
import xlsxwriter

from ostoja.exchange import reading
from ostoja.exchange.reading import open_table
from ostoja.kernel.errors import Refused

POLISH = "nazwa;miasto\nŻółta Gęś;Łódź\nŚwięty Źrebak;Ćmińsk\n"


def rows_of(data: bytes, **options):
    return [cells for _number, cells in open_table(data, options).rows()]


def book(fill, **options) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, **options}) as made:
        fill(made)
    return out.getvalue()


def refused(data: bytes, **options) -> str:
    with pytest.raises(Refused) as told:
        table = open_table(data, options)
        for _row in table.rows():
            pass
    assert told.value.code.startswith("file_") or told.value.fields
    return told.value.message


@pytest.mark.parametrize(
    ("encoding", "read_as"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1250", "cp1250"),
        ("iso8859-2", "iso8859_2"),
    ],
)
def test_encodings_are_found(encoding, read_as):
    table = open_table(POLISH.encode(encoding))
    assert (table.options["encoding"], table.options["delimiter"]) == (read_as, ";")
    assert [c for _n, c in table.rows()] == [["Żółta Gęś", "Łódź"], ["Święty Źrebak", "Ćmińsk"]]


def test_western_code_page_is_found():
    text = "name;city\nSociété Générale;Orléans\nMüller Söhne;Düsseldorf\nPeña;Málaga\nFrançois;Besançon\n"
    assert rows_of(text.encode("cp1252"))[1] == ["Müller Söhne", "Düsseldorf"]


def test_an_encoding_can_be_told_and_a_wrong_one_is_advice():
    assert rows_of(POLISH.encode("cp852"), encoding="cp852")[0] == ["Żółta Gęś", "Łódź"]
    assert "no encoding “klingon”" in refused(b"a,b\n1,2\n", encoding="klingon")
    assert "row 2" in refused(POLISH.encode("cp1250"), encoding="utf-8")


def test_a_few_broken_bytes_in_utf8_are_told_by_row():
    data = ("name\n" + "Żółta Gęś\n" * 20).encode() + b"Bro\xffken\n"
    assert "Row 22" in refused(data)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_separators_are_found(sign):
    text = sign.join(["name", "amount", "note"]) + "\n" + sign.join(["A", "1", '"x, y; z"']) + "\n"
    assert rows_of(text.encode()) == [["A", "1", "x, y; z"]]


def test_quotes_line_breaks_and_blank_lines():
    table = open_table(b'\r\n"name","note"\r\n"A ""B""","two\r\nlines"\r\n\r\n,\r\nC,\r\n')
    assert list(table.rows()) == [(3, ['A "B"', "two\r\nlines"]), (6, ["C", ""])]
    assert table.options["header_row"] == 2


def test_the_header_may_stand_lower_or_be_missing():
    data = b"Report of March\n\nname,city\nA,B\n"
    assert rows_of(data, header_row=3) == [["A", "B"]]
    table = open_table(b"A,B\nC,D\n", {"header_row": 0})
    assert table.columns == ["A", "B"] and [n for n, _c in table.rows()] == [1, 2]
    assert "before it" in refused(data, header_row=99)


def test_duplicate_and_blank_headers_get_names_and_a_missing_one_a_warning():
    table = open_table(b"name,,name,name\n1,2,3,4\n")
    assert table.columns == ["name", "Column B", "name (2)", "name (3)"] and len(table.warnings) == 2
    assert "looks like data" in open_table(b"12,2026-01-01,a@example.com\n13,2026-01-02,b@example.com\n").warnings[0]


def test_short_rows_are_filled_and_long_ones_are_left_to_be_told():
    assert rows_of(b"a,b,c\n1\n1,2,3,,\n1,2,3,4\n") == [["1", "", ""], ["1", "2", "3"], ["1", "2", "3", "4"]]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00\x00", b",,,\n", b"\xef\xbb\xbf"])
def test_nothing_is_refused(data):
    assert "empty" in refused(data)


def test_ten_thousand_columns_are_refused_by_number():
    data = b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + b",".join([b"1"] * 10_000) + b"\n"
    message = refused(data)
    assert "10,000 columns" in message and "1,000" in message


def test_a_cell_of_a_million_characters_and_an_open_quote():
    assert "Row 2" in refused(b"name,note\nA," + b"x" * 1_000_001 + b"\n")
    assert "not closed" in refused(b'name,note\nA,"' + b"x\n" * 600_000)
    assert len(rows_of(b"name,note\nA," + b"x" * 999_999 + b"\n")[0][1]) == 999_999


@pytest.mark.parametrize(
    "data", [b'name,note\nA,"x\nB,y\n', b'name,note\nZ,z\nA,"x', b'name,note\nZ,z\nA,"x""\nB,y\nC,z']
)
def test_a_quote_that_swallows_the_rest_is_told_by_its_row(data):
    row = 3 if b"Z" in data else 2
    assert f"Row {row} " in refused(data) and "not closed" in refused(data)


def test_quotes_that_are_odd_but_closed_are_read():
    assert rows_of(b'name,note\n"A" Ltd,5" pipe\nB,"x"') == [["A Ltd", '5" pipe'], ["B", "x"]]


def test_too_many_bytes_and_rows(settings_limit, monkeypatch):
    settings_limit(1000)
    assert "larger than" in refused(b"a\n" + b"1\n" * 1000)
    settings_limit(10**8)
    monkeypatch.setattr(reading, "MAX_ROWS", 10)
    assert "more than 10 rows" in refused(b"a\n" + b"1\n" * 20)


@pytest.fixture
def settings_limit():
    from django.test import override_settings

    active = []

    def limit(size):
        override = override_settings(MAX_UPLOAD_BYTES=size)
        override.enable()
        active.append(override)

    yield limit
    for override in reversed(active):
        override.disable()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "image/png"),
        (b"%PDF-1.7\n%abc\n1 0 obj", "application/pdf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "old Excel"),
        (b"<!DOCTYPE html><table><tr><td>1</td></tr></table>", "web page"),
        (b'{"name": "A"}', "JSON"),
        (bytes(range(256)) * 40, "no text"),
    ],
    ids=["png", "pdf", "xls", "html", "json", "noise"],
)
def test_another_type_is_told_by_content_whatever_its_name(data, word):
    assert word in refused(data)


def test_nul_bytes_in_text_are_left_to_the_row():
    assert rows_of(b"name\nA\x00B\nC\n") == [["A\x00B"], ["C"]]


def test_a_workbook_gives_typed_cells_values_of_formulas_and_its_sheets():
    def fill(made):
        first, second = made.add_worksheet("Deals"), made.add_worksheet("Other")
        day = made.add_format({"num_format": "yyyy-mm-dd"})
        first.write_row(0, 0, ["name", "amount", "day", "yes", "sum", "whole"])
        first.write_string(1, 0, "=1+1")
        first.write_number(1, 1, 1234.5)
        first.write_datetime(1, 2, datetime(2026, 3, 31), day)  # noqa: DTZ001 - a spreadsheet has no zones
        first.write_boolean(1, 3, True)
        first.write_formula(1, 4, "=2+3", value=5)
        first.write_number(1, 5, 7)
        second.write_row(0, 0, ["x"])
        second.write_row(1, 0, ["y"])

    table = open_table(book(fill))
    assert (table.format, table.sheets, table.options["sheet"]) == ("xlsx", ["Deals", "Other"], "Deals")
    number, cells = next(table.rows())
    assert number == 2 and cells[0] == "=1+1" and cells[1] == Decimal("1234.5") and cells[3] is True
    assert cells[2] in (date(2026, 3, 31), datetime(2026, 3, 31)) and cells[4] == 5 and cells[5] == 7  # noqa: DTZ001
    assert rows_of(book(fill), sheet="Other") == [["y"]]
    assert "Deals, Other" in refused(book(fill), sheet="Third")


def test_a_sheet_that_begins_lower_and_further_right():
    def fill(made):
        sheet = made.add_worksheet()
        sheet.write_row(3, 2, ["name", "city"])
        sheet.write_row(4, 2, ["A", "B"])

    table = open_table(book(fill))
    assert table.columns[2:] == ["name", "city"]
    assert list(table.rows()) == [(5, ["", "", "A", "B"])]


def test_a_zip_bomb_is_refused_before_it_unpacks(monkeypatch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("xl/workbook.xml", "<workbook/>")
        made.writestr("xl/worksheets/sheet1.xml", b"0" * (reading.MAX_UNPACKED + 1))
    assert "unpacks to more" in refused(out.getvalue())


def test_a_bomb_that_lies_about_its_size_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "MAX_UNPACKED", 5_000_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("xl/workbook.xml", "<workbook/>")
        made.writestr("xl/worksheets/sheet1.xml", b"0" * 20_000_000)
    honest = out.getvalue()
    lying = honest.replace((20_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    assert lying != honest and "unpacks to more" in refused(lying)


def test_a_sheet_with_one_cell_at_the_far_corner_is_refused():
    def fill(made):
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, ["name"])
        sheet.write(1_048_575, 999, "far")

    message = refused(book(fill))
    assert "1,048,576 rows" in message and "1,000 columns" in message

    def wide(made):
        sheet = made.add_worksheet()
        for place in range(10_000):
            sheet.write_string(0, place, f"c{place}")

    assert "10,000 columns" in refused(book(wide))


def test_damaged_workbooks_and_other_archives():
    good = book(lambda made: made.add_worksheet().write_row(0, 0, ["a"]))
    assert "damaged" in refused(good[: len(good) // 2])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("photo.txt", "hello")
    assert "no XLSX workbook" in refused(out.getvalue())


def test_what_an_export_made_harmless_reads_as_it_was():
    assert rows_of(b"name,note\n'=1+1,''=x\n'+48 1,'plain\n") == [["=1+1", "'=x"], ["+48 1", "'plain"]]
