"""Reading makes rows of a CSV or XLSX file, whatever its encoding and separators, and refuses what could hurt or confuse."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import filetype
from charset_normalizer import from_bytes
from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, WorksheetNotFound

from ostoja.kernel.errors import Refused

MAX_COLUMNS = 1_000
MAX_ROWS = 1_000_000
MAX_CELL = 1_000_000  # characters
MAX_UNPACKED = 400 * 1024 * 1024  # bytes of a workbook after unpacking
MAX_ENTRIES = 5_000  # files inside a workbook
MAX_CELLS = 25_000_000  # rows times columns that a sheet spans
SAMPLE = 256 * 1024
DELIMITERS = (",", ";", "\t", "|")
CODE_PAGES = ["cp1250", "iso8859_2", "cp1252", "iso8859_15", "cp1251", "cp1253", "cp1254", "cp852", "mac_latin2"]
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KNOWN_ENCODING = re.compile(  # Python knows more, among them some that take minutes or are none
    r"utf[-_]?(8([-_]sig)?|16|32)([-_]?[lb]e)?|(cp|windows[-_]?)\d{3,4}|(iso[-_]?)?8859[-_]\d{1,2}|latin[-_]?[12]|l[12]|(us[-_]?)?ascii|"
    r"mac[-_](latin2|roman|centeuro|cyrillic|greek|turkish)|koi8[-_][ru]|shift[-_]jis|gb18030|gbk|big5|euc[-_](jp|kr)"
)
FORMULA = re.compile(r"'+[=+\-@\t\r]")
PLACE = re.compile(rb"""\br=["']([A-Z]{1,4})?([0-9]{1,9})["']""")

csv.field_size_limit(MAX_CELL)

Cell = str | Decimal | bool | date | datetime | None


@dataclass
class Table:
    """An opened file: what it was read as, its columns, and its rows.

    ``options`` are complete: ``encoding``, ``delimiter``, ``sheet`` and ``header_row`` as found or as told; ``sheets`` are
    the names of a workbook's sheets; ``warnings`` are sentences about what looks odd.
    """

    format: str
    options: dict
    columns: list[str]
    sheets: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _open: object = None

    def rows(self) -> Iterator[tuple[int, list[Cell]]]:
        """(row number as a spreadsheet shows it, cells) of every row below the header that is not empty.

        A row has a cell for every column; it has more only when values stand beyond the last one. Raises Refused when
        the file breaks a limit further down.
        """
        width = len(self.columns)
        start = self.options["header_row"]
        for number, cells in self._open():
            if number <= start or not any(c not in ("", None) for c in cells):
                continue
            if number > MAX_ROWS:
                raise Refused(
                    _("The file has more than {limit} rows. Split it into several files.").format(
                        limit=number_format(MAX_ROWS, force_grouping=True)
                    ),
                    code="file_rows",
                )
            while len(cells) > width and cells[-1] in ("", None):
                cells.pop()
            yield number, cells + [""] * (width - len(cells))


def open_table(data: bytes, options: dict | None = None) -> Table:
    """Read a file's bytes as a table. ``options`` may tell encoding, delimiter, sheet and header_row (0 for none).

    Raises Refused with the limit or the reason, and the way out.
    """
    options = {k: v for k, v in (options or {}).items() if v not in (None, "")}
    if not data.strip(b"\x00\r\n\t ,;"):
        raise Refused(_("The file is empty. Choose a file with a header and at least one row."), code="file_empty")
    limit = settings.MAX_UPLOAD_BYTES
    if len(data) > limit:
        raise Refused(
            _("The file is larger than {limit} MB. Split it into several files.").format(limit=limit // 2**20),
            code="file_size",
        )
    if data[:4] == b"PK\x03\x04":
        return _workbook(data, options)
    return _text(data, options)


# --- text -------------------------------------------------------------------------------------------------------------


def _text(data: bytes, options: dict) -> Table:
    encoding = options.get("encoding") or _encoding(data)
    text = _decoded(data, encoding)
    delimiter = options.get("delimiter") or _delimiter(text[:SAMPLE])
    if len(delimiter) != 1 or delimiter in '"\r\n\x00 ':
        raise Refused(
            _("The separator is one character, for example a comma or a semicolon."),
            fields={"delimiter": [_("One character.")]},
        )

    def rows():
        for number, cells in _records(text, delimiter):
            yield number, [_restored(c) for c in cells]

    return _table("csv", rows, options | {"encoding": encoding, "delimiter": delimiter})


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every record. A quote that is open at the end is an error: it has swallowed the rows behind it."""
    lines: list[str] = []

    def read():
        for line in io.StringIO(text, newline=""):
            lines.append(line)
            yield line

    number, held, last = 0, None, []
    try:
        for number, cells in enumerate(csv.reader(read(), delimiter=delimiter), 1):
            if held is not None:
                yield held
            held, last = (number, cells), lines.copy()
            lines.clear()
    except csv.Error as error:
        raise _unreadable(number + 1) from error
    if held is not None:
        if _ends_in_quotes(last, delimiter):
            raise _unreadable(number)
        yield held


def _ends_in_quotes(lines: list[str], delimiter: str) -> bool:
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "end of data" in str(error)
    return False


def _unreadable(row: int) -> Refused:
    return Refused(
        _(
            "Row {row} can't be read: a cell is longer than {limit} characters, or a quote is opened and not closed."
        ).format(row=row, limit=number_format(MAX_CELL, force_grouping=True)),
        code="file_cell",
    )


def _restored(text: str) -> str:
    """Text as it was before an export made a formula harmless with an apostrophe."""
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def _encoding(data: bytes) -> str:
    for mark, name in BOMS:
        if data.startswith(mark):
            return name
    sample = data[:SAMPLE]
    nuls = sample.count(0)
    if nuls > len(sample) // 5:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if min(even, odd) * 20 < max(even, odd):
            return "utf-16-be" if even > odd else "utf-16-le"
    _refuse_other_types(data, nuls)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse_broken_utf8(data, error)
    else:
        return "utf-8"
    foreign = b"\n".join(line for line in sample.splitlines() if any(b > 127 for b in line)) or sample
    best = from_bytes(foreign, cp_isolation=CODE_PAGES, threshold=0.5).best()
    return _polish(foreign) or (best.encoding if best is not None else "cp1250")


def _polish(data: bytes) -> str | None:
    """The code page in which all of the foreign bytes are Polish letters, if one is: short texts say too little else."""
    letters = set("ąćęłńóśźżĄĆĘŁŃÓŚŹŻ„”–—…«»°§€ \u00a0")
    for page in ("cp1250", "iso8859_2", "cp852"):
        try:
            found = {c for c in data.decode(page) if ord(c) > 127}
        except UnicodeDecodeError:
            continue
        if found <= letters:
            return page
    return None


def _refuse_other_types(data: bytes, nuls: int) -> None:
    kind = filetype.guess(data)
    if data[:4] == b"\xd0\xcf\x11\xe0":
        raise Refused(
            _(
                "This is a workbook of the old Excel format (.xls) or a protected one. Save it without a password as .xlsx or CSV."
            ),
            code="file_type",
        )
    if kind is not None:
        raise Refused(
            _("This is a file of the type {type}, not a table. Choose a CSV or XLSX file.").format(type=kind.mime),
            code="file_type",
        )
    sample = data[:SAMPLE]
    controls = sum(sample.count(c) for c in range(1, 32) if c not in b"\t\n\x0b\x0c\r\x1b")
    if nuls > len(sample) // 100 + 10 or controls > len(sample) // 50 + 10:
        raise Refused(_("This is no text and no workbook. Choose a CSV or XLSX file."), code="file_type")
    start = data[:1000].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise Refused(
            _("This is a web page or XML, not a table. Open it and save it as XLSX or CSV."), code="file_type"
        )
    if start.startswith((b'{"', b'[{"')):
        raise Refused(_("This is JSON, not a table. Choose a CSV or XLSX file."), code="file_type")


def _refuse_broken_utf8(data: bytes, error: UnicodeDecodeError) -> None:
    """A few bad bytes among many good ones: the file is UTF-8 and broken, no other code page."""
    text = data.decode("utf-8", errors="replace")
    bad = text.count("\ufffd")
    good = sum(1 for c in text if ord(c) > 127) - bad
    if good >= 5 and bad * 5 <= good:
        raise Refused(
            _(
                "Row {row} has bytes that are no text in UTF-8, while the rest is. Repair the file, or tell its encoding."
            ).format(row=data.count(b"\n", 0, error.start) + 1),
            code="file_encoding",
        ) from error


def _decoded(data: bytes, encoding: str) -> str:
    if not KNOWN_ENCODING.fullmatch(encoding.lower()):
        raise Refused(
            _("There is no encoding “{name}”. Try utf-8, cp1250 or iso8859-2.").format(name=encoding[:40]),
            fields={"encoding": [_("There is no such encoding.")]},
        )
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise Refused(
            _("There is no encoding “{name}”. Try utf-8, cp1250 or iso8859-2.").format(name=encoding),
            fields={"encoding": [_("There is no such encoding.")]},
        ) from error
    except UnicodeError as error:
        where = getattr(error, "start", 0)
        raise Refused(
            _("The file can't be read as {name}: row {row} has bytes that mean nothing in it.").format(
                name=encoding, row=data.count(b"\n", 0, where) + 1
            ),
            code="file_encoding",
        ) from error


def _delimiter(sample: str) -> str:
    """The separator that splits the first lines most evenly."""
    lines = sample.splitlines(keepends=True)[:60]
    best, found = (0.0, 0), ","
    for candidate in DELIMITERS:
        try:
            widths = [len(r) for r in csv.reader(lines, delimiter=candidate) if r]
        except csv.Error:
            continue
        if not widths or max(widths) < 2:
            continue
        usual = max(set(widths), key=widths.count)
        score = (widths.count(usual) / len(widths) if usual > 1 else 0, usual)
        if score > best:
            best, found = score, candidate
    return found


# --- workbooks --------------------------------------------------------------------------------------------------------


def _workbook(data: bytes, options: dict) -> Table:
    _unpack_safely(data)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = [s.name for s in book.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
        name = options.get("sheet") or (sheets[0] if sheets else "")
        if name not in sheets:
            raise Refused(
                _("There is no sheet “{name}”. The workbook has: {names}.").format(name=name, names=", ".join(sheets)),
                fields={"sheet": [_("There is no such sheet.")]},
            )
        grid = book.get_sheet_by_name(name)
    except PasswordError as error:
        raise Refused(
            _("The workbook is protected by a password. Save it without one."), code="file_password"
        ) from error
    except (CalamineError, WorksheetNotFound) as error:
        raise Refused(
            _("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged"
        ) from error
    top, left = grid.start or (0, 0)

    def rows():
        before = [""] * left
        for number, cells in enumerate(grid.to_python(skip_empty_area=True), top + 1):
            yield number, before + [_cell(c) for c in cells]

    table = _table("xlsx", rows, options | {"sheet": name})
    table.sheets = sheets
    return table


def _cell(value) -> Cell:
    match value:
        case bool() | str() | datetime() | date():
            return value
        case int():
            return Decimal(value)
        case time() | timedelta():
            return str(value)
        case None:
            return ""
    if not math.isfinite(value):
        return str(value)
    return Decimal(int(value)) if abs(value) < 1e15 and value == int(value) else Decimal(repr(value))


def _unpack_safely(data: bytes) -> None:
    """Unpack every part once, counting: refuse a bomb, a liar and a sheet that spans more than memory holds."""
    too_large = _("The workbook unpacks to more than {limit} MB. Save the sheet as CSV, or split it.").format(
        limit=MAX_UNPACKED // 2**20
    )
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
        raise Refused(
            _("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged"
        ) from error
    names = {e.filename for e in entries}
    if "xl/workbook.xml" not in names:
        raise Refused(_("This is a packed file, but no XLSX workbook. Choose a CSV or XLSX file."), code="file_type")
    if len(entries) > MAX_ENTRIES or sum(e.file_size for e in entries) > MAX_UNPACKED:
        raise Refused(too_large, code="file_bomb")
    total = 0
    for entry in entries:
        if entry.flag_bits & 1:
            raise Refused(_("The workbook is protected by a password. Save it without one."), code="file_password")
        sheet = entry.filename.startswith("xl/worksheets/") and entry.filename.endswith(".xml")
        span, rest, first = [0, 0], b"", True
        for piece in _inflated(data, entry):
            total += len(piece)
            if total > MAX_UNPACKED:
                raise Refused(too_large, code="file_bomb")
            if not sheet:
                continue
            if first and (b"\x00" in piece[:8] or b"<!DOCTYPE" in piece[:2000]):
                raise Refused(
                    _("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged"
                )
            first = False
            _widen(span, rest + piece)
            rest = piece[-32:]
        if span[1] > MAX_COLUMNS:
            raise _too_wide(span[1])
        if span[0] > MAX_ROWS + 1 or span[0] * max(span[1], 1) > MAX_CELLS:
            raise Refused(
                _(
                    "The sheet spans {rows} rows and {columns} columns, which is too much. Delete the empty rows and columns, or save it as CSV."
                ).format(
                    rows=number_format(span[0], force_grouping=True),
                    columns=number_format(span[1], force_grouping=True),
                ),
                code="file_rows",
            )


def _inflated(data: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked bytes of one part in pieces, read past what its header claims."""
    head = data[entry.header_offset : entry.header_offset + 30]
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise Refused(_("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged")
    start = entry.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    packed = memoryview(data)[start : start + entry.compress_size]
    if entry.compress_type == zipfile.ZIP_STORED:
        yield bytes(packed)
        return
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise Refused(_("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged")
    engine = zlib.decompressobj(-15)
    try:
        waiting = bytes(packed)
        while waiting and not engine.eof:
            yield engine.decompress(waiting, 2**20)
            waiting = engine.unconsumed_tail
    except zlib.error as error:
        raise Refused(
            _("The workbook is damaged. Open it in a spreadsheet and save it again."), code="file_damaged"
        ) from error


def _widen(span: list[int], xml: bytes) -> None:
    letters = b""
    for column, row in PLACE.findall(xml):
        if len(column) > len(letters) or (len(column) == len(letters) and column > letters):
            letters = column
        if int(row) > span[0]:
            span[0] = int(row)
    wide = 0
    for letter in letters:
        wide = wide * 26 + letter - 64
    span[1] = max(span[1], wide)


# --- header -----------------------------------------------------------------------------------------------------------


def _too_wide(found: int) -> Refused:
    return Refused(
        _("The file has {found} columns; at most {limit} are read. Delete those that you don't import.").format(
            found=number_format(found, force_grouping=True), limit=number_format(MAX_COLUMNS, force_grouping=True)
        ),
        code="file_columns",
    )


def _table(format: str, rows, options: dict) -> Table:
    warnings: list[str] = []
    told = options.get("header_row")
    wanted = None if told is None else int(told)
    header: list[Cell] | None = None
    number = 0
    for number, cells in rows():
        if wanted == 0 or (wanted is None and any(c not in ("", None) for c in cells)) or number == wanted:
            header = cells
            break
    if header is None:
        raise Refused(
            _("Row {row} was to be the header, but the file ends before it.").format(row=wanted)
            if wanted
            else _("The file is empty. Choose a file with a header and at least one row."),
            code="file_empty",
        )
    while len(header) > 1 and header[-1] in ("", None):
        header = header[:-1]
    if len(header) > MAX_COLUMNS:
        raise _too_wide(len(header))
    options = options | {"header_row": 0 if wanted == 0 else number}
    if wanted == 0:
        names = [column_letter(i) for i in range(len(header))]
    else:
        names = _names(header, warnings)
    return Table(format=format, options=options, columns=names, warnings=warnings, _open=rows)


def _names(header: list[Cell], warnings: list[str]) -> list[str]:
    names: list[str] = []
    texts = [" ".join(str("" if c is None else c).replace("\x00", "").split())[:200] for c in header]
    values = [t for t in texts if re.fullmatch(r"[-+$€]?[\d\s.,/:%-]+|[^@\s]+@[^@\s]+\.\w+", t)]
    if len(values) * 2 >= max(1, len([t for t in texts if t])):
        warnings.append(
            str(
                _(
                    "The first row looks like data, not like names of columns. If there is no header, say so: header row 0."
                )
            )
        )
    for place, text in enumerate(texts):
        name = text or _("Column {letter}").format(letter=column_letter(place))
        again = 2
        while name in names:
            name = f"{text} ({again})"
            again += 1
        if again > 2:
            warnings.append(
                _("Two columns are named “{name}”; the second one is called “{second}” here.").format(
                    name=text, second=name
                )
            )
        names.append(name)
    return names


def column_letter(place: int) -> str:
    """The letters by which a spreadsheet names a column; 0 is A."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
