"""Boards and calendars: the same records in lanes by stage or state, or on the days of a month."""

from __future__ import annotations

import calendar as months
import datetime as dt
from collections import defaultdict
from dataclasses import dataclass

from babel.dates import format_date
from django.db import models
from django.db.models import Count, F, Q, Sum, Window
from django.db.models.functions import RowNumber, TruncDate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja import gate
from ostoja.access.policy import explain, find, may, visible, writable_fields
from ostoja.gate import related as may_point_to
from ostoja.kernel.errors import NotFound
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import Verb
from ostoja.kernel.registry import Entry

from .. import display, forms, held, places, plain
from ..columns import (
    column,
    currency_of,
    entry_of,
    kind_of,
    may_see,
    title_field,
    title_of,
    tone_of,
    tone_of_related,
)
from ..concealing import concealed
from ..inside import of_object
from ..reading import Listing
from .lists import about, changed_query, chips

CARDS_IN_LANE = 25
EVENTS_IN_DAY = 3


@dataclass
class Lane:
    """One column of a board: a choice, or a related record."""

    key: str
    label: str
    tone: str
    value: object


def lanes_of(actor, entry: Entry, within: dict | None = None) -> list[Lane]:
    """The lanes: the choices of the field, or the related records that may be seen. At most one query."""
    field = entry.fields[entry.surface.board.field]
    if not isinstance(field, models.ForeignKey):
        return [Lane(str(v), str(label), tone_of(entry, v), v) for v, label in field.flatchoices if v not in (None, "")]
    related = entry_of(field.related_model)
    rows = visible(actor, field.related_model) if related else field.related_model._default_manager.all()
    if within:
        rows = rows.filter(**within)
    order = [*(related.surface.sort if related else ()), "pk"]
    return [Lane(str(r.pk), title_of(r), tone_of_related(r, i), r) for i, r in enumerate(rows.order_by(*order)[:30])]


def chooser_of(entry: Entry) -> models.ForeignKey | None:
    """What the lanes depend on, e.g. the pipeline of stages: a relation that the record and its lane both have."""
    field = entry.fields[entry.surface.board.field]
    if not isinstance(field, models.ForeignKey):
        return None
    for other in field.related_model._meta.concrete_fields:
        mine = entry.fields.get(other.name)
        if (
            isinstance(other, models.ForeignKey)
            and isinstance(mine, models.ForeignKey)
            and mine.related_model is other.related_model
        ):
            return mine
    return None


def _chosen(request: HttpRequest, chooser: models.ForeignKey) -> tuple[list, models.Model | None]:
    related = entry_of(chooser.related_model)
    rows = visible(request.actor, chooser.related_model) if related else chooser.related_model._default_manager.all()
    found = list(rows.order_by(*(related.surface.sort if related else ()), "pk")[:50])
    wanted = parse_uuid(request.GET.get(chooser.name, ""))
    return found, next((r for r in found if r.pk == wanted), found[0] if found else None)


@require_GET
@of_object
def board(request: HttpRequest, entry: Entry) -> HttpResponse:
    """The board."""
    declared = entry.surface.board
    if declared is None or not may_see(request.actor, entry, declared.field):
        raise NotFound(_("There is no board here."))
    request.place = places.list_of(entry)
    chooser, choice, options, within, only = chooser_of(entry), None, [], None, Q()
    moved, strange = plain.elsewhere(request, entry, own=[chooser.name] if chooser is not None else [])
    if moved:
        return HttpResponseRedirect(moved)
    listing = Listing(request.actor, entry, request.GET, extra=declared.within)
    if chooser is not None:
        options, choice = _chosen(request, chooser)
        within = {chooser.name: choice}
        only = Q(**{chooser.name: choice})
    lanes = lanes_of(request.actor, entry, within)
    rows = listing.rows().filter(only)
    sums = _sums(request.actor, entry, rows)
    facts = _Facts(request.actor, entry)
    movable = may(request.actor, entry, "change")
    laid, shown = [], []
    for lane in lanes:
        count, total = sums.get(lane.key, (0, ""))
        cards = rows.filter(**{declared.field: lane.value}).select_related(*facts.joined).order_by(*_order(entry))
        laid.append((lane, count, total, list(cards[:CARDS_IN_LANE]) if count else []))
    concealed(request.actor, [card for _lane, _count, _total, cards in laid for card in cards])
    for lane, count, total, cards in laid:
        shown.append(
            {
                "key": lane.key,
                "id": lane.key,
                "label": lane.label,
                "tone": lane.tone,
                "count": display.number(count),
                "total": total,
                "cards": [facts.card(r, lane.key, movable) for r in cards],
                "more_url": places.list_of(entry, {f"f.{declared.field}": lane.key}) if count > CARDS_IN_LANE else "",
                "add_url": _add_url(request.actor, entry, lane, chooser, choice),
            }
        )
    count = sum(n for n, _total in sums.values())
    return render(
        request,
        "ostoja/records/board.html",
        {
            "object": about(request.actor, entry, "board"),
            "lanes": shown,
            "total": ngettext("{n} {thing}", "{n} {things}", count).format(
                n=display.number(count), thing=entry.thing, things=entry.things
            ),
            "chooser": {
                "label": capfirst(chooser.verbose_name),
                "param": chooser.name,
                "options": [(str(r.pk), title_of(r), r is choice) for r in options],
            }
            if chooser is not None and len(options) > 1
            else None,
            "chips": chips(request, listing),
            "strange": strange,
            "empty_heading": _("No lanes yet"),
            "empty_words": _("Somebody who looks after the settings can add the stages that make up this board."),
        },
    )


def _order(entry: Entry) -> tuple[str, ...]:
    return tuple(entry.surface.sort) or ("-pk",)


def _sums(actor, entry: Entry, rows) -> dict[str, tuple[int, str]]:
    """Count and total of each lane. One query."""
    declared = entry.surface.board
    attname = entry.fields[declared.field].attname
    by = [attname]
    measures = {"n": Count("pk")}
    if declared.total and may_see(actor, entry, declared.total):
        measures["total"] = Sum(declared.total)
        if "currency" in entry.fields:
            by.append("currency")
    lanes: dict[str, tuple[int, list[str]]] = defaultdict(lambda: (0, []))
    for row in rows.order_by().values(*by).annotate(**measures).order_by(*by):
        count, totals = lanes[str(row[attname])]
        if row.get("total"):
            totals = [*totals, display.money(row["total"], row.get("currency", ""))]
        lanes[str(row[attname])] = (count + row["n"], totals)
    return {key: (count, " + ".join(totals)) for key, (count, totals) in lanes.items()}


class _Facts:
    """What stands on a board's card: the relation above, the title, the total, a date and the owner below."""

    def __init__(self, actor, entry: Entry):
        self.entry = entry
        names = entry.surface.board.card or tuple(entry.surface.list)
        shown = [c for c in (column(actor, entry, n) for n in names if n != entry.surface.board.field) if c]
        total = entry.surface.board.total
        title = title_field(entry)
        self.over = next((c for c in shown if c.kind == "relation" and not c.pill), None)
        self.owner = next((c for c in shown if c.kind == "person"), None)
        self.value = column(actor, entry, total) if total else next((c for c in shown if c.kind == "money"), None)
        self.facts = [c for c in shown if c.kind in ("date", "moment", "choice") and c.name != title][:2]
        self.joined = tuple(c.field.name for c in (self.over, self.owner) if c)

    def card(self, record, lane: str, movable: bool) -> dict:
        over = getattr(record, self.over.name) if self.over else None
        owner = getattr(record, self.owner.name) if self.owner else None
        facts = []
        for one in self.facts:
            value = getattr(record, one.field.attname)
            if value not in (None, ""):
                icon = "calendar-days" if one.kind in ("date", "moment") else "tag"
                facts.append((icon, one.html(record)))
        value = getattr(record, self.value.name) if self.value else None
        return {
            "id": record.pk,
            "lane": lane,
            "version": record.version,
            "movable": movable,
            "title": title_of(record),
            "url": places.record_of(self.entry, record.pk),
            "move_url": places.record_of(self.entry, record.pk, "move"),
            "over": title_of(over) if over else "",
            "value": display.money(value, currency_of(record)) if value is not None else "",
            "facts": facts,
            "owner": str(owner) if owner else "",
            "owner_key": str(owner.pk) if owner else "",
        }


def _add_url(actor, entry: Entry, lane: Lane, chooser, choice) -> str:
    if not (may(actor, entry, "add") and entry.surface.form):
        return ""
    names = writable_fields(actor, entry)
    query = {entry.surface.board.field: lane.key} if entry.surface.board.field in names else {}
    if chooser is not None and choice is not None and chooser.name in names:
        query[chooser.name] = choice.pk
    return places.part_of(entry, "new", query)


@require_POST
@of_object
def move(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Bring a card to another lane: a change of the field, or the verb that leads to the state."""
    declared = entry.surface.board
    if declared is None:
        raise NotFound(_("There is no board here."))
    record = find(request.actor, entry.model, pk)
    to = request.POST.get("to", "")
    version = request.POST.get("version", "")
    version = int(version) if version.isdigit() and len(version) < 10 else None
    verb = _verb_to(request.actor, entry, record, to)
    if verb is not None and verb.asks:
        return _ask(request, entry, record, verb)
    if verb is not None:
        gate.perform(request.actor, record, verb.name, {}, version=version)
    else:
        gate.perform(request.actor, record, "change", {declared.field: to}, version=version)
    return _moved(request, entry, pk)


def _verb_to(actor, entry: Entry, record, to: str) -> Verb | None:
    """The verb that leads to a lane: when the lanes are states, or stand for one (a stage of the kind “won”)."""
    field = entry.fields[entry.surface.board.field]
    stands_for = {to}
    if isinstance(field, models.ForeignKey):
        lane = may_point_to(actor, field.related_model).filter(pk=parse_uuid(to)).first()
        if lane is None:
            raise NotFound(_("There is no such lane."))
        stands_for = {str(getattr(lane, f.attname)) for f in field.related_model._meta.concrete_fields if f.choices}
    for verb in entry.verbs.values():
        by_state = verb.field == field.name or isinstance(field, models.ForeignKey)
        if verb.to in stands_for and by_state and str(getattr(record, verb.field)) != verb.to:
            return verb
    return None


def _ask(request: HttpRequest, entry: Entry, record, verb: Verb) -> HttpResponse:
    decision = explain(request.actor, record, verb.name)
    if not decision:
        raise decision.refusal()
    form = forms.verb_form(request.actor, entry, record, verb)
    return render(
        request,
        "ostoja/records/verb_dialog.html",
        {
            "form": form,
            "title": f"{verb.label}: {title_of(record)}",
            "words": verb.confirm,
            "submit": verb.label,
            "icon_name": verb.icon,
            "action": places.record_of(entry, record.pk, f"do/{verb.name}", {"next": places.part_of(entry, "board")}),
            "version": record.version,
            "variant": "danger" if verb.tone == "danger" else "primary",
        },
    )


def _moved(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """The card and the heads of all lanes as they are now."""
    declared = entry.surface.board
    facts = _Facts(request.actor, entry)
    chooser = chooser_of(entry)
    joined = facts.joined + ((chooser.name,) if chooser is not None else ())
    record = visible(request.actor, entry.model).select_related(*joined).filter(pk=pk).first()
    rows = visible(request.actor, entry.model)
    if declared.within is not None:
        rows = rows.filter(declared.within)
    within = None
    if chooser is not None and record is not None:
        within = {chooser.name: getattr(record, chooser.name)}
        rows = rows.filter(**within)
    sums = _sums(request.actor, entry, rows)
    lanes = []
    for lane in lanes_of(request.actor, entry, within):
        count, total = sums.get(lane.key, (0, ""))
        lanes.append(
            {
                "key": lane.key,
                "id": lane.key,
                "label": lane.label,
                "tone": lane.tone,
                "count": display.number(count),
                "total": total,
            }
        )
    card = None
    if record is not None:
        concealed(request.actor, [record])
        card = facts.card(
            record, str(getattr(record, entry.fields[declared.field].attname)), may(request.actor, entry, "change")
        )
    return render(request, "ostoja/records/board_moved.html", {"lanes": lanes, "card": card})


# --- calendar -------------------------------------------------------------------------------------------------------------


@require_GET
@of_object
def calendar(request: HttpRequest, entry: Entry) -> HttpResponse:
    """A month of the calendar."""
    declared = entry.surface.calendar
    if declared is None or not may_see(request.actor, entry, declared.start):
        raise NotFound(_("There is no calendar here."))
    request.place = places.list_of(entry)
    if held.wholly(entry):
        context = {
            "object": about(request.actor, entry, "calendar"),
            "held": held.of_object(request, entry),
            "modes": True,
        }
        return render(request, "ostoja/records/held.html", context)
    today = timezone.localdate()
    first = _month(request.GET.get("month", ""), today)
    start = first - dt.timedelta(days=first.weekday())
    last = first.replace(day=months.monthrange(first.year, first.month)[1])
    end = last + dt.timedelta(days=6 - last.weekday())
    moved, strange = plain.elsewhere(request, entry)
    if moved:
        return HttpResponseRedirect(moved)
    listing = Listing(request.actor, entry, request.GET)
    events = _events(request.actor, entry, listing.rows(), start, end)
    days = []
    for offset in range((end - start).days + 1):
        day = start + dt.timedelta(days=offset)
        count, mine = events.get(day, (0, []))
        query = {f"f.{declared.start}.from": day.isoformat(), f"f.{declared.start}.to": day.isoformat()}
        days.append(
            {
                "number": day.day,
                "weekday": format_date(day, "EEE", locale=display.locale()),
                "out": day.month != first.month,
                "today": day == today,
                "events": mine,
                "more": count - len(mine),
                "more_url": places.list_of(entry, query) if declared.start in entry.surface.filters else "",
            }
        )
    before, after = first - dt.timedelta(days=1), last + dt.timedelta(days=1)
    return render(
        request,
        "ostoja/records/calendar.html",
        {
            "object": about(request.actor, entry, "calendar"),
            "days": days,
            "chips": chips(request, listing),
            "strange": strange,
            "month": format_date(first, "LLLL y", locale=display.locale()),
            "weekdays": [format_date(start + dt.timedelta(days=i), "EEE", locale=display.locale()) for i in range(7)],
            "previous_url": changed_query(request, month=before.strftime("%Y-%m")),
            "next_url": changed_query(request, month=after.strftime("%Y-%m")),
            "today_url": changed_query(request, month=None),
            "nearest": None if events else _nearest(request, declared.start, listing.rows(), start, end),
        },
    )


def _nearest(request: HttpRequest, name: str, rows, start: dt.date, end: dt.date) -> dict | None:
    """The month with records that is closest to one without: the next one, else the last one. At most two queries."""
    low, high = _bounds(rows, name, start, end)
    coming = rows.filter(**{f"{name}__gte": high}).order_by(name)
    past = rows.filter(**{f"{name}__lt": low}).order_by(f"-{name}")
    at = coming.values_list(name, flat=True).first() or past.values_list(name, flat=True).first()
    if at is None:
        return None
    day = timezone.localtime(at).date() if isinstance(at, dt.datetime) else at
    return {
        "url": changed_query(request, month=day.strftime("%Y-%m")),
        "month": format_date(day, "LLLL y", locale=display.locale()),
    }


def _bounds(rows, name: str, start: dt.date, end: dt.date) -> tuple[dt.date, dt.date]:
    """From when, and until before when, records stand on these days: moments in the reader's time zone, or dates."""
    days = start, end + dt.timedelta(days=1)
    if kind_of(rows.model._meta.get_field(name)) != "moment":
        return days
    zone = timezone.get_current_timezone()
    return tuple(dt.datetime.combine(day, dt.time.min, zone) for day in days)


def _month(text: str, today: dt.date) -> dt.date:
    try:
        found = dt.datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no time zone
    except ValueError:
        return today.replace(day=1)
    return found if 1900 < found.year < 9000 else today.replace(day=1)


def _events(actor, entry: Entry, rows, start: dt.date, end: dt.date) -> dict[dt.date, tuple[int, list[dict]]]:
    """For each of these days how many records there are, and the first few. Two queries."""
    declared = entry.surface.calendar
    low, high = _bounds(rows, declared.start, start, end)
    rows = rows.filter(**{f"{declared.start}__gte": low, f"{declared.start}__lt": high})
    timed = isinstance(low, dt.datetime)
    lane = column(actor, entry, entry.surface.board.field) if entry.surface.board else None
    by_badge = next(
        (f for f in entry.fields.values() if f.choices and entry.surface.badges and may_see(actor, entry, f.name)), None
    )
    day = TruncDate(declared.start) if timed else F(declared.start)
    counts = dict(rows.order_by().values(_day=day).annotate(n=Count("pk")).values_list("_day", "n"))
    first = Window(RowNumber(), partition_by=[day], order_by=[F(declared.start).asc(), F("pk").asc()])
    shown = rows.annotate(_n=first).filter(_n__lte=EVENTS_IN_DAY)
    if lane is not None and lane.kind == "relation":
        shown = shown.select_related(lane.name)
    events = defaultdict(list)
    for record in concealed(actor, shown.order_by(declared.start, "pk")):
        at = getattr(record, declared.start)
        local = timezone.localtime(at) if timed else None
        if lane is not None and lane.kind == "relation":
            tone = tone_of_related(getattr(record, lane.name))
        else:
            tone = tone_of(entry, getattr(record, by_badge.name)) if by_badge is not None else "blue"
        events[local.date() if local else at].append(
            {
                "title": title_of(record),
                "url": places.record_of(entry, record.pk),
                "tone": tone,
                "time": local.strftime("%H:%M") if local and (local.hour or local.minute) else "",
            }
        )
    return {at: (counts.get(at, 0), mine) for at, mine in events.items()}
