"""A column is one field of an object as people see it: its label, its kind, and how each record's value is drawn."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from django.db import models
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from ostoja.access.models import User
from ostoja.access.policy import may, visible_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor, current_actor
from ostoja.kernel.fields import MoneyField, ObjectField, PriceField, YearField
from ostoja.kernel.registry import Entry

from . import display, places

LANE_TONES = ("violet", "blue", "amber")
TONES = {
    "danger": "red",
    "success": "green",
    "warning": "amber",
    "info": "blue",
    "neutral": "gray",
    "primary": "violet",
}


def entry_of(model: type) -> Entry | None:
    """The registry's entry of a model, or None when it has no surface."""
    try:
        return registry.of(model)
    except KeyError:
        return None


def title_field(entry: Entry) -> str:
    """The name of the field that names a record."""
    return entry.surface.title or (entry.surface.list[0] if entry.surface.list else "id")


def title_of(record) -> str:
    """What a record is called for whoever is acting; never empty."""
    if is_concealed(record) or not may_name(current_actor(), entry_of(type(record))):
        return _("(not visible)")
    return str(record) or _("(no name)")


def may_name(actor: Actor | None, entry: Entry | None) -> bool:
    """Whether this reader may see the field that names an object's records; nobody reading is the installation itself."""
    if actor is None or entry is None:
        return True
    name = title_field(entry)
    return name not in entry.fields or name in visible_fields(actor, entry)


def is_concealed(record) -> bool:
    """Whether it stands in for a record that its reader may not know of."""
    return getattr(record._state, "concealed", False)


def label_of(entry: Entry) -> str:
    """The object in the plural, as a heading."""
    return str(capfirst(entry.model._meta.verbose_name_plural))


@lru_cache(maxsize=4096)
def kind_of(field: models.Field) -> str:
    """What sort of value a field holds, as far as looks are concerned."""
    if isinstance(field, models.ForeignKey):
        return "person" if field.related_model is User else "relation"
    if field.choices:
        return "choice"
    for kind, classes in _KINDS:
        if isinstance(field, classes):
            return kind
    return "text"


_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("money", (MoneyField, PriceField)),
    ("bool", (models.BooleanField,)),
    ("number", (models.IntegerField, models.DecimalField, models.FloatField)),
    ("moment", (models.DateTimeField,)),
    ("date", (models.DateField,)),
    ("json", (models.JSONField,)),
    ("email", (models.EmailField,)),
    ("url", (models.URLField,)),
    ("long", (models.TextField,)),
)


def tone_of(entry: Entry, value: object) -> str:
    """The tone of a choice's value, as the surface's badges say."""
    tone = entry.surface.badges.get(str(value), "gray")
    return TONES.get(tone, tone)


def tone_of_related(record: models.Model | None, place: int | None = None) -> str:
    """The tone of a stage or another record that is shown as a pill: by its badges, else by its place among its like."""
    if record is None:
        return "gray"
    entry = entry_of(type(record))
    if entry is not None and entry.surface.badges:
        for field in entry.fields.values():
            if field.choices and str(getattr(record, field.attname)) in entry.surface.badges:
                tone = tone_of(entry, getattr(record, field.attname))
                if tone != "blue":  # what is simply going on is told apart by its place
                    return tone
    if place is None:
        place = getattr(record, "order", None) or getattr(record, "position", None) or 0
    return LANE_TONES[int(place) % len(LANE_TONES)]


@dataclass(frozen=True, eq=False)
class Column:
    """One field of an object for one reader."""

    entry: Entry
    name: str
    field: models.Field
    kind: str
    label: str
    lead: bool = False
    pill: bool = False
    linked: bool = False  # the related record may be opened
    css: str = ""
    sort_url: str = ""
    sorted: str = ""

    @property
    def sort_path(self) -> str:
        """The path by which this column sorts; relations sort by what names them."""
        if self.kind not in ("person", "relation"):
            return self.name
        related = entry_of(self.field.related_model)
        return f"{self.name}__{title_field(related)}" if related else self.field.attname

    @property
    def sortable(self) -> bool:
        """Whether sorting by it makes sense."""
        return self.kind not in ("json", "long")

    def html(self, record: models.Model) -> SafeString:
        """The value of a record, drawn."""
        return DRAW[self.kind](self, record)


def _plain(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname) or ""
    if isinstance(column.field, ObjectField) and (entry := registry.get(value)) is not None:
        return conditional_escape(label_of(entry))
    return conditional_escape(value)


def _long(column: Column, record) -> SafeString:
    return conditional_escape(Truncator(getattr(record, column.field.attname) or "").chars(120))


def _money(column: Column, record) -> SafeString:
    return conditional_escape(display.money(getattr(record, column.field.attname), currency_of(record)))


def _number(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname)
    if isinstance(column.field, YearField):
        return conditional_escape("" if value is None else value)
    return conditional_escape(display.number(value))


def _date(column: Column, record) -> SafeString:
    value: dt.date | None = getattr(record, column.field.attname)
    if value is None:
        return SafeString("")
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), display.date(value))


def _moment(column: Column, record) -> SafeString:
    return display.ago(getattr(record, column.field.attname))


def _bool(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname)
    return conditional_escape("" if value is None else _("Yes") if value else _("No"))


def _choice(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname)
    if value in (None, ""):
        return SafeString("")
    label = getattr(record, f"get_{column.field.name}_display")()
    if str(value) in column.entry.surface.badges:
        return display.pill(label, tone_of(column.entry, value))
    return conditional_escape(label)


def _person(column: Column, record) -> SafeString:
    key = getattr(record, column.field.attname)
    return SafeString("") if key is None else display.person(getattr(record, column.field.name), key)


def _relation(column: Column, record) -> SafeString:
    key = getattr(record, column.field.attname)
    if key is None:
        return SafeString("")
    other = getattr(record, column.field.name)
    if column.pill:
        return display.pill(title_of(other), tone_of_related(other))
    if not column.linked or is_concealed(other):
        return conditional_escape(title_of(other))
    return format_html(
        '<a class="hover:underline" href="{}">{}</a>', places.record_of(registry.of(type(other)), key), title_of(other)
    )


def _json(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname)
    if isinstance(value, list):
        return conditional_escape(", ".join(str(v) for v in value))
    return conditional_escape(Truncator(str(value or "")).chars(80))


def _email(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname)
    return format_html('<a class="hover:underline" href="mailto:{}">{}</a>', value, value) if value else SafeString("")


def _url(column: Column, record) -> SafeString:
    value = getattr(record, column.field.attname) or ""
    if not value.startswith(("http://", "https://")):
        return conditional_escape(value)
    shown = value.split("://", 1)[1].rstrip("/")
    return format_html('<a class="link" href="{}" rel="noopener noreferrer" target="_blank">{}</a>', value, shown)


DRAW: dict[str, Callable[[Column, models.Model], SafeString]] = {
    "text": _plain,
    "long": _long,
    "money": _money,
    "number": _number,
    "date": _date,
    "moment": _moment,
    "bool": _bool,
    "choice": _choice,
    "person": _person,
    "relation": _relation,
    "json": _json,
    "email": _email,
    "url": _url,
}


def currency_of(record) -> str:
    """The currency of a record's amounts, where it says one."""
    return getattr(record, "currency", "") or ""


def may_see(actor: Actor, entry: Entry, name: str) -> bool:
    """Whether a field may be shown: its class may be seen, and for a relation also what it points to."""
    if name not in visible_fields(actor, entry):
        return False
    field = entry.fields[name]
    if not isinstance(field, models.ForeignKey) or field.related_model is User:
        return True
    related = entry_of(field.related_model)
    if related is None:
        return True
    return may(actor, related, "view") and title_field(related) in visible_fields(actor, related)


def column(actor: Actor, entry: Entry, name: str) -> Column | None:
    """The column of a field, or None when the actor may not see it or there is no such field."""
    field = entry.fields.get(name)
    if field is None or not may_see(actor, entry, name):
        return None
    kind = kind_of(field)
    related = entry_of(field.related_model) if kind == "relation" else None
    board = entry.surface.board
    return Column(
        entry=entry,
        name=name,
        field=field,
        kind=kind,
        label=str(capfirst(field.verbose_name)),
        pill=kind == "relation" and board is not None and board.field == name,
        linked=related is not None and may(actor, related, "view"),
    )


def columns(actor: Actor, entry: Entry, names: Iterable[str] | None = None) -> list[Column]:
    """The columns of a list that the actor may see, each with its place on a phone's card."""
    chosen = [c for c in (column(actor, entry, n) for n in (entry.surface.list if names is None else names)) if c]
    return _placed(entry, chosen)


def _placed(entry: Entry, chosen: list[Column]) -> list[Column]:
    """Who leads, who stands at the side, and who may hide when there is less room."""
    wanted = title_field(entry)
    lead = next((c for c in chosen if c.name == wanted), next(iter(chosen), None))
    rest = [c for c in chosen if c is not lead]
    side = next((c for c in rest if c.kind == "money"), None)
    mark = next((c for c in rest if c.pill or (c.kind == "choice" and entry.surface.badges)), None)
    lines = [c for c in rest if c not in (side, mark) and c.kind not in ("json",)]
    placed = []
    for one in chosen:
        css = ["n"] if one.kind in ("money", "number") and one is not lead else []
        if one is lead:
            css.append("lead-cell")
        elif one is side:
            css.append("c-side")
        elif one is mark:
            css.append("c-mark")
        else:
            where = lines.index(one) if one in lines else 9
            css += ["q"] if one.kind not in ("person", "money", "number") else []
            css += [("c-line", "c-line2")[where] if where < 2 else "c-hide", "p2" if where < 2 else "p3"]
        placed.append(replace(one, lead=one is lead, css=" ".join(css)))
    return placed


def row_of(columns: list[Column], record: models.Model, url: str, kept: Mapping[str, str] | None = None) -> SafeString:
    """The cells of one record; ``kept`` is what stands for values that are kept elsewhere."""
    cells = []
    for one in columns:
        if one.lead:
            mark = (
                display.avatar if one.entry.model is User or getattr(record, "kind", "") == "person" else display.logo
            )
            cells.append(
                format_html(
                    '<td class="{}"><a class="lead" href="{}">{}<span>{}</span></a></td>',
                    one.css,
                    url,
                    mark(title_of(record), key=record.pk),
                    _lead_text(one, record),
                )
            )
        else:
            cells.append(
                f'<td class="{one.css}">{kept[one.name] if kept and one.name in kept else one.html(record)}</td>'
            )
    return display.safe_join("", cells)


def _lead_text(one: Column, record) -> SafeString:
    if one.kind in ("person", "relation"):
        other = getattr(record, one.field.name)
        return conditional_escape(title_of(record if other is None else other))
    drawn = DRAW[one.kind](one, record) if one.kind in ("text", "number", "date", "choice", "money") else ""
    return drawn or conditional_escape(title_of(record))


def joined(columns: Iterable[Column]) -> tuple[str, ...]:
    """The relations that a query must bring along so that no row asks again."""
    return tuple(c.field.name for c in columns if c.kind in ("person", "relation"))
