"""Files in and out over HTTP: imports, exports, and the files that are attached to records."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.access.policy import find
from ostoja.documents import files
from ostoja.documents.models import Attachment
from ostoja.exchange import export, runs
from ostoja.exchange.models import ExportRun, ImportRun
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry

from .door import body_of, entry_at, key_in, query_of, reply, root
from .problems import BadRequest, WrongType
from .records import listed_of, shown
from .selection import whole
from .values import dumps

IMPORTS, EXPORTS = "imports", "exports"
GIVEN = ("object", "mode", "mapping", "options", "name", "whole")
CHANGED = ("mode", "mapping", "options", "name", "whole")


# --- imports --------------------------------------------------------------------------------------------------------------


def import_started(request: HttpRequest) -> HttpResponse:
    """Take a file in: ``file`` and ``object``, and whatever else is known of it. Nothing is written to the object yet."""
    query_of(request, known=())
    upload = _upload(request)
    said = _form(request, GIVEN)
    label = said.pop("object", "")
    if not label:
        raise Refused(
            _("Say with “object” what the file holds, e.g. parties."), fields={"object": [_("This must be given.")]}
        )
    run = runs.start(request.actor, label, upload.read(), upload.name or "", **said)
    response = shown(request, registry.of(ImportRun), run.pk, 201)
    response["Location"] = f"{root(request)}/{IMPORTS}/{run.pk}/"
    return response


def import_changed(request: HttpRequest, key: str) -> HttpResponse:
    """Another mapping, other options, another mode: before it runs."""
    query_of(request, known=())
    run = _run(request, key)
    said = _checked(body_of(request), CHANGED)
    runs.remap(request.actor, run, **said)
    return shown(request, registry.of(ImportRun), run.pk)


def import_columns(request: HttpRequest, key: str) -> HttpResponse:
    """The file's columns with samples and where they go, what is missing, and what they could go to."""
    query_of(request, known=())
    run = _run(request, key)
    targets = [
        {"path": t.path, "label": str(t.label), "kind": t.kind, "required": t.required}
        for t in runs.targets_for(request.actor, run.object)
    ]
    body = {
        "columns": runs.columns(request.actor, run),
        "missing": runs.missing_fields(request.actor, run),
        "targets": targets,
    }
    return reply(dumps(body))


def import_unknown(request: HttpRequest, key: str) -> HttpResponse:
    """Texts of the file that mean nothing here, with what they probably mean."""
    query_of(request, known=())
    return reply(dumps({"items": runs.unknown_values(request.actor, _run(request, key))}))


def import_preview(request: HttpRequest, key: str) -> HttpResponse:
    """The first records as they would be."""
    query_of(request, known=())
    return reply(dumps(runs.preview(request.actor, _run(request, key))))


def import_errors(request: HttpRequest, key: str) -> HttpResponse:
    """What was refused, by row and column; ``after`` is the ``id`` of the last error that was read."""
    query = query_of(request, known=("limit", "after"))
    run = _run(request, key)
    limit = whole((query.get("limit") or [None])[-1], "limit", 1, 500, 200)
    after = whole((query.get("after") or [None])[-1], "after", 0, 10**9 - 1, 0)
    names = ("id", "row", "column", "value", "message")
    return reply(dumps({"items": [{n: getattr(e, n) for n in names} for e in runs.errors(run, limit, after)]}))


def import_refused_rows(request: HttpRequest, key: str) -> HttpResponse:
    """The refused rows as a file, to be mended and sent again."""
    query_of(request, known=())
    run = _run(request, key)
    return _download(runs.errors_file(request.actor, run), "text/csv; charset=utf-8", "refused.csv")


def template(request: HttpRequest, slug: str) -> HttpResponse:
    """An empty file with every column that may be imported."""
    query_of(request, known=())
    entry = entry_at(request, slug, "import")
    content = runs.template_file(request.actor, entry.label)
    return _download(content, "text/csv; charset=utf-8", f"{entry.slug}.csv")


def _run(request: HttpRequest, key: str) -> ImportRun:
    entry = entry_at(request, IMPORTS)
    return find(request.actor, ImportRun, key_in(entry, key))


def _upload(request: HttpRequest):
    if request.content_type != "multipart/form-data":
        raise WrongType(_("Send the file as multipart/form-data, in a part named “file”."))
    found = request.FILES.getlist("file")
    if len(found) != 1 or len(request.FILES) != 1:
        raise Refused(
            _("Send one file, in a part named “file”."), fields={"file": [_("Exactly one file is expected.")]}
        )
    if found[0].size > settings.MAX_UPLOAD_BYTES:
        limit = settings.MAX_UPLOAD_BYTES // (1024 * 1024)
        raise Refused(_("The file is larger than {limit} MB.").format(limit=limit), fields={"file": [_("Too large.")]})
    return found[0]


def _form(request: HttpRequest, known: tuple[str, ...]) -> dict:
    """The other parts of a multipart body; objects are given as JSON."""
    said: dict = {}
    for name in request.POST:
        text = request.POST[name]
        if name in ("mapping", "options"):
            try:
                said[name] = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                message = _("It is no valid JSON: {why}").format(why=error.msg)
                raise BadRequest(message, fields={name: [message]}, code="malformed_json") from error
        elif name == "whole":
            said[name] = {"1": True, "true": True, "0": False, "false": False}.get(text, text)
        else:
            said[name] = text
    return _checked(said, known)


def _checked(said: Mapping, known: tuple[str, ...]) -> dict:
    """Only what is known, and of the right types. Raises Refused by field."""
    kinds = {"mapping": dict, "options": dict, "whole": bool}
    wrong = {}
    for name, value in said.items():
        if name not in known:
            wrong[str(name)] = [_("There is no such field, or it can't be set.")]
        elif not isinstance(value, kinds.get(name, str)) or "\x00" in str(value):
            wrong[name] = [_("A value of another type is expected.")]
        elif name == "mode" and value not in ImportRun.Mode.values:
            wrong[name] = [_("Choose one of: {choices}.").format(choices=", ".join(ImportRun.Mode.values))]
        elif name == "name" and len(value) > 200:
            wrong[name] = [_("At most {n} characters.").format(n=200)]
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)
    return dict(said)


# --- exports --------------------------------------------------------------------------------------------------------------


def export_started(request: HttpRequest) -> HttpResponse:
    """Write records of an object into a file, in the background: ``object``, ``query`` as of its list, ``format``, ``columns``."""
    query_of(request, known=())
    said = body_of(request)
    wrong = {str(n): [_("There is no such field.")] for n in said if n not in ("object", "query", "format", "columns")}
    if not isinstance(said.get("object"), str):
        wrong["object"] = [_("Say what to export, e.g. parties.")]
    if not isinstance(said.get("format", "csv"), str):
        wrong["format"] = [_("csv or xlsx is expected.")]
    query, columns = said.get("query", {}), said.get("columns", [])
    if not isinstance(query, dict) or not all(_is_question(v) for v in query.values()):
        wrong["query"] = [_("An object of filters is expected, as in the address of the list.")]
    if not isinstance(columns, list) or not all(isinstance(c, str) for c in columns):
        wrong["columns"] = [_("A list of field names is expected.")]
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)
    run = export.export(request.actor, said["object"], query, said.get("format", "csv"), columns or None)
    response = shown(request, registry.of(ExportRun), run.pk, 202)
    response["Location"] = f"{root(request)}/{EXPORTS}/{run.pk}/"
    return response


def _is_question(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(v, str) for v in value)
    return isinstance(value, (str, int, bool))


def export_content(request: HttpRequest, key: str) -> HttpResponse:
    """The file of a finished export, for whoever asked for it."""
    query_of(request, known=())
    entry = entry_at(request, EXPORTS)
    content, name, kind = export.open_export(request.actor, key_in(entry, key))
    return FileResponse(content, as_attachment=True, filename=name, content_type=kind)


# --- files of records ----------------------------------------------------------------------------------------------------


def kind_of(entry: Entry) -> Entry | None:
    """The object that the files of an object's records are, if it may have files."""
    kind = files.kind_for(entry.model)
    return None if kind is None else registry.of(kind)


def record_files(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """The files of a record, newest first."""
    entry = entry_at(request, slug)
    kind = _kind(entry)
    find(request.actor, entry.model, key_in(entry, key))
    query = query_of(request, known=("limit", "cursor"))
    return listed_of(request, kind, {**query, kind.surface.inside: [key], "sort": ["-id"]})


def file_attached(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """One more file of a record: ``file`` in a multipart body."""
    query_of(request, known=())
    entry = entry_at(request, slug)
    kind = _kind(entry)
    upload = _upload(request)
    target = entry.model(pk=key_in(entry, key))
    attachment = files.store(request.actor, target, upload, upload.name or "")
    response = shown(request, kind, attachment.pk, 201)
    response["Location"] = f"{root(request)}/{kind.slug}/{attachment.pk}/"
    return response


def file_content(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """The bytes of a file, as a download that no browser runs."""
    query_of(request, known=())
    entry = entry_at(request, slug)
    if not issubclass(entry.model, Attachment):
        raise NotFound(_("“{thing}” has no content to download.").format(thing=entry.model._meta.verbose_name))
    attachment, content = files.open_file(request.actor, entry.model, key_in(entry, key))
    return files.response(attachment, content)


def _kind(entry: Entry) -> Entry:
    kind = kind_of(entry)
    if kind is None:
        raise NotFound(_("Files can't be attached to “{thing}”.").format(thing=entry.model._meta.verbose_name))
    return kind


def _download(content: bytes, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
