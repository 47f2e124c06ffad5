"""The story of a record: what the journal says happened to it, in words that its reader may see."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from ostoja.access.models import ApiToken, User
from ostoja.access.policy import visible, visible_fields
from ostoja.jobs.models import Job
from ostoja.journal.history import Event, history
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import SYSTEM_FIELDS
from ostoja.kernel.registry import Entry

from . import display
from .columns import currency_of, entry_of, kind_of, may_see, title_of

SHOWN = 60


@dataclass
class Told:
    """One event as the timeline shows it."""

    at: dt.datetime
    icon: str
    tone: str
    title: str
    text: str = ""
    changes: list[dict] = field(default_factory=list)


def story(actor, entry: Entry, record) -> list[Told]:
    """The events of a record, newest first. One query, and one for each kind of name that it mentions."""
    seen = {n for n in visible_fields(actor, entry) if may_see(actor, entry, n)}
    events = history(record, seen, SHOWN)
    names = _names(actor, entry, events)
    people = names_behind(event.actor for event in events)
    told = []
    for event in events:
        who = people.get(event.actor) or _("Ostoja")
        changes = [
            {
                "label": capfirst(entry.fields[name].verbose_name),
                "old": _shown(entry, record, name, old, names),
                "new": _shown(entry, record, name, new, names),
            }
            for name, old, new in event.fields
            if name not in SYSTEM_FIELDS
        ]
        if event.op == "U" and not changes and event.verb in ("change", "import") and not event.hidden:
            continue
        icon, tone, title = _headline(entry, event, who)
        text = _("Fields that you may not see were changed, too.") if event.hidden and event.op == "U" else ""
        told.append(Told(event.at, icon, tone, title, text, changes if event.op == "U" else []))
    return told


def _headline(entry: Entry, event: Event, who: str) -> tuple[str, str, str]:
    if event.op == "I":
        return (
            ("upload", "blue", _("{who} imported it").format(who=who))
            if event.verb == "import"
            else ("plus", "blue", _("{who} created it").format(who=who))
        )
    if event.op == "D":
        return "trash-2", "red", _("{who} deleted it").format(who=who)
    verb = entry.verbs.get(event.verb)
    if verb is not None:
        tone = {"danger": "red", "success": "green", "positive": "green"}.get(verb.tone, "violet")
        return verb.icon, tone, _("{who}: {verb}").format(who=who, verb=verb.label)
    if event.verb == "import":
        return "upload", "gray", _("{who} changed it by an import").format(who=who)
    return "pencil", "gray", _("{who} changed it").format(who=who)


def names_behind(actors: Iterable[str]) -> dict[str, str]:
    """The names behind the keys of actors: people, the owners of tokens, those for whom jobs worked. At most three queries."""
    by_kind: dict[str, set[uuid.UUID]] = {}
    for actor in actors:
        kind, _colon, key = actor.partition(":")
        if (pk := parse_uuid(key)) is not None:
            by_kind.setdefault(kind, set()).add(pk)
    names = {}
    if "user" in by_kind:
        rows = User.objects.filter(pk__in=by_kind["user"]).values_list("pk", "name")
        names |= {f"user:{pk}": name for pk, name in rows}
    if "token" in by_kind:
        rows = ApiToken.objects.filter(pk__in=by_kind["token"]).values_list("pk", "name", "user__name")
        names |= {f"token:{pk}": _("{who} (token “{token}”)").format(who=who, token=token) for pk, token, who in rows}
    if "job" in by_kind:
        rows = Job.objects.filter(pk__in=by_kind["job"]).values_list("pk", "actor_label")
        names |= {f"job:{pk}": who for pk, who in rows}
    return names


def _names(actor, entry: Entry, events: list[Event]) -> dict[str, dict[str, str]]:
    """The names of related records that the events mention: field -> {id: name}. One query a relation."""
    wanted: dict[str, set] = {}
    for event in events:
        for name, old, new in event.fields:
            if isinstance(entry.fields[name], models.ForeignKey):
                wanted.setdefault(name, set()).update(k for k in (parse_uuid(old), parse_uuid(new)) if k)
    names = {}
    for name, keys in wanted.items():
        model = entry.fields[name].related_model
        rows = visible(actor, model) if entry_of(model) else model._default_manager.all()
        names[name] = {str(r.pk): title_of(r) for r in rows.filter(pk__in=keys)}
    return names


def _shown(entry: Entry, record, name: str, value: object, names: dict) -> str | None:
    """A value of the journal (JSON) or of the record, as people read it."""
    if value is None or value == "":
        return ""
    one = entry.fields[name]
    kind = kind_of(one)
    if kind in ("person", "relation"):
        return names.get(name, {}).get(str(value), _("(not visible)"))
    if kind == "choice":
        return str(dict(one.flatchoices).get(value, value))
    if kind == "money":
        return display.money(value, currency_of(record))
    if kind == "number":
        return display.number(value)
    if kind == "bool":
        return _("Yes") if value else _("No")
    if kind == "moment":
        found = value if isinstance(value, dt.datetime) else parse_datetime(str(value))
        if found is not None and timezone.is_naive(found):
            found = timezone.make_aware(found, dt.UTC)
        return display.moment(found)
    if kind == "date":
        return display.date(value if isinstance(value, dt.date) else parse_date(str(value)))
    return Truncator(str(value)).chars(300)
