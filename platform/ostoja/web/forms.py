"""Forms on pages: the record's own form dressed for people, its lines, and how a refusal finds its field again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from babel import Locale
from babel.numbers import get_currency_name, get_territory_currencies
from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.db import models
from django.forms.utils import ErrorDict
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from ostoja.access.models import SavedView, User
from ostoja.access.policy import writable_fields
from ostoja.gate import related as may_point_to
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.fields import MoneyField
from ostoja.kernel.forms import RecordForm, RelationField, form_class
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import Verb
from ostoja.kernel.registry import Entry

from . import held, places
from .columns import currency_of, entry_of, title_of
from .concealing import concealed
from .widgets import DateInput, DateTimeInput, MoneyInput, RelationPicker

FEW = 30
MOST_LINES = 500
NEAR = ("PLN", "EUR", "USD", "GBP", "CHF", "CZK")


class Choices:
    """What relations may point to, looked up once for all forms of a page."""

    def __init__(self, actor: Actor):
        self.actor = actor
        self._few: dict[type, list | None] = {}
        self._names: dict[tuple[type, str], str] = {}

    def few(self, model: type[models.Model]) -> list | None:
        """All choices, when they are few enough for a plain list; None when they must be searched. One query."""
        if model not in self._few:
            rows = may_point_to(self.actor, model)
            entry = entry_of(model)
            if entry is not None and entry.parent is not None:
                rows = rows.select_related(entry.surface.inside)
            found = list(rows.order_by(*(entry.surface.sort if entry else ()), "pk")[: FEW + 1])
            self._few[model] = found if len(found) <= FEW or entry is None else None
            for one in found:
                self._names[(model, str(one.pk))] = title_of(one)
        return self._few[model]

    def know(self, record: models.Model | None) -> None:
        """Remember the name of a record that is at hand."""
        if record is not None:
            self._names[(type(record), str(record.pk))] = title_of(record)

    def name(self, model: type[models.Model], key: object) -> str:
        """The name of a record by its id; empty when it may not be seen."""
        place = (model, str(key))
        if place not in self._names:
            pk = parse_uuid(key)
            found = may_point_to(self.actor, model).filter(pk=pk).first() if pk else None
            self._names[place] = title_of(found) if found else ""
        return self._names[place]


def dress(form: RecordForm, choices: Choices) -> RecordForm:
    """Give every field the control that people expect."""
    meta = {f.name: f for f in form._meta.model._meta.concrete_fields}
    for name, one in form.fields.items():
        model_field = meta[name]
        if isinstance(one, RelationField):
            _dress_relation(form, name, one, model_field, choices)
        elif isinstance(model_field, models.DecimalField):
            money = isinstance(model_field, MoneyField)
            one.widget = MoneyInput(currency=currency_of(form.instance) if money else "")
        elif isinstance(one, forms.DateTimeField):
            one.widget = DateTimeInput()
        elif isinstance(one, forms.DateField):
            one.widget = DateInput()
        elif name == "currency" and isinstance(one, forms.CharField):
            one.widget = forms.Select(choices=currencies(form.get_initial_for_field(one, name)))
        one.label = capfirst(model_field.verbose_name)
    return form


def _dress_relation(form: RecordForm, name: str, one: RelationField, model_field, choices: Choices) -> None:
    model = model_field.related_model
    key = getattr(form.instance, model_field.attname, None)
    if key is not None and model_field.name in form.instance._state.fields_cache:
        choices.know(getattr(form.instance, name))
    entry = entry_of(model)
    few = choices.few(model)
    if few is not None:
        options = [(str(r.pk), title_of(r)) for r in few]
        if key is not None and str(key) not in dict(options):
            options.append((str(key), choices.name(model, key) or "…"))
        grouped = _by_parent(entry, few, options)
        one.widget = forms.Select(choices=[("", "" if one.required else "–"), *grouped])
        return
    url = places.part_of(entry, "options")
    hint = _("Type a name") if model is User else _("Type to search")
    one.widget = RelationPicker(url, label_of=lambda value, model=model: choices.name(model, value), placeholder=hint)


def _by_parent(entry: Entry | None, few: list, options: list[tuple[str, str]]) -> list:
    """Options of parts (stages) under the names of what they are a part of (pipelines), where there are several."""
    if entry is None or entry.parent is None:
        return options
    above = {str(r.pk): title_of(getattr(r, entry.surface.inside)) for r in few}
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, label in options:
        groups.setdefault(above.get(key, "…"), []).append((key, label))
    return list(groups.items()) if len(groups) > 1 else options


def currencies(now: object = "") -> list:
    """Currencies in use today: the present one and the nearest first, then all by code."""
    language = get_language() or "en"
    near = list(dict.fromkeys(c for c in (str(now or ""), *NEAR) if c))
    others = sorted(_in_use() - set(near))
    return [(c, f"{c} – {get_currency_name(c, locale=language)}") for c in [*near, *others]]


@lru_cache(maxsize=1)
def _in_use() -> frozenset[str]:
    countries = (t for t in Locale("en").territories if len(t) == 2)
    return frozenset(c for t in countries for c in get_territory_currencies(t))


def plain_form(
    actor: Actor,
    entry: Entry,
    names: Sequence[str],
    record=None,
    *,
    data=None,
    initial: Mapping | None = None,
    choices: Choices | None = None,
    asks: Iterable[str] = (),
    prefix: str = "",
) -> RecordForm:
    """A dressed form of some fields of a record."""
    form = form_class(entry.model, tuple(names))(
        data=data,
        instance=record if record is not None else entry.model(),
        related=lambda model: may_point_to(actor, model),
        asks=asks,
        initial=dict(initial or {}),
    )
    if prefix:
        form.prefix = prefix
    return dress(form, choices or Choices(actor))


def verb_form(
    actor: Actor,
    entry: Entry,
    record,
    spec: Verb,
    data=None,
    choices: Choices | None = None,
    given: Mapping | None = None,
) -> RecordForm:
    """The form of a verb's arguments: what it asks, and what it takes of that which may be entered here.

    ``given`` may have answers to begin with.
    """
    elsewhere = held.fields(entry)
    names = [n for n in spec.arguments if n in spec.asks or n not in elsewhere]
    known = {n: given[n] for n in names if given and n in given}
    return plain_form(actor, entry, names, record, data=data, initial=known, asks=spec.asks, choices=choices)


def data_of(form: forms.BaseForm, post: QueryDict) -> dict[str, object]:
    """What was given for each field, as the gate takes it; fields that the page did not send are left out."""
    data = {}
    for name, one in form.fields.items():
        html_name = form.add_prefix(name)
        if one.widget.value_omitted_from_data(post, {}, html_name):
            continue
        data[name] = one.widget.value_from_datadict(post, {}, html_name)
    return data


def changed_only(form: RecordForm, data: Mapping[str, object]) -> dict[str, object]:
    """What differs from the record as it is."""
    return {
        n: v for n, v in data.items() if form.fields[n].has_changed(form.get_initial_for_field(form.fields[n], n), v)
    }


def blame(form: forms.BaseForm, error: Refused) -> forms.BaseForm:
    """Put the sentences of a refusal where they belong; what has no field of its own goes to the top."""
    form._errors = ErrorDict()
    form.cleaned_data = {}
    general = []
    for name, sentences in error.fields.items():
        if name in form.fields:
            form._errors[name] = form.error_class(sentences)
        elif "." not in name:
            general += sentences
    if not error.fields:
        general.append(error.message)
    if general:
        form._errors[NON_FIELD_ERRORS] = form.error_class(list(dict.fromkeys(general)), error_class="nonfield")
    return form


# --- the form's arrangement ---------------------------------------------------------------------------------------------


@dataclass
class Section:
    """A part of a form under a heading; ``fields`` are (bound field, css) pairs."""

    label: str = ""
    fields: list = field(default_factory=list)


def sections(entry: Entry, form: forms.BaseForm) -> list[Section]:
    """The form's fields as the surface arranges them."""
    made = [Section()]

    def put(item, full: bool) -> None:
        if isinstance(item, str):
            if item in form.fields:
                made[-1].fields.append((form[item], "full" if full else ""))
        elif len(item) == 2 and isinstance(item[1], list):
            made.append(Section(str(item[0])))
            for inner in item[1]:
                put(inner, full=False)
        else:
            present = [name for name in item if name in form.fields]
            for name in present:
                put(name, full=len(present) == 1)

    inside = entry.surface.inside
    if inside in form.fields:
        put(inside, full=True)
    for item in entry.surface.form:
        put(item, full=isinstance(item, str) and len(form.fields) > 1)
    return [s for s in made if s.fields]


def plain_layout(entry: Entry) -> list[tuple[str, list[str]]]:
    """The form's fields as [(heading, names)], for reading rather than editing."""
    made: list[tuple[str, list[str]]] = [("", [])]
    for item in entry.surface.form:
        if isinstance(item, str):
            made[-1][1].append(item)
        elif len(item) == 2 and isinstance(item[1], list):
            made.append((str(item[0]), []))
            for inner in item[1]:
                made[-1][1].extend([inner] if isinstance(inner, str) else inner)
        else:
            made[-1][1].extend(item)
    return made


# --- lines ----------------------------------------------------------------------------------------------------------------


class Lines:
    """The lines of a record inside its form: one small form for each, and one empty to copy from."""

    def __init__(self, actor: Actor, name: str, part: Entry, record, choices: Choices, post: QueryDict | None = None):
        self.actor, self.name, self.part, self.choices = actor, name, part, choices
        self.prefix = name
        self.label = str(capfirst(part.model._meta.verbose_name_plural))
        self.add_label = _("Add a line")
        self.names = tuple(n for n in writable_fields(actor, part) if n not in (part.surface.inside, "position"))
        self.errors: list[str] = []
        self.rows: list[dict] = []
        self.forms: list[RecordForm] = []
        if post is None:
            for index, line in enumerate(self._present(record)):
                self.forms.append(self._form(index, line))
        else:
            self._read(post, {str(line.pk): line for line in self._present(record)})

    def _present(self, record) -> list:
        if record is None or record._state.adding:
            return []
        rows = self.part.model._default_manager.filter(**{self.part.surface.inside: record})
        order = "position" if "position" in self.part.fields else "pk"
        relations = [n for n in self.names if isinstance(self.part.fields[n], models.ForeignKey)]
        rows = rows.select_related(*relations).order_by(order) if relations else rows.order_by(order)
        return concealed(self.actor, rows)

    def _form(self, index: int | str, line=None, post: QueryDict | None = None) -> RecordForm:
        form = plain_form(
            self.actor, self.part, self.names, line, data=post, choices=self.choices, prefix=f"{self.prefix}-{index}"
        )
        form.cells = [(form[n], _cell_css(self.part, n, i)) for i, n in enumerate(self.names)]
        key = line.pk if line is not None and not line._state.adding else ""
        form.hidden = [format_html('<input type="hidden" name="{}-{}-id" value="{}">', self.prefix, index, key)]
        return form

    def _read(self, post: QueryDict, present: Mapping) -> None:
        total = post.get(f"{self.prefix}-TOTAL_FORMS", "0")
        for index in range(min(int(total) if total.isdigit() else 0, MOST_LINES)):
            if post.get(f"{self.prefix}-{index}-DELETE"):
                continue
            key = post.get(f"{self.prefix}-{index}-id", "")
            form = self._form(index, present.get(key), post)
            row = data_of(form, post)
            if not key and not any(str(v).strip() for v in row.values() if v not in (None, False)):
                continue
            self.forms.append(form)
            self.rows.append({**row, **({"id": key} if key else {})})

    def blame(self, error: Refused) -> None:
        """Put the sentences about lines to their cells; they are named ``lines.<number>.<field>``."""
        for path, sentences in error.fields.items():
            steps = path.split(".")
            if steps[0] != self.name:
                continue
            number = int(steps[1]) if len(steps) > 1 and steps[1].isdigit() else -1
            if 0 <= number < len(self.forms) and len(steps) > 2 and steps[2] in self.forms[number].fields:
                form = self.forms[number]
                if form._errors is None:
                    form._errors, form.cleaned_data = ErrorDict(), {}
                form._errors[steps[2]] = form.error_class(sentences)
            else:
                self.errors += sentences
        for form in self.forms:
            if form._errors is None:
                form._errors, form.cleaned_data = ErrorDict(), {}

    @property
    def columns(self) -> list[dict]:
        """The headings."""
        return [
            {"label": capfirst(self.part.fields[n].verbose_name), "css": _cell_css(self.part, n, i)}
            for i, n in enumerate(self.names)
        ]

    @property
    def empty(self) -> RecordForm:
        """The line to copy for a new one."""
        return self._form("__prefix__")

    @property
    def management(self) -> SafeString:
        """The hidden field that counts the lines."""
        return format_html('<input type="hidden" name="{}-TOTAL_FORMS" value="{}">', self.prefix, len(self.forms))


def _cell_css(part: Entry, name: str, index: int) -> str:
    if isinstance(part.fields[name], models.ForeignKey):
        return "wide w-2/5"
    if isinstance(part.fields[name], (models.DecimalField, models.IntegerField)):
        return "n"
    return "wide" if isinstance(part.fields[name], models.TextField) else ""


# --- saved views ----------------------------------------------------------------------------------------------------------


class ViewForm(forms.Form):
    """Name of a saved view."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    shared = forms.BooleanField(label=gettext_lazy("For all colleagues"), required=False)

    def __init__(self, data=None, *, may_share: bool):
        super().__init__(data)
        if not may_share:
            del self.fields["shared"]


def save_view(actor: Actor, entry: Entry, name: str, pairs: list, shared: bool) -> SavedView:
    """Keep a list's query under a name; the same name again replaces it."""
    with changing(actor, "add"):
        found = SavedView.objects.filter(user_id=actor.user_id, object=entry.label, name=name).first()
        view = found or SavedView(user_id=actor.user_id, object=entry.label, name=name)
        view.query, view.shared = {"pairs": pairs}, shared
        view.save()
    return view


def forget_view(actor: Actor, pk) -> str:
    """Delete one of one's own views; returns the address of its list. Raises NotFound."""
    view = SavedView.objects.filter(user_id=actor.user_id, pk=pk).first()
    if view is None:
        raise NotFound(_("There is no such view."))
    entry = registry.get(view.object)
    with changing(actor, "delete"):
        view.delete()
    return places.list_of(entry) if entry else "/"
