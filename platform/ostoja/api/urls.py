"""The addresses of the API, below ``/api/v1/``; each with and without a slash at its end."""

from functools import partial

from django.urls import re_path

from . import additions, bulk, me, openapi, pages, pivots, records, transfers, work
from .door import endpoint
from .pages import nothing

SLUG, KEY, WORD = r"(?P<slug>[a-z][a-z0-9-]*)", r"(?P<key>[^/]+)", r"(?P<verb>[a-z][a-z0-9_]*)"
RESERVED_SLUGS = frozenset({"docs", "jobs", "me", "openapi"})
RESERVED_WORDS = frozenset(
    {"aggregate", "bulk", "columns", "content", "errors", "files", "history", "preview", "template", "unknown"}
)

app_name = "api"
urlpatterns = [
    re_path(r"^(?:docs/?)?$", endpoint(open_to_all=True, GET=pages.docs), name="docs"),
    re_path(r"^openapi\.json/?$", endpoint(open_to_all=True, GET=openapi.read), name="openapi"),
    re_path(r"^me/?$", endpoint(GET=me.read), name="me"),
    re_path(r"^jobs/?$", endpoint(GET=work.listed), name="jobs"),
    re_path(rf"^jobs/{KEY}/cancel/?$", endpoint(POST=work.stopped), name="job-cancel"),
    re_path(rf"^jobs/{KEY}/?$", endpoint(GET=work.read), name="job"),
    re_path(
        r"^imports/?$",
        endpoint(files=True, GET=partial(records.listed, slug="imports"), POST=transfers.import_started),
        name="imports",
    ),
    re_path(rf"^imports/{KEY}/columns/?$", endpoint(GET=transfers.import_columns), name="import-columns"),
    re_path(rf"^imports/{KEY}/unknown/?$", endpoint(GET=transfers.import_unknown), name="import-unknown"),
    re_path(rf"^imports/{KEY}/preview/?$", endpoint(GET=transfers.import_preview), name="import-preview"),
    re_path(rf"^imports/{KEY}/errors/?$", endpoint(GET=transfers.import_errors), name="import-errors"),
    re_path(rf"^imports/{KEY}/errors\.csv/?$", endpoint(GET=transfers.import_refused_rows), name="import-refused"),
    re_path(
        r"^exports/?$",
        endpoint(GET=partial(records.listed, slug="exports"), POST=transfers.export_started),
        name="exports",
    ),
    re_path(rf"^exports/{KEY}/content/?$", endpoint(GET=transfers.export_content), name="export-content"),
    re_path(rf"^{SLUG}/?$", endpoint(GET=records.listed, POST=records.created), name="list"),
    re_path(
        rf"^{SLUG}/{additions.pattern(record=False)}/?$",
        endpoint(GET=additions.answered, POST=additions.answered),
        name="object-word",
    ),
    re_path(rf"^{SLUG}/bulk/?$", endpoint(POST=bulk.many), name="bulk"),
    re_path(rf"^{SLUG}/template\.csv/?$", endpoint(GET=transfers.template), name="template"),
    re_path(rf"^{SLUG}/aggregate/?$", endpoint(GET=pivots.aggregated), name="aggregate"),
    re_path(
        rf"^imports/{KEY}/?$",
        endpoint(
            GET=partial(records.read, slug="imports"),
            PATCH=transfers.import_changed,
            DELETE=partial(records.deleted, slug="imports"),
        ),
        name="import",
    ),
    re_path(
        rf"^{SLUG}/{KEY}/?$",
        endpoint(GET=records.read, PATCH=records.changed, DELETE=records.deleted),
        name="record",
    ),
    re_path(rf"^{SLUG}/{KEY}/history/?$", endpoint(GET=records.history), name="history"),
    re_path(
        rf"^{SLUG}/{KEY}/files/?$",
        endpoint(files=True, GET=transfers.record_files, POST=transfers.file_attached),
        name="files",
    ),
    re_path(rf"^{SLUG}/{KEY}/content/?$", endpoint(GET=transfers.file_content), name="content"),
    re_path(
        rf"^{SLUG}/{KEY}/{additions.pattern(record=True)}/?$",
        endpoint(GET=additions.answered, POST=additions.answered),
        name="record-word",
    ),
    re_path(rf"^{SLUG}/{KEY}/{WORD}/?$", endpoint(POST=records.verb_done), name="verb"),
    re_path(r"^.*$", endpoint(GET=nothing, POST=nothing, PATCH=nothing, DELETE=nothing), name="nothing"),
]
