"""Guessing proposes a mapping from the names of columns and from what stands in them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from django.db import models
from django.utils import translation

from ostoja.kernel.registry import Entry

from .reading import Table
from .targets import Target, Targets
from .values import Unreadable, choice, date_order, decimal_sign, plain

LIKE = 0.86
SAMPLED = 2_000
WORDS = {
    "email": "e mail,mail,email address,adres email,adres e mail,poczta",
    "phone": "telephone,tel,mobile,telefon,komorka,numer telefonu",
    "name": "nazwa,imie i nazwisko,company,company name,account,account name,organisation,organization,firma,nazwa firmy,klient,customer,customer name,product,product name",
    "party": "company,account,customer,client,organisation,organization,firma,klient,kontrahent,account name",
    "product": "item,article,towar,produkt,product name",
    "owner": "sales agent,agent,salesperson,seller,responsible,handlowiec,opiekun,wlasciciel,account manager",
    "number": "no,nr,id number,opportunity id,numer,reference",
    "code": "sku,symbol,kod,product number,item number,indeks",
    "amount": "value,close value,deal value,kwota,wartosc,total",
    "price": "unit price,cena,sales price",
    "list_price": "price,unit price,cena,sales price,list price",
    "quantity": "qty,ilosc,liczba",
    "industry": "sector,branza,sektor",
    "founded": "year established,founded,rok zalozenia",
    "employees": "number of employees,headcount,liczba pracownikow,zatrudnienie",
    "annual_revenue": "revenue,turnover,przychod,obrot",
    "website": "web,www,url,strona,strona www,homepage",
    "stage": "deal stage,etap,phase",
    "closes_on": "expected close,close date,planned close,data zamkniecia",
    "engaged_on": "engage date,start date,data rozpoczecia",
    "closed_at": "close date,closed,closed on,data zamkniecia",
    "parent": "subsidiary of,parent company,spolka matka,nadrzedna",
    "title": "subject,temat,deal name,opportunity,opportunity name",
}


def normal(text: object) -> str:
    """A name of a column or field for comparing: words of plain letters and digits."""
    folded = unicodedata.normalize("NFKD", str(text).casefold().translate(str.maketrans("łøđß", "lods")))
    folded = folded.encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", folded)))


def guess(targets: Targets, table: Table, language: str = "en") -> list[dict]:
    """The proposed ``columns`` of a mapping: at most one column for each field, and none that is far-fetched."""
    names = {t.path: list(_names_of(t)) for t in targets}
    scored = []
    for place, column in enumerate(table.columns):
        header = normal(column)
        if not header:
            continue
        for target in targets:
            score = _score(header, names[target.path]) - (0.02 if target.part else 0)
            if score >= LIKE:
                scored.append((score, -place, target.path, column))
    taken: dict[str, str] = {}
    used: set[str] = set()
    for _ratio, _place, path, column in sorted(scored, reverse=True):
        if path not in used and column not in taken:
            taken[column] = path
            used.add(path)
    samples = _samples(table)
    columns = []
    for place, column in enumerate(table.columns):
        if column in taken:
            columns.append(
                {"from": column, "to": taken[column]} | _manner(targets.get(taken[column]), samples[place], language)
            )
    return columns


def guess_mode(targets: Targets, columns: Iterable[dict]) -> str:
    """``upsert`` when the columns tell records apart for certain, else nothing: names that repeat must not be merged."""
    given = {c["to"] for c in columns}
    natural = set(targets.entry.surface.natural_key)
    return "upsert" if "id" in given or (natural and natural <= given and _is_unique(targets.entry, natural)) else ""


def _is_unique(entry: Entry, names: set[str]) -> bool:
    """Whether the database keeps these fields unique together."""
    for constraint in entry.model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None:
            told = {e.name for x in constraint.expressions for e in x.flatten() if isinstance(e, models.F)}
            if set(constraint.fields) | told == names:
                return True
    return any(entry.fields[n].unique for n in names if len(names) == 1)


def _names_of(target: Target) -> Iterable[tuple[str, float]]:
    """(name, how much it counts) of a target in both languages."""
    field, entry = target.field, target.entry
    yield normal(target.path.replace(".", " ")), 1.0
    if not target.part:
        yield normal(field.name), 1.0
    for language in ("en", "pl"):
        with translation.override(language):
            yield normal(target.label), 1.0
            if not target.part:
                yield normal(field.verbose_name), 1.0
            elif field.name in ("value", "name", "product"):
                yield normal(field.verbose_name), 0.95
    for word in WORDS.get(field.name, "").split(","):
        if word:
            yield word, 0.93
    if not target.part and field.name == entry.surface.title:
        for language in ("en", "pl"):
            with translation.override(language):
                yield normal(entry.model._meta.verbose_name), 0.95


def _score(header: str, names: list[tuple[str, float]]) -> float:
    best = 0.0
    for name, weight in names:
        ratio = 1.0 if header == name else difflib.SequenceMatcher(None, header, name).ratio() * 0.97
        best = max(best, ratio * weight)
    return best


def _samples(table: Table) -> list[list]:
    samples: list[list] = [[] for _c in table.columns]
    for count, (_number, cells) in enumerate(table.rows()):
        if count >= SAMPLED:
            break
        for place, seen in enumerate(samples):
            if cells[place] not in ("", None):
                seen.append(cells[place])
    return samples


def _manner(target: Target, cells: list, language: str) -> dict:
    """How the cells of a column are written, as far as they tell."""
    if target.kind in ("date", "moment"):
        order = date_order(cells)
        if not order and any(isinstance(c, str) and re.match(r"\s*\d{1,2}[\s./-]+\d{1,2}[\s./-]", c) for c in cells):
            order = "mdy" if language == "en" and any("/" in c for c in cells if isinstance(c, str)) else "dmy"
        return {"date_order": order} if order else {}
    if target.kind in ("number", "whole"):
        sign = decimal_sign(cells)
        return {"decimal": sign} if sign else {}
    return {}


def not_a_choice(field: models.Field, text: str) -> str:
    """Why a text is none of a field's choices; "" when it is one."""
    try:
        choice(field, text)
    except Unreadable as error:
        return str(error)
    return ""


def nearest_choice(field: models.Field, text: str) -> str:
    """The choice most like a text; "" when none is."""
    words = {plain(str(label)): value for value, label in field.flatchoices} | {
        plain(str(value)): value for value, _label in field.flatchoices
    }
    close = difflib.get_close_matches(plain(text), list(words), 1, 0.7)
    return str(words[close[0]]) if close else ""
