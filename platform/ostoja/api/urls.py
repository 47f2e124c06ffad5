"""The addresses of the API, below ``/api/v1/``; each with and without a slash at its end."""

from django.urls import re_path

from . import bulk, me, openapi, pages, pivots, records, work
from .door import endpoint
from .pages import nothing

SLUG, KEY, WORD = r"(?P<slug>[a-z][a-z0-9-]*)", r"(?P<key>[^/]+)", r"(?P<verb>[a-z][a-z0-9_]*)"
RESERVED_SLUGS = frozenset({"docs", "jobs", "me", "openapi"})
RESERVED_WORDS = frozenset({"aggregate", "bulk", "history", "content"})

app_name = "api"
urlpatterns = [
    re_path(r"^(?:docs/?)?$", endpoint(open_to_all=True, GET=pages.docs), name="docs"),
    re_path(r"^openapi\.json/?$", endpoint(open_to_all=True, GET=openapi.read), name="openapi"),
    re_path(r"^me/?$", endpoint(GET=me.read), name="me"),
    re_path(r"^jobs/?$", endpoint(GET=work.listed), name="jobs"),
    re_path(rf"^jobs/{KEY}/cancel/?$", endpoint(POST=work.stopped), name="job-cancel"),
    re_path(rf"^jobs/{KEY}/?$", endpoint(GET=work.read), name="job"),
    re_path(rf"^{SLUG}/?$", endpoint(GET=records.listed, POST=records.created), name="list"),
    re_path(rf"^{SLUG}/bulk/?$", endpoint(POST=bulk.many), name="bulk"),
    re_path(rf"^{SLUG}/aggregate/?$", endpoint(GET=pivots.aggregated), name="aggregate"),
    re_path(
        rf"^{SLUG}/{KEY}/?$",
        endpoint(GET=records.read, PATCH=records.changed, DELETE=records.deleted),
        name="record",
    ),
    re_path(rf"^{SLUG}/{KEY}/history/?$", endpoint(GET=records.history), name="history"),
    re_path(rf"^{SLUG}/{KEY}/{WORD}/?$", endpoint(POST=records.verb_done), name="verb"),
    re_path(r"^.*$", endpoint(GET=nothing, POST=nothing, PATCH=nothing, DELETE=nothing), name="nothing"),
]
