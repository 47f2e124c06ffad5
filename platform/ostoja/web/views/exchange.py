"""Import and export: a file on its way in, step by step, and lists on their way out."""

from __future__ import annotations

import datetime as dt
import tempfile

from django import forms
from django.conf import settings
from django.db.models import F, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja.access.policy import allowed, find, must
from ostoja.exchange import export as exporting
from ostoja.exchange import runs
from ostoja.exchange.models import ExportRun, ImportRun
from ostoja.gate import related as may_point_to
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound, OstojaError, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from .. import display, places, says
from ..columns import entry_of, title_field, title_of
from ..forms import blame
from ..inside import inside, of_object
from ..reading import NONE, Listing
from ..widgets import RelationPicker
from .lists import about, chosen_ids
from .work import job_view

State = ImportRun.State
AT_ONCE = 20_000  # rows that are written while the browser waits; more are a job's
ERRORS_SHOWN = 100
TONES = {"done": "green", "failed": "red", "stopped": "amber", "undone": "gray"}


# --- a file on its way in -------------------------------------------------------------------------------------------------


class UploadForm(forms.Form):
    """The file to import."""

    file = forms.FileField(label=gettext_lazy("File"), max_length=200)


class HowForm(forms.Form):
    """What to do with the rows, and how the file is read."""

    mode = forms.ChoiceField(label=gettext_lazy("What to do with the rows"), choices=ImportRun.Mode.choices)
    date_order = forms.ChoiceField(
        label=gettext_lazy("Dates are written"), required=False,
        choices=[
            ("", gettext_lazy("As they seem")), ("dmy", gettext_lazy("day month year")), ("mdy", gettext_lazy("month day year")),
            ("ymd", gettext_lazy("year month day")),
        ],
    )  # fmt: skip
    decimal = forms.ChoiceField(
        label=gettext_lazy("Decimals are written"),
        required=False,
        choices=[("", gettext_lazy("As they seem")), (".", "1234.50"), (",", "1234,50")],
    )
    sheet = forms.ChoiceField(label=gettext_lazy("Sheet"), required=False)
    whole = forms.BooleanField(label=gettext_lazy("All or nothing: one wrong row stops it all"), required=False)

    def __init__(self, data=None, *, run: ImportRun):
        options = run.options
        super().__init__(
            data,
            initial={
                "mode": run.mode, "whole": run.whole, "date_order": options.get("date_order", ""), "decimal": options.get("decimal", ""),
                "sheet": options.get("sheet", ""),
            },
        )  # fmt: skip
        sheets = run.result.get("sheets") or []
        if len(sheets) > 1:
            self.fields["sheet"].choices = [(s, s) for s in sheets]
        else:
            del self.fields["sheet"]


def _frame(request: HttpRequest, entry: Entry, step: int, heading: str) -> dict:
    names = (_("File"), _("Columns"), _("Values"), _("Check"), _("Import"))
    request.place = places.list_of(entry)
    return {
        "object": about(request.actor, entry), "heading": heading, "hide_jobs": True,
        "steps": [{"label": name, "done": i < step, "current": i == step} for i, name in enumerate(names)],
    }  # fmt: skip


def _address(run: ImportRun, part: str = "") -> str:
    return f"/imports/{run.pk}" + (f"/{part}" if part else "")


@of_object
def upload(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Step one: the file."""
    must(request.actor, entry, "import")
    form = UploadForm(request.POST or None, request.FILES or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            sent = form.cleaned_data["file"]
            try:
                if sent.size > settings.MAX_UPLOAD_BYTES:
                    limit = filesizeformat(settings.MAX_UPLOAD_BYTES)
                    raise Refused(
                        _("The file is larger than {limit}. Split it and import the parts.").format(limit=limit)
                    )
                run = runs.start(request.actor, entry.label, sent.read(), sent.name)
                return HttpResponseRedirect(_address(run))
            except OstojaError as error:
                status = error.status
                blame(form, Refused(error.message))
    earlier = [
        {
            "url": _address(r), "name": r.name, "said": r.get_state_display(), "tone": TONES.get(r.state, "blue"), "rows": display.number(r.rows),
            "who": str(r.owner or ""), "at": r.created_at,
        }
        for r in runs.runs(request.actor, entry.label).select_related("owner")[:10]
    ]  # fmt: skip
    context = {
        "form": form, "limit": filesizeformat(settings.MAX_UPLOAD_BYTES), "runs": earlier,
        "sample_url": places.part_of(entry, "import/columns.csv"),
    }  # fmt: skip
    return render(
        request, "ostoja/exchange/upload.html", _frame(request, entry, 0, _("Import")) | context, status=status
    )


@require_GET
@of_object
def sample(request: HttpRequest, entry: Entry) -> HttpResponse:
    """An empty file with the right columns."""
    return _csv(runs.template_file(request.actor, entry.label), f"{entry.slug}.csv")


def _csv(content: bytes, name: str) -> HttpResponse:
    return HttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _run(request: HttpRequest, pk) -> ImportRun:
    run = find(request.actor, ImportRun, pk)
    runs.entry_for(request.actor, run.object)
    return run


@inside
def run(request: HttpRequest, pk) -> HttpResponse:
    """Where an import stands: the page of its step."""
    one = _run(request, pk)
    if one.state == State.DRAFT:
        return _values(request, one) if request.GET.get("step") == "values" else _columns(request, one)
    if one.state == State.CHECKED:
        if request.GET.get("step") == "columns":
            return _columns(request, one)
        return _checked(request, one)
    if one.state in (State.CHECKING, State.RUNNING, State.UNDOING):
        return _working(request, one)
    return _result(request, one)


def _heading(one: ImportRun) -> str:
    return _("Import {name}").format(name=one.name)


def _columns(request: HttpRequest, one: ImportRun, error: OstojaError | None = None) -> HttpResponse:
    """Step two: which column goes where."""
    actor = request.actor
    targets = runs.targets_for(actor, one.object)
    shown = []
    wrong = getattr(error, "fields", {}) or {}
    for index, view in enumerate(runs.columns(actor, one)):
        shown.append({
            "name": view.name, "samples": view.samples, "control": _target_select(index, view.to, targets, view.name),
            "key_control": _way_select(index, view.by, view.ways, view.name) if view.ways else "",
        })  # fmt: skip
    rows = ngettext("{n} row.", "{n} rows.", one.rows).format(n=display.number(one.rows))
    form = HowForm(run=one)
    if error is not None:
        blame(
            form,
            Refused(
                error.message, fields={"": [m for messages in wrong.values() for m in messages] or [error.message]}
            ),
        )
    context = {
        "columns": shown, "words": rows + " " + _("What could be recognised is chosen already."), "missing": runs.missing_fields(actor, one),
        "options_form": form, "form": form, "back_url": places.part_of(one.entry, "import"), "action": _address(one, "columns"),
        "warnings": one.result.get("warnings") or [],
    }  # fmt: skip
    status = 200 if error is None else error.status
    return render(
        request, "ostoja/exchange/columns.html", _frame(request, one.entry, 1, _heading(one)) | context, status=status
    )


def _target_select(index: int, chosen: str, targets, name: str):
    groups: dict[str, list] = {}
    for target in targets:
        label = capfirst(target.entry.model._meta.verbose_name_plural) if target.part else ""
        star = " *" if target.required and not target.part else ""
        groups.setdefault(str(label), []).append((target.path, f"{capfirst(target.field.verbose_name)}{star}"))
    choices: list = [("", _("Leave it out"))]
    for label, options in groups.items():
        choices += options if not label else [(label, options)]
    select = forms.Select(
        choices=choices, attrs={"class": "input", "aria-label": _("“{column}” goes to").format(column=name)}
    )
    return select.render(f"to-{index}", chosen)


def _way_select(index: int, chosen: str, ways, name: str):
    choices = [("", _("As usual")), *((field, capfirst(label)) for field, label in ways)]
    select = forms.Select(
        choices=choices, attrs={"class": "input", "aria-label": _("“{column}” is found by").format(column=name)}
    )
    return select.render(f"by-{index}", chosen)


@require_POST
@inside
def columns(request: HttpRequest, pk) -> HttpResponse:
    """Keep where the columns go, and go on to the values or to the check."""
    one = _run(request, pk)
    form = HowForm(request.POST, run=one)
    try:
        if not form.is_valid():
            raise Refused(_("Choose one of the options."))
        given = {k: form.cleaned_data[k] for k in ("date_order", "decimal", "sheet") if form.cleaned_data.get(k)}
        kept = {k: v for k, v in one.options.items() if k not in ("date_order", "decimal")}
        options = kept | given if {**kept, **given} != one.options else None
        if options and given.get("sheet", one.options.get("sheet")) != one.options.get("sheet"):
            one = runs.remap(request.actor, one, options=options)
            mapping, mode = runs.guess(request.actor, one)
            runs.remap(request.actor, one, mapping=mapping, mode=mode)
            return HttpResponseRedirect(_address(one))
        mapping = _mapping_of(request, one)
        one = runs.remap(
            request.actor,
            one,
            mapping=mapping,
            mode=form.cleaned_data["mode"],
            options=options,
            whole=form.cleaned_data["whole"],
        )
        unknown = runs.unknown_values(request.actor, one)
    except OstojaError as error:
        return _columns(request, _run(request, pk), error)
    if unknown:
        return HttpResponseRedirect(_address(one) + "?step=values")
    runs.check(request.actor, one)
    return HttpResponseRedirect(_address(one))


def _mapping_of(request: HttpRequest, one: ImportRun) -> dict:
    """The mapping as the page says; what it does not show (values, constants …) stays."""
    before = {c["from"]: c for c in one.mapping.get("columns", [])}
    columns = []
    for index, name in enumerate(one.columns):
        to = request.POST.get(f"to-{index}", "")
        if not to:
            continue
        old = before.get(name)
        column = dict(old) if old and old.get("to") == to else {"from": name, "to": to}
        by = request.POST.get(f"by-{index}", "")
        if old and old.get("to") == to:
            column.pop("by", None)
            if by:
                column["by"] = by
        columns.append(column)
    return {**one.mapping, "columns": columns}


def _values(request: HttpRequest, one: ImportRun, status: int = 200) -> HttpResponse:
    """Step three: what unknown values mean."""
    shown = []
    for number, column in enumerate(runs.unknown_values(request.actor, one)):
        related = _related(one, column.to)
        values = [
            {
                "text": v.text,
                "rows": display.number(v.rows),
                "control": _value_control(request.actor, number, i, v, column.choices, related),
            }
            for i, v in enumerate(column.values)
        ]
        shown.append({"name": column.name, "target": column.target, "values": values})
    context = {"columns": shown, "back_url": _address(one), "action": _address(one, "values")}
    return render(
        request, "ostoja/exchange/values.html", _frame(request, one.entry, 2, _heading(one)) | context, status=status
    )


def _related(one: ImportRun, path: str) -> Entry | None:
    """The object that a mapped relation points to."""
    steps = path.split(".")
    entry = one.entry
    if len(steps) == 2:
        found = next((r for r in entry.model._meta.related_objects if r.get_accessor_name() == steps[0]), None)
        entry = entry_of(found.related_model) if found is not None else None
    if entry is None or steps[-1] not in entry.fields:
        return None
    model = entry.fields[steps[-1]].related_model
    return entry_of(model) if model is not None else None


def _value_control(actor, number: int, index: int, value, choices, related: Entry | None):
    name, label = f"value-{number}-{index}", _("What “{text}” means").format(text=value.text)
    hidden = format_html('<input type="hidden" name="text-{}-{}" value="{}">', number, index, value.text)
    if related is None:
        select = forms.Select(
            choices=[("", _("Leave it: these rows are refused")), *choices],
            attrs={"class": "input", "aria-label": label},
        )
        return hidden + select.render(name, value.proposal)
    title = title_field(related)
    proposed = may_point_to(actor, related.model).filter(**{title: value.proposal}).first() if value.proposal else None
    names = {str(proposed.pk): title_of(proposed)} if proposed else {}
    picker = RelationPicker(
        places.part_of(related, "options"),
        label_of=lambda key: names.get(str(key), ""),
        placeholder=_("Leave it: these rows are refused"),
    )
    return hidden + picker.render(name, str(proposed.pk) if proposed else "", {"id": f"id_{name}", "aria-label": label})


@require_POST
@inside
def values(request: HttpRequest, pk) -> HttpResponse:
    """Keep what the values mean, and check."""
    one = _run(request, pk)
    columns = [dict(c) for c in one.mapping.get("columns", [])]
    by_place = {(c["from"], c["to"]): c for c in columns}
    for number, unknown in enumerate(runs.unknown_values(request.actor, one)):
        column = by_place.get((unknown.name, unknown.to))
        if column is None:
            continue
        related = _related(one, unknown.to)
        answers = dict(column.get("values") or {})
        for index in range(len(unknown.values)):
            text, answer = (
                request.POST.get(f"text-{number}-{index}", ""),
                request.POST.get(f"value-{number}-{index}", ""),
            )
            if text and answer:
                answers[text] = answer if related is None else _found_by(request.actor, related, column, answer)
        if answers:
            column["values"] = answers
    one = runs.remap(request.actor, one, mapping={**one.mapping, "columns": columns})
    runs.check(request.actor, one)
    return HttpResponseRedirect(_address(one))


def _found_by(actor, related: Entry, column: dict, key: str) -> str:
    """The text by which the import finds the chosen record again."""
    record = may_point_to(actor, related.model).filter(pk=parse_uuid(key)).first()
    if record is None:
        raise NotFound(_("There is no such record, or you may not see it."))
    natural = tuple(related.surface.natural_key)
    field = column.get("by") or (natural[0] if len(natural) == 1 else title_field(related))
    return str(record.pk) if field == "id" else str(getattr(record, field))


def _working(request: HttpRequest, one: ImportRun) -> HttpResponse:
    """A job is at it."""
    job = one.job
    view = (
        job_view(job)
        if job is not None
        else {"title": one.name, "said": "", "percent": None, "finished": False, "message": ""}
    )
    context = {"job": view, "progress_url": _address(one, "progress"), "stop_url": _address(one, "stop")}
    step = 3 if one.state == State.CHECKING else 4
    return render(request, "ostoja/exchange/running.html", _frame(request, one.entry, step, _heading(one)) | context)


@require_GET
@inside
def progress(request: HttpRequest, pk) -> HttpResponse:
    """How far the job is; when it has ended, the page goes on by itself."""
    one = _run(request, pk)
    if one.state not in (State.CHECKING, State.RUNNING, State.UNDOING):
        return HttpResponse(headers={"HX-Redirect": _address(one)})
    job = one.job
    if job is not None and job.finished and job.state != "done":
        return (
            HttpResponse(headers={"HX-Redirect": _address(one)})
            if job.state == "cancelled"
            else _progress(request, one, job)
        )
    return _progress(request, one, job)


def _progress(request: HttpRequest, one: ImportRun, job) -> HttpResponse:
    view = (
        job_view(job)
        if job is not None
        else {"title": one.name, "said": "", "percent": None, "finished": False, "message": ""}
    )
    context = {
        "job": view | {"finished": False},
        "progress_url": _address(one, "progress"),
        "stop_url": _address(one, "stop"),
    }
    return render(request, "ostoja/exchange/progress.html", context)


def _errors(one: ImportRun) -> list[dict]:
    return [
        {"row": e.row, "column": e.column, "value": e.value, "message": e.message}
        for e in runs.errors(one, ERRORS_SHOWN)
    ]


def _checked(request: HttpRequest, one: ImportRun) -> HttpResponse:
    """Step four: what would happen."""
    good = one.created + one.updated
    preview = runs.preview(request.actor, one, 8)
    wrong = {r.row for r in preview.rows if r.errors}
    context = {
        "tiles": [
            {"label": _("Rows"), "value": display.number(one.rows)},
            {"label": _("New"), "value": display.number(one.created), "tone": "green"},
            {"label": _("Changed"), "value": display.number(one.updated), "tone": "blue"},
            {"label": _("With errors"), "value": display.number(one.failed), "tone": "red" if one.failed else "gray"},
        ],
        "errors": _errors(one) if one.failed else [],
        "errors_said": ngettext("{n} row can't be imported as it is.", "{n} rows can't be imported as they are.", one.failed).format(n=display.number(one.failed)),
        "errors_url": _address(one, "errors.csv") if one.failed else "",
        "preview": {
            "columns": [{"label": label} for _path, label in preview.columns],
            "rows": [[r.values.get(path, "") for path, _label in preview.columns] for r in preview.rows if r.row not in wrong],
        },
        "startable": good > 0 and not (one.whole and one.failed),
        "start_label": ngettext("Import {n} record", "Import {n} records", good).format(n=display.number(good)) if good else _("Nothing to import"),
        "action": _address(one, "go"), "back_url": _address(one) + "?step=columns",
    }  # fmt: skip
    return render(request, "ostoja/exchange/check.html", _frame(request, one.entry, 3, _heading(one)) | context)


def _result(request: HttpRequest, one: ImportRun) -> HttpResponse:
    """Step five: what happened."""
    entry = one.entry
    n = one.created + one.updated
    took = ""
    if one.job is not None and one.job.started_at and one.finished_at and one.state == State.DONE:
        seconds = max(0.1, (one.finished_at - one.job.started_at).total_seconds())
        took = _("{seconds} s · {speed} rows a second").format(
            seconds=display.number(round(seconds, 1)), speed=display.number(int(one.rows / seconds))
        )
    undone = ""
    if one.state == State.UNDONE:
        found = one.result.get("undo") or {}
        undone = _("The import is undone: {deleted} deleted, {restored} given their old values, {kept} kept because they were changed since.").format(
            deleted=display.number(found.get("deleted", 0)), restored=display.number(found.get("restored", 0)), kept=display.number(found.get("kept_count", 0))
        )  # fmt: skip
    failed = ""
    if one.state in (State.FAILED, State.STOPPED):
        said = one.job.error if one.job is not None and one.state == State.FAILED else ""
        failed = said or (
            _("The import was stopped. What is in stays in; it can go on or be undone.")
            if one.state == State.STOPPED
            else _("The import failed.")
        )
    things = entry.model._meta.verbose_name_plural
    context = {
        "said": ngettext("{n} record is in.", "{n} {things} are in.", n).format(n=display.number(n), things=things), "took": took, "undone": undone,
        "failed": failed,
        "tiles": [
            {"label": _("Created"), "value": display.number(one.created)}, {"label": _("Changed"), "value": display.number(one.updated)},
            {"label": _("Unchanged"), "value": display.number(one.unchanged + one.skipped)},
            {"label": _("Left out"), "value": display.number(one.failed)},
        ],
        "errors": _errors(one) if one.failed else [],
        "errors_url": _address(one, "errors.csv") if one.failed else "",
        "undo_url": _address(one, "undo") if one.state in (State.DONE, State.STOPPED, State.FAILED) and n else "",
        "go_url": _address(one, "go") if one.state in (State.STOPPED, State.FAILED) else "",
        "save_url": _address(one, "save") if one.state == State.DONE else "",
        "name": one.name.rsplit(".", 1)[0],
    }  # fmt: skip
    return render(request, "ostoja/exchange/result.html", _frame(request, entry, 5, _heading(one)) | context)


def _act(act):
    """A view that does one thing with a run and goes back to its page."""

    @require_POST
    @inside
    def view(request: HttpRequest, pk) -> HttpResponse:
        one = _run(request, pk)
        act(request.actor, one)
        return HttpResponseRedirect(_address(one))

    view.__doc__ = act.__doc__
    return view


go, stop, undo = _act(runs.go), _act(runs.stop), _act(runs.undo)


@require_POST
@inside
def save_mapping(request: HttpRequest, pk) -> HttpResponse:
    """Keep the mapping under a name for the next file of this kind."""
    one = _run(request, pk)
    runs.save_mapping(request.actor, one, request.POST.get("name", "").strip()[:120] or one.name)
    return says.say(
        HttpResponseRedirect(_address(one)),
        _("The mapping is saved; the next file with these columns gets it by itself."),
    )


@require_GET
@inside
def errors_file(request: HttpRequest, pk) -> HttpResponse:
    """The rows that were refused, with the reasons."""
    one = _run(request, pk)
    return _csv(
        runs.errors_file(request.actor, one), f"{one.name.rsplit('.', 1)[0][:80].replace(chr(34), '')}-errors.csv"
    )


# --- lists on their way out -----------------------------------------------------------------------------------------------


@require_POST
@of_object
def export(request: HttpRequest, entry: Entry, format: str) -> HttpResponse:
    """The records of a list, or those that are selected, as a file: at once when they are few, by a job when they are many."""
    exporting.entry_for(request.actor, entry.label)
    ids = chosen_ids(request)
    listing = Listing(request.actor, entry, request.GET)
    rows = listing.rows()
    condition = allowed(request.actor, entry, "export")
    if condition is not None:
        rows = rows.filter(condition)
    if ids:
        rows = rows.filter(pk__in=ids)
    if rows.order_by()[: AT_ONCE + 1].count() > AT_ONCE:
        exporting.export(request.actor, entry.label, _query_of(listing), format)
        response = HttpResponseRedirect(places.list_of(entry, request.GET.items()))
        return says.say(response, _("The file is being made; you find it under “Exports” in a moment."), "blue")
    names = exporting.column_names(request.actor, entry, None)
    out = tempfile.TemporaryFile()
    exporting.write(out, request.actor, entry, _ordered(listing, rows), names, format)
    out.seek(0)
    return FileResponse(
        out, as_attachment=True, filename=exporting.file_name(entry, format), content_type=exporting.TYPES[format]
    )


def _ordered(listing: Listing, rows: QuerySet) -> QuerySet:
    return rows.order_by(
        *(F(k.path).desc(nulls_last=True) if k.down else F(k.path).asc(nulls_last=True) for k in listing.keys())
    )


def _query_of(listing: Listing) -> dict:
    """A list's search, filters and order as the export understands them."""
    query: dict[str, object] = {}
    if listing.q:
        query["search"] = listing.q
    if listing.sort:
        query["sort"] = listing.sort
    for one in listing.active:
        if one.kind == "range":
            for lookup, bound in (("gte", one.low), ("lte", one.high)):
                value = one.bound(bound)
                if value is None:
                    continue
                if (
                    isinstance(value, dt.date)
                    and one.input == "date"
                    and one.field.get_internal_type() == "DateTimeField"
                ):
                    clock = dt.time.min if lookup == "gte" else dt.time.max
                    value = timezone.make_aware(dt.datetime.combine(value, clock))
                query[f"{one.name}__{lookup}"] = value.isoformat() if hasattr(value, "isoformat") else str(value)
        elif one.kind == "text":
            query[f"{one.name}__contains"] = one.chosen[0]
        elif one.kind == "bool":
            query[one.name] = one.chosen[0]
        elif one.chosen == [NONE]:
            query[f"{one.name}__isnull"] = "true"
        else:
            query[f"{one.name}__in"] = ",".join(v for v in one.chosen if v != NONE)
    return query


@require_GET
@inside
def exported(request: HttpRequest, pk) -> HttpResponse:
    """The file of an export that a job made."""
    one = find(request.actor, ExportRun, pk)
    if not one.ready:
        text = (
            _("The file is not ready yet.")
            if one.state == ExportRun.State.RUNNING
            else _("The file is not kept any more. Export it again.")
        )
        return says.say(HttpResponseRedirect(places.list_of(registry.of(ExportRun))), text, "amber")
    content, name, kind = exporting.open_export(request.actor, pk)
    return FileResponse(content, as_attachment=True, filename=name, content_type=kind)
