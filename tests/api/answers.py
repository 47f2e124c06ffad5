"""What the tests say of answers: a problem with its code, a page's labels, a statement count."""

from __future__ import annotations

from contextlib import contextmanager
from urllib.parse import urlencode

from django.db import connection
from django.test.utils import CaptureQueriesContext

AT = "/api/v1"


def at(*parts: object, **query: object) -> str:
    """The address of these parts, with a query."""
    path = "/".join([AT, *(str(p) for p in parts)])
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def items(response) -> list[dict]:
    """The items of a list that was answered."""
    assert response.status_code == 200, response.content
    return response.json()["items"]


def names(response, field: str = "name") -> list:
    """One field of every item."""
    return [item[field] for item in items(response)]


def problem(response, status: int, code: str | None = None) -> dict:
    """The problem that was answered: its status, its media type and its members are right."""
    assert response.status_code == status, (response.status_code, response.content)
    assert response["Content-Type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == status and said["title"] and said["detail"] and said["type"].startswith("/api/v1/docs#")
    assert code is None or said["code"] == code, said
    return said


@contextmanager
def queries(most: int):
    """At most so many statements in the block; those that open the tenant do not count."""
    with CaptureQueriesContext(connection) as captured:
        yield captured
    sent = [q["sql"] for q in captured.captured_queries if "set_config('role'" not in q["sql"]]
    assert len(sent) <= most, "\n".join(sent)
