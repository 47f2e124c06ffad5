"""A pair of sites with HTTP between them: the cloud's real views answer what the premises' lanes post."""

from __future__ import annotations

from django.test import Client
from two_sites import SYSTEM

from ostoja.hybrid import views
from ostoja.hybrid.dialling import Caller, Line, Unreachable
from ostoja.hybrid.models import Link
from ostoja.journal.context import changing
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import host_of


class Answer:
    """An answer of Django's test client as the dialling site reads it."""

    def __init__(self, response):
        self.status, self.data, self.headers = response.status_code, response.content, response.headers


def send(pair, path, body, headers):
    """A request at the cloud as anybody may send it."""
    named = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items() if k.startswith("X-")}
    return Client().post(path, body, content_type="application/octet-stream", HTTP_HOST=host_of(pair.cloud), **named)


def caller(lane="push") -> Caller:
    """A lane of the open tenant's only link."""
    return Caller(Link.objects.select_related("site", "progress").get(), lane)


def connect(pair, monkeypatch) -> None:
    """From now on the lanes of the premises reach the cloud.

    ``pair.heard`` gets (path, body, headers) of every request; of each true in ``pair.lost`` an answer is lost.
    """
    pair.heard, pair.lost = [], []
    with tenant_context(pair.premises), changing(SYSTEM, "change"):
        Link.objects.update(url="http://cloud.localhost")

    def post(line, path, body, headers):
        pair.heard.append((path, body, headers))
        response = send(pair, path, body, headers)
        if response.status_code >= 400:
            raise Unreachable(response.json()["detail"], code=response.json()["code"])
        if pair.lost and pair.lost.pop():
            raise Unreachable("The answer was lost.")
        return Answer(response)

    monkeypatch.setattr(Line, "post", post)
    monkeypatch.setattr(views, "LONGEST_WAIT", 0.1)
