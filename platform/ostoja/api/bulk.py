"""Many changes in one request: each row answered by itself, or all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.gate import Many, perform
from ostoja.kernel.errors import NotAllowed, OstojaError, Refused
from ostoja.kernel.registry import Entry

from .door import body_of, entry_at, key_in, query_of, reply
from .problems import BadRequest
from .records import given
from .values import dumps

MOST = 500
MEMBERS = ("verb", "id", "data", "version")


def many(request: HttpRequest, slug: str) -> HttpResponse:
    """Do each row of the list: ``{"verb": "add" | "change" | "delete" | a verb, "id", "data", "version"}``.

    ``?atomic=1``: when one row is refused, none is done, and the answer is 422 with the results as they would have been.
    """
    entry = entry_at(request, slug)
    query = query_of(request, known=("atomic",))
    together = (query.get("atomic") or [""])[-1] in ("1", "true")
    rows = body_of(request, list)
    if not 1 <= len(rows) <= MOST:
        raise BadRequest(_("Give 1 to {n} rows at a time.").format(n=MOST), code="wrong_number_of_rows")
    with transaction.atomic():
        results = list(_results(request, entry, rows))
        failed = sum(1 for r in results if r["status"] >= 400)
        if together and failed:
            transaction.set_rollback(True)
    body = {"results": results, "done": 0 if together and failed else len(results) - failed, "failed": failed}
    return reply(dumps(body), 422 if together and failed else 200)


def _results(request: HttpRequest, entry: Entry, rows: list) -> Iterator[dict]:
    """Runs of additions go through together, everything else one by one, in the order that was given."""
    run: list[tuple[int, dict]] = []
    for index, row in enumerate(rows):
        try:
            verb = _checked(entry, row)
            if verb == "add":
                run.append((index, given(entry, row.get("data") or {})))
                continue
        except OstojaError as error:
            yield from _added(request, entry, run)
            run = []
            yield _failed(index, error)
            continue
        yield from _added(request, entry, run)
        run = []
        yield _one(request, entry, index, verb, row)
    yield from _added(request, entry, run)


def _checked(entry: Entry, row: object) -> str:
    if not isinstance(row, dict):
        raise Refused(_("An object is expected."))
    wrong = {str(n): [_("There is no such member.")] for n in row if n not in MEMBERS}
    verb = row.get("verb")
    known = ("add", "change", "delete", *entry.verbs)
    if not isinstance(verb, str) or verb not in known:
        wrong["verb"] = [_("Choose one of: {choices}.").format(choices=", ".join(known))]
    elif verb == "add":
        wrong |= {n: [_("Not with “add”.")] for n in ("id", "version") if n in row}
    elif not isinstance(row.get("id"), str):
        wrong["id"] = [_("An id is expected.")]
    if "version" in row and (isinstance(row["version"], bool) or not isinstance(row["version"], int)):
        wrong["version"] = [_("A whole number is expected.")]
    if row.get("data") is not None and not isinstance(row["data"], dict):
        wrong["data"] = [_("An object is expected.")]
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)
    return verb


def _added(request: HttpRequest, entry: Entry, run: list[tuple[int, dict]]) -> Iterator[dict]:
    if not run:
        return
    try:
        outcomes = Many(request.actor, entry.model).add([data for _index, data in run])
    except NotAllowed as error:
        for index, _data in run:
            yield _failed(index, error)
        return
    for (index, _data), outcome in zip(run, outcomes, strict=True):
        if outcome.ok:
            yield {"index": index, "status": 201, "id": outcome.record.pk, "version": outcome.record.version}
        else:
            message = next((m for ms in outcome.errors.values() for m in ms), "")
            code = outcome.code or "invalid"
            error = Refused(message, fields=outcome.errors, code=code)
            error.status = NotAllowed.status if code == NotAllowed.code else Refused.status
            yield _failed(index, error)


def _one(request: HttpRequest, entry: Entry, index: int, verb: str, row: Mapping) -> dict:
    try:
        with transaction.atomic():
            target = entry.model(pk=key_in(entry, row["id"]))
            data = given(entry, row.get("data") or {}) if verb != "delete" else {}
            record = perform(request.actor, target, verb, data, version=row.get("version"))
    except OstojaError as error:
        if error.status >= 500:
            raise
        return _failed(index, error)
    if verb == "delete":
        return {"index": index, "status": 204, "id": record.pk}
    return {"index": index, "status": 200, "id": record.pk, "version": record.version}


def _failed(index: int, error: OstojaError) -> dict:
    out = {"index": index, "status": error.status, "code": error.code, "detail": error.message}
    fields = getattr(error, "fields", None)
    return {**out, "errors": fields} if fields else out
