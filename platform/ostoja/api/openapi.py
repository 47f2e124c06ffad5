"""The OpenAPI 3.1 document, generated from the registry and narrowed to what the actor may see and do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja import __version__
from ostoja.access.policy import may, writable_fields
from ostoja.gate import is_required
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.record import Verb
from ostoja.kernel.registry import Entry

from . import additions, bulk, pivots, transfers, values
from .door import reply, root
from .problems import CONTENT_TYPE, TITLES
from .selection import LONGEST, MOST, USUAL, lookups_of, readable

JSON = "application/json"
REFUSALS = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 503)
CHANGE_REFUSALS = ("400", "401", "403", "404", "409", "412", "413", "415", "422", "429", "503")
READ_REFUSALS = ("400", "401", "403", "404", "429", "503")


def read(request: HttpRequest) -> HttpResponse:
    """The document for whoever asks; a stranger sees all that this installation's objects can do, and no data."""
    return reply(values.dumps(document(request.actor or Actor.system(), root(request))))


def document(actor: Actor, url: str) -> dict:
    """The whole document."""
    paths = dict(_common())
    schemas, parameters, tags = _schemas(), _parameters(), []
    standing = additions.standing()
    for entry in registry.entries():
        if not may(actor, entry, "view"):
            continue
        name = name_of(entry)
        tags.append({"name": entry.slug, "description": _described(entry)})
        schemas |= _schemas_of(actor, entry, name)
        parameters |= {f"{name}.{key}": said for key, said in filters_of(actor, entry).items()}
        paths |= _paths_of(actor, entry, name)
        for word in additions.words_of(entry, standing):
            paths |= _word(entry, word)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ostoja",
            "version": __version__,
            "description": _(
                "Every business object and every verb. Conventions are explained at {url}, for people."
            ).format(url=f"{url}/docs"),
        },
        "servers": [{"url": url}],
        "security": [{"token": []}, {"session": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _refusal(status) for status in REFUSALS},
            "parameters": parameters,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": _("An API token: ost_…")},
                "session": {"type": "apiKey", "in": "cookie", "name": "ostoja"},
            },
        },
    }


def name_of(entry: Entry) -> str:
    """The name of an object's schema: its model's, with its module where two share it."""
    name = entry.model.__name__
    same = [e for e in registry.entries() if e.model.__name__ == name]
    return name if len(same) == 1 else f"{entry.model._meta.app_label.capitalize()}{name}"


def _described(entry: Entry) -> str:
    return (entry.model.__doc__ or "").strip().partition("\n")[0]


def _ref(name: str, kind: str = "schemas") -> dict:
    return {"$ref": f"#/components/{kind}/{name}"}


def _refusal(status: int) -> dict:
    return {"description": str(TITLES[status]), "content": {CONTENT_TYPE: {"schema": _ref("Problem")}}}


def _refusals(statuses: Iterable[str]) -> dict:
    return {status: _ref(status, "responses") for status in statuses}


def _json(schema: dict) -> dict:
    return {JSON: {"schema": schema}}


# --- schemas ------------------------------------------------------------------------------------------------------------


def _schemas() -> dict:
    text = {"type": "string"}
    return {
        "Reference": {
            "type": "object",
            "description": _("A related record. In a body its id alone, as text, will do."),
            "properties": {"id": {"type": "string", "format": "uuid"}, "label": {"type": ["string", "null"]}},
            "required": ["id"],
        },
        "Problem": {
            "type": "object",
            "properties": {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": {**text, "description": _("A sentence for people: what is wrong, and the way out.")},
                "code": {
                    **text,
                    "description": _("Stable, for programs: “stale”, or the name of the rule that refused."),
                },
                "errors": {
                    "type": "object",
                    "description": _("Sentences by field; “lines.0.price” is the price of the first line."),
                    "additionalProperties": {"type": "array", "items": text},
                },
            },
            "required": ["type", "title", "status", "detail", "code"],
        },
        "BulkResult": {
            "type": "object",
            "properties": {
                "results": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "index": {"type": "integer"},
                            "status": {"type": "integer"},
                            "id": {"type": "string", "format": "uuid"},
                            "version": {"type": "integer"},
                            "code": text,
                            "detail": text,
                            "errors": {"type": "object", "additionalProperties": {"type": "array", "items": text}},
                        },
                        "required": ["index", "status"],
                    },
                },
                "done": {"type": "integer"},
                "failed": {"type": "integer"},
            },
            "required": ["results", "done", "failed"],
        },
        "Pivot": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"type": "object"}},
                "truncated": {"type": "boolean"},
            },
            "required": ["items", "truncated"],
        },
        "History": {
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "at": {"type": "string", "format": "date-time"},
                            "actor": {
                                "type": "object",
                                "properties": {
                                    "kind": text,
                                    "id": {"type": ["string", "null"]},
                                    "label": {"type": ["string", "null"]},
                                },
                            },
                            "verb": text,
                            "change": {"type": "string", "enum": ["added", "changed", "deleted"]},
                            "fields": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "properties": {"field": text, "before": {}, "after": {}},
                                    "required": ["field", "before", "after"],
                                },
                            },
                            "hidden": {"type": "integer"},
                            "cause": {"type": ["string", "null"]},
                        },
                        "required": ["at", "actor", "verb", "change", "fields", "hidden"],
                    },
                }
            },
            "required": ["items"],
        },
        "Job": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "kind": text,
                "title": text,
                "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "parked", "cancelled"]},
                "done": {"type": "integer"},
                "total": {"type": ["integer", "null"]},
                "percent": {"type": ["integer", "null"]},
                "message": text,
                "result": {"type": "object"},
                "error": text,
                "cancel_requested": {"type": "boolean"},
                "created_at": {"type": "string", "format": "date-time"},
                "started_at": {"type": ["string", "null"], "format": "date-time"},
                "finished_at": {"type": ["string", "null"], "format": "date-time"},
            },
            "required": ["id", "kind", "state", "done", "total"],
        },
        "Me": {
            "type": "object",
            "properties": {
                "kind": text,
                "label": text,
                "data_classes": {"type": "array", "items": text},
                "token_scopes": {"type": ["array", "null"], "items": text},
                "tenant": {"type": "object"},
                "objects": {"type": "object", "additionalProperties": {"type": "object"}},
            },
            "required": ["kind", "label", "data_classes", "tenant", "objects"],
        },
    }


def _schemas_of(actor: Actor, entry: Entry, name: str) -> dict:
    shown = {n: values.schema(f, reading=True) for n, f in readable(actor, entry).items()}
    for line, part in entry.lines.items():
        shown[line] = {"type": "array", "items": _ref(f"{name}{part.model.__name__}")}
    out = {name: _object(shown, ["id"], _described(entry))}
    written, required = _written(actor, entry)
    for line, part in entry.lines.items():
        inner, needed = _written(actor, part, without=part.surface.inside)
        inner = {"id": {"type": "string", "format": "uuid"}, **inner}
        out[f"{name}{part.model.__name__}Input"] = {**_object(inner, needed), "additionalProperties": False}
        fields = {
            n: values.schema(f, reading=True) for n, f in readable(actor, part).items() if n != part.surface.inside
        }
        out[f"{name}{part.model.__name__}"] = _object(fields, ["id"])
        written[line] = {
            "type": "array",
            "items": _ref(f"{name}{part.model.__name__}Input"),
            "description": _(
                "All lines as they shall be: with an id one is changed, without it added; others are deleted."
            ),
        }
    out[f"{name}Create"] = {**_object(written, required), "additionalProperties": False}
    out[f"{name}Change"] = {**_object(written, []), "additionalProperties": False}
    out[f"{name}List"] = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": _ref(name)},
            "next": {"type": ["string", "null"], "description": _("The cursor of the next page; null on the last.")},
            "count": {"type": "integer"},
            "count_is_exact": {"type": "boolean"},
        },
        "required": ["items", "next"],
    }
    return out


def _object(properties: dict, required: list[str], description: str = "") -> dict:
    out = {"type": "object", "properties": properties}
    if required:
        out["required"] = required
    if description:
        out["description"] = description
    return out


def _written(actor: Actor, entry: Entry, without: str = "") -> tuple[dict, list[str]]:
    names = [n for n in writable_fields(actor, entry) if n != without]
    required = [n for n in names if is_required(entry.fields[n]) and n != "owner"]
    return {n: values.schema(entry.fields[n], reading=False) for n in names}, required


# --- parameters ---------------------------------------------------------------------------------------------------------


def _parameter(name: str, description: object, schema: dict | None = None, where: str = "query") -> dict:
    out = {"name": name, "in": where, "schema": schema or {"type": "string"}, "description": str(description)}
    return {**out, "required": True} if where == "path" else out


def _parameters() -> dict:
    return {
        "id": _parameter("id", _("The record’s id."), {"type": "string", "format": "uuid"}, "path"),
        "fields": _parameter("fields", _("Fields to answer with, separated by commas; without it all that you may see.")),
        "search": _parameter("search", _("Words that all stand somewhere in the searched fields."), {"type": "string", "maxLength": LONGEST}),
        "sort": _parameter("sort", _("Fields to sort by, separated by commas; “-” before one turns it round.")),
        "limit": _parameter("limit", _("Records on a page."), {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}),
        "cursor": _parameter("cursor", _("“next” of the page before.")),
        "count": _parameter("count", _("1: also say how many there are, up to 10,000. exact: however many."), {"type": "string", "enum": ["0", "1", "exact"]}),
        "ifMatch": _parameter("If-Match", _("The ETag that the change was made upon; 412 when somebody was faster."), where="header"),
        "idempotencyKey": _parameter(
            "Idempotency-Key", _("Any unique text: sent twice within 24 hours, done once, answered the same."),
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}, "header",
        ),
    }  # fmt: skip


def _p(*names: str) -> list[dict]:
    return [_ref(name, "parameters") for name in names]


def filters_of(actor: Actor, entry: Entry) -> dict[str, dict]:
    """The filter parameters of an object's lists and pivots, by name.

    Of the comparisons those that come to mind are listed; ``gt``, ``lt``, ``in``, ``not`` and ``isnull`` work on every field
    that they make sense of, and so do fields of related records (``party__name__contains``).
    """
    out = {}
    for name, field in readable(actor, entry).items():
        if not values.is_filtered(field):
            continue
        plain = _filter_schema(field)
        if name not in LIST_WORDS and name not in pivots.OWN:
            out[name] = _parameter(name, _("Equal to this; given more than once: to one of them."), plain)
        for lookup in _natural(field):
            out[f"{name}__{lookup}"] = _parameter(
                f"{name}__{lookup}", _lookup_said(lookup), _lookup_schema(lookup, plain)
            )
    return out


def _natural(field: models.Field) -> tuple[str, ...]:
    if field.choices or field.is_relation:
        return ("in",)
    if values.is_text(field):
        return ("contains",)
    return ("gte", "lte") if "gte" in lookups_of(field) else ()


def _filters(actor: Actor, entry: Entry, name: str) -> list[dict]:
    return _p(*(f"{name}.{parameter}" for parameter in filters_of(actor, entry)))


def _filter_schema(field: models.Field) -> dict:
    out = values.schema(field, reading=True)
    if field.is_relation:
        return {"type": "string", "format": "uuid"}
    kind = out.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    kept = {k: v for k, v in out.items() if k in ("format", "minimum", "maximum")}
    if "enum" in out:
        kept["enum"] = [v for v in out["enum"] if v is not None]
    return {"type": kind or "string", **kept}


def _lookup_schema(lookup: str, plain: dict) -> dict:
    if lookup == "in":
        return {"type": "string"}
    if lookup == "contains":
        return {"type": "string", "maxLength": LONGEST}
    return plain


def _lookup_said(lookup: str) -> str:
    return {
        "in": _("One of these, separated by commas."),
        "contains": _("This text stands somewhere in it, in upper or lower case."),
        "gte": _("Greater, later or equal."),
        "lte": _("Less, earlier or equal."),
    }[lookup]


# --- paths --------------------------------------------------------------------------------------------------------------


def _operation(id: str, tag: str, summary: object, parameters: list, responses: dict, body: dict | None = None) -> dict:
    out = {"operationId": id, "tags": [tag], "summary": str(summary), "responses": responses}
    if parameters:
        out["parameters"] = parameters
    if body is not None:
        out["requestBody"] = body
    return out


def _ok(schema: dict, description: object = "", status: str = "200", etag: bool = False) -> dict:
    out = {"description": str(description or _("Done.")), "content": _json(schema)}
    if etag:
        out["headers"] = {"ETag": {"schema": {"type": "string"}, "description": str(_("The record’s version."))}}
    return {status: out}


def _common() -> Iterator[tuple[str, dict]]:
    reading = _refusals(("400", "401", "429", "503"))
    one = _refusals(("400", "401", "404", "429", "503"))
    job = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    state = _parameter("state", _("Only jobs in this state."))
    yield "/me", {"get": _operation("read_me", "me", _("Who am I, and what may I do?"), [], _ok(_ref("Me")) | reading)}
    jobs = {"type": "object", "properties": {"items": {"type": "array", "items": _ref("Job")}}, "required": ["items"]}
    yield (
        "/jobs/",
        {
            "get": _operation(
                "list_jobs", "jobs", _("Your latest background jobs"), [*_p("limit"), state], _ok(jobs) | reading
            )
        },
    )
    yield "/jobs/{id}/", {"get": _operation("read_job", "jobs", _("How far a job is"), [job], _ok(_ref("Job")) | one)}
    stop = _ok(_ref("Job"), _("It has stopped.")) | _ok(_ref("Job"), _("It stops at its next safe point."), "202")
    yield (
        "/jobs/{id}/cancel",
        {
            "post": _operation(
                "cancel_job", "jobs", _("Stop a job"), [job, *_p("idempotencyKey")], stop | _refusals(CHANGE_REFUSALS)
            )
        },
    )


def _paths_of(actor: Actor, entry: Entry, name: str) -> dict:
    slug = tag = entry.slug
    word = slug.replace("-", "_")
    things = str(entry.model._meta.verbose_name_plural)
    reading, changing = _refusals(READ_REFUSALS), _refusals(CHANGE_REFUSALS)
    listing = [*_p("fields", "search", "sort", "limit", "cursor", "count"), *_filters(actor, entry, name)]
    record = _ok(_ref(name), etag=True)
    collection = {
        "get": _operation(
            f"list_{word}", tag, _("List {things}").format(things=things), listing, _ok(_ref(f"{name}List")) | reading
        )
    }
    single = {"get": _operation(f"read_{word}", tag, _("Read one"), _p("id"), record | reading)}
    written = writable_fields(actor, entry)
    if may(actor, entry, "add") and written:
        created = _ok(_ref(name), _("It is there now."), "201", etag=True)
        created["201"]["headers"]["Location"] = {"schema": {"type": "string"}}
        body = {"required": True, "content": _json(_ref(f"{name}Create"))}
        collection["post"] = _operation(
            f"add_{word}", tag, _("Add one"), _p("idempotencyKey"), created | changing, body
        )
    if may(actor, entry, "change") and written:
        body = {"required": True, "content": _json(_ref(f"{name}Change"))}
        single["patch"] = _operation(
            f"change_{word}", tag, _("Change one: only the fields that you name"),
            _p("id", "ifMatch", "idempotencyKey"), record | changing, body,
        )  # fmt: skip
    if may(actor, entry, "delete"):
        single["delete"] = _operation(
            f"delete_{word}", tag, _("Delete one"), _p("id", "ifMatch", "idempotencyKey"),
            {"204": {"description": str(_("It is gone."))}} | changing,
        )  # fmt: skip
    paths = {
        f"/{slug}/": collection,
        f"/{slug}/{{id}}/": single,
        f"/{slug}/{{id}}/history": {
            "get": _operation(
                f"history_{word}",
                tag,
                _("What happened to one"),
                _p("id", "limit"),
                _ok(_ref("History")) | reading,
            )
        },
        f"/{slug}/aggregate": {"get": _pivot(actor, entry, name, word, reading)},
    }
    verbs = {n: spec for n, spec in entry.verbs.items() if may(actor, entry, n)}
    editing = [v for v in ("add", "change", "delete") if may(actor, entry, v) and (written or v == "delete")]
    if verbs or editing:
        paths[f"/{slug}/bulk"] = {"post": _bulk(word, tag, things, [*editing, *verbs], changing)}
    paths |= _files_of(actor, entry, word, reading, changing)
    if slug == transfers.IMPORTS:
        _describe_imports(paths, record, reading, changing)
    if slug == transfers.EXPORTS:
        _describe_exports(paths, record, reading, changing)
    for verb, spec in verbs.items():
        paths[f"/{slug}/{{id}}/{verb}"] = {"post": _verb(actor, entry, spec, word, record | changing)}
    return paths


# --- files in and out -----------------------------------------------------------------------------------------------------


def _multipart(properties: dict, required: list[str]) -> dict:
    schema = _object({"file": {"type": "string", "format": "binary"}, **properties}, ["file", *required])
    return {"required": True, "content": {"multipart/form-data": {"schema": {**schema, "additionalProperties": False}}}}


def _bytes(kind: str) -> dict:
    return {
        "200": {
            "description": str(_("The file.")),
            "content": {kind: {"schema": {"type": "string", "format": "binary"}}},
        }
    }


def _list_of(schema: dict) -> dict:
    return _object({"items": {"type": "array", "items": schema}}, ["items"])


def _files_of(actor: Actor, entry: Entry, word: str, reading: dict, changing: dict) -> dict:
    slug, tag, paths = entry.slug, entry.slug, {}
    kind = transfers.kind_of(entry)
    if kind is not None and may(actor, kind, "view"):
        listed, one = _ok(_ref(f"{name_of(kind)}List")), _ok(_ref(name_of(kind)), status="201", etag=True)
        item = {
            "get": _operation(
                f"files_{word}",
                tag,
                _("The files of one"),
                _p("id", "limit", "cursor"),
                listed | reading,
            )
        }
        if may(actor, entry, "change"):
            item["post"] = _operation(
                f"attach_{word}", tag, _("Attach a file to one"), _p("id", "idempotencyKey"),
                one | changing, _multipart({}, []),
            )  # fmt: skip
        paths[f"/{slug}/{{id}}/files"] = item
    if issubclass(entry.model, transfers.Attachment):
        answer = _bytes("*/*") | reading
        paths[f"/{slug}/{{id}}/content"] = {
            "get": _operation(f"content_{word}", tag, _("Download the file"), _p("id"), answer)
        }
    if may(actor, entry, "import"):
        answer = _bytes("text/csv") | reading
        paths[f"/{slug}/template.csv"] = {
            "get": _operation(f"template_{word}", tag, _("An empty file to import"), [], answer)
        }
    return paths


def _describe_imports(paths: dict, record: dict, reading: dict, changing: dict) -> None:
    tag, text = transfers.IMPORTS, {"type": "string"}
    modes = {"type": "string", "enum": list(transfers.ImportRun.Mode.values)}
    settable = {"mode": modes, "name": {**text, "maxLength": 200}}
    started = _multipart(
        {"object": text, **settable, "mapping": text, "options": text, "whole": {"type": "string", "enum": ["0", "1"]}},
        ["object"],
    )
    schema = _object(
        {**settable, "mapping": {"type": "object"}, "options": {"type": "object"}, "whole": {"type": "boolean"}}, []
    )
    changed = {"required": True, "content": _json({**schema, "additionalProperties": False})}
    created = {"201": {**record["200"], "description": str(_("The file is in; its mapping is guessed."))}}
    paths[f"/{tag}/"]["post"] = _operation(
        "start_import", tag, _("Send a file; then look at its columns and preview, correct the mapping, and do dry_run or run"),
        _p("idempotencyKey"), created | changing, started,
    )  # fmt: skip
    paths[f"/{tag}/{{id}}/"]["patch"] = _operation(
        "change_import",
        tag,
        _("Another mapping, other options"),
        _p("id", "idempotencyKey"),
        record | changing,
        changed,
    )
    after = _parameter("after", _("The id of the last error that was read."), {"type": "integer", "minimum": 0})
    errors = _list_of(_object({n: {} for n in ("id", "row", "column", "value", "message")}, ["row", "message"]))
    refusals = reading | _refusals(("422",))
    anything = {"type": "object"}
    for word, summary, parameters, answer in (
        ("columns", _("Columns of the file, where they go and could go"), [], _ok(anything)),
        ("unknown", _("Texts that mean nothing here, with proposals"), [], _ok(_list_of(anything))),
        ("preview", _("The first records as they would be"), [], _ok(anything)),
        ("errors", _("What was refused, by row and column"), [*_p("limit"), after], _ok(errors)),
    ):
        get = _operation(f"{word}_import", tag, summary, [*_p("id"), *parameters], answer | refusals)
        paths[f"/{tag}/{{id}}/{word}"] = {"get": get}
    paths[f"/{tag}/{{id}}/errors.csv"] = {
        "get": _operation(
            "refused_rows_import", tag, _("The refused rows as a file"), _p("id"), _bytes("text/csv") | refusals
        )
    }


def _describe_exports(paths: dict, record: dict, reading: dict, changing: dict) -> None:
    tag = transfers.EXPORTS
    schema = _object(
        {
            "object": {"type": "string", "description": str(_("The plural, as in addresses: parties."))},
            "query": {
                "type": "object",
                "description": str(_("Filters, search and sort as in the address of the list.")),
            },
            "format": {"type": "string", "enum": ["csv", "xlsx"], "default": "csv"},
            "columns": {"type": "array", "items": {"type": "string"}},
        },
        ["object"],
    )
    body = {"required": True, "content": _json({**schema, "additionalProperties": False})}
    accepted = {"202": {**record["200"], "description": str(_("It is being written; look at its state."))}}
    paths[f"/{tag}/"]["post"] = _operation(
        "start_export", tag, _("Write records into a file"), _p("idempotencyKey"), accepted | changing, body
    )
    paths[f"/{tag}/{{id}}/content"] = {
        "get": _operation("content_exports", tag, _("Download the file"), _p("id"), _bytes("*/*") | reading)
    }


LIST_WORDS = ("fields", "search", "sort", "limit", "cursor", "count")


def _verb(actor: Actor, entry: Entry, spec: Verb, word: str, responses: dict) -> dict:
    seen = readable(actor, entry)
    arguments = {n: values.schema(seen[n], reading=False) for n in spec.arguments if n in seen}
    asked = [n for n in spec.asks if n in seen]
    schema = {**_object(arguments, asked), "additionalProperties": False}
    body = {"required": bool(asked), "content": _json(schema)}
    method = getattr(entry.model, spec.name)
    out = _operation(
        f"{spec.name}_{word}", entry.slug, spec.label, _p("id", "ifMatch", "idempotencyKey"), responses, body
    )
    if method.__doc__:
        out["description"] = " ".join(method.__doc__.split())
    return out


def _word(entry: Entry, word: additions.Word) -> dict:
    """What another room adds below an object or its records."""
    name = f"{word.name}_{'' if word.record else 'all_'}{entry.slug}".replace("-", "_")
    path = f"/{entry.slug}/{{id}}/{word.name}" if word.record else f"/{entry.slug}/{word.name}"
    where, answer = _p("id") if word.record else [], _ok({"type": "object"})
    said: dict = {}
    if word.read:
        asked = [_parameter(n, d) for n, d in word.query.items()]
        parameters = [*where, *asked]
        said["get"] = _operation(
            f"read_{name}", entry.slug, word.summary, parameters, answer | _refusals(READ_REFUSALS)
        )
    if word.do:
        fields = {n: {"type": "string", "description": str(d)} for n, d in word.body.items()}
        body = {"content": _json({"type": "object", "properties": fields, "additionalProperties": False})}
        said["post"] = _operation(
            name, entry.slug, word.summary, [*where, *_p("idempotencyKey")], answer | _refusals(CHANGE_REFUSALS), body
        )
    return {path: said}


def _pivot(actor: Actor, entry: Entry, name: str, word: str, refusals: dict) -> dict:
    seen = readable(actor, entry)
    groups = [n for n, f in seen.items() if pivots.can_group(f)]
    groups += [f"{n}:{span}" for n, f in seen.items() if values.is_time(f) for span in pivots.SPANS]
    measures = ["count", *(f"{how}:{n}" for how in pivots.SUMS for n, f in seen.items() if pivots.can_measure(how, f))]

    def several(name: str, choices: list[str], description: str) -> dict:
        schema = {"type": "array", "items": {"type": "string", "enum": choices}}
        return {
            "name": name,
            "in": "query",
            "style": "form",
            "explode": False,
            "schema": schema,
            "description": description,
        }

    parameters = [
        several("group_by", groups, _("Fields to group by, at most four; dates by day, week, month, quarter or year.")),
        several("measure", measures, _("What to count and sum; without it, count.")),
        *_p("search"),
        _parameter("sort", _("What you group by or measure; “-” before one turns it round.")),
        _parameter(
            "limit",
            _("Groups at most."),
            {"type": "integer", "minimum": 1, "maximum": pivots.MOST, "default": pivots.USUAL},
        ),
        *_filters(actor, entry, name),
    ]
    summary = _("Count and sum {things} by groups").format(things=entry.model._meta.verbose_name_plural)
    return _operation(f"aggregate_{word}", entry.slug, summary, parameters, _ok(_ref("Pivot")) | refusals)


def _bulk(word: str, tag: str, things: str, verbs: list[str], refusals: dict) -> dict:
    row = {
        "type": "object",
        "properties": {
            "verb": {"type": "string", "enum": verbs},
            "id": {"type": "string", "format": "uuid"},
            "data": {"type": ["object", "null"]},
            "version": {"type": "integer"},
        },
        "required": ["verb"],
        "additionalProperties": False,
    }
    body = {"required": True, "content": _json({"type": "array", "items": row, "minItems": 1, "maxItems": bulk.MOST})}
    atomic = _parameter("atomic", _("1: all or none."), {"type": "string", "enum": ["0", "1"]})
    refused = {
        "description": str(TITLES[422]),
        "content": {**_json(_ref("BulkResult")), CONTENT_TYPE: {"schema": _ref("Problem")}},
    }
    summary = _("Many changes of {things}, each answered by itself").format(things=things)
    responses = _ok(_ref("BulkResult")) | refusals | {"422": refused}
    return _operation(f"bulk_{word}", tag, summary, [atomic, *_p("idempotencyKey")], responses, body)
