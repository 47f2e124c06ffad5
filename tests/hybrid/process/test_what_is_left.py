"""What is left in the cloud when all is over: not a word that is closed, in no form, in no file, in nothing that was said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace

import papers
import pytest
from installations import OWNER, Refused, dump, until
from proxy import Proxy
from visitor import Visitor, upload

from ostoja.testing.canaries import Canaries

DEMO_PASSWORD = "ostoja-demo"
# Where a value that was open and was called back may still be, and how long: until the write-ahead log comes round, and
# until autovacuum has been over the statistics of the whole installation. Backups are a matter of their retention.
RESIDUE = ("postgres/pg_wal/",)


class Recorder(Proxy):
    """A line that keeps every byte that passed, whatever was answered."""

    def __init__(self, upstream: int):
        super().__init__(upstream)
        self.bytes: list[bytes] = []

    def carry(self, path: str, lane: str, headers: dict[str, str], body: bytes) -> tuple[int, dict, bytes]:
        """Pass on, and keep all of it."""
        status, said, answer = super().carry(path, lane, headers, body)
        self.bytes += [path.encode(), repr(headers).encode(), body, repr(said).encode(), answer]
        return status, said, answer


@pytest.fixture(scope="module")
def over(both):
    """The story is told, both sides are stopped; what was looked at while they ran."""
    both.go_on()
    line = Recorder(both.cloud.port)
    both.lead(both.premises, line.port)
    story = Story(both)
    try:
        story.tell()
        dumped = dump(both.cloud)
        there = story.closed.found(dump(both.premises)) | set().union(
            *story.closed.in_files(both.premises.home / "files").values()
        )
        logs = {
            place: set().union(*(c.in_file(place) for c in (story.closed, story.open, story.recalled)))
            for side in (both.cloud, both.premises)
            for place in (side.home / "logs").iterdir()
        }
    finally:
        both.stop()
        line.close()
    return SimpleNamespace(pair=both, story=story, wire=line.bytes, dump=dumped, there=there, logs=logs)


class Story:
    """What people do for a day. ``closed`` must never be in the cloud, or was typed there and refused; ``open`` may be there;
    ``recalled`` was there and was called back."""

    def __init__(self, pair):
        self.pair, self.p, self.c = pair, pair.premises, pair.cloud
        self.closed, self.open, self.recalled = Canaries(), Canaries(), Canaries()

    def tell(self) -> None:
        """All of it."""
        self.by_the_api()
        self.by_pages()
        self.wrong_requests()
        self.by_files()
        self.conflicts()
        self.in_the_cloud()
        self.pair.at_rest()
        self.a_purge()
        self.export_from(self.c)
        self.pair.at_rest(120)
        self.pair.equal()

    def by_the_api(self) -> None:
        """Everything of one customer, and a deal."""
        p, closed = self.p, self.closed
        party = self.party = p.call(
            "POST", "/parties", {
                "kind": "org", "name": self.open.text("party.name"), "notes": closed.text("party.notes"),
                "annual_revenue": str(closed.number("party.revenue", 12)),
            }, key="leak-1",
        )  # fmt: skip
        mine = {"party": party["id"]}
        p.call("PATCH", f"/parties/{party['id']}", {"notes": closed.text("party.notes again") * 40, "city": "Gdynia"})
        for slug, data in {
            "contact-points": {"type": "email", "value": closed.email("contact.email")},
            "tax-ids": {"type": "nip", "country": "PL", "value": closed.nip("tax.nip")},
            "bank-accounts": {"iban": closed.iban("bank.iban"), "bank": closed.text("bank.bank"), "currency": "PLN"},
            "addresses": {"type": "seat", "line1": closed.text("address.line1"), "city": "Gdynia", "country": "PL"},
            "activities": {
                "kind": "note",
                "subject": closed.text("activity.subject"),
                "body": closed.text("activity.body"),
            },
        }.items():
            p.call("POST", f"/{slug}", mine | data)
        p.call("POST", "/contact-points", mine | {"type": "phone", "value": closed.phone("contact.phone")})
        deal = p.call(
            "POST",
            "/deals",
            mine | {"title": self.open.text("deal.title"), "amount": "5", "notes": closed.text("deal.notes")},
        )
        p.call("POST", f"/deals/{deal['id']}/win", {})
        p.call("POST", f"/deals/{deal['id']}/reopen", {"reopened_because": closed.text("deal.reopened")})
        gone = p.call("POST", "/deals", mine | {"title": "Quiet", "amount": "1", "notes": closed.text("deleted.notes")})
        p.call("DELETE", f"/deals/{gone['id']}")
        self.deal = deal

    def by_pages(self) -> None:
        """In a browser on the premises: signing in, wrongly first, a search, an invitation that goes out as a letter."""
        somebody = Visitor(self.p)
        assert somebody.sign_in(OWNER, self.closed.text("a wrong password")) != 302
        assert somebody.sign_in(OWNER, DEMO_PASSWORD) == 302
        edit = f"/parties/{self.party['id']}/edit"
        status, _said = somebody.get(f"/parties?q={self.closed.text('a search')}")
        assert status == 200
        for path in (f"/parties/{self.party['id']}", edit, f"/palette?q={self.closed.text('a search in the palette')}"):
            assert somebody.get(path)[0] == 200
        somebody.post(
            edit,
            {"name": self.open.text("by a page"), "notes": self.closed.text("party.notes by a page"), "kind": "org"},
        )
        somebody.post(
            "/settings/people/invite",
            {
                "email": self.closed.email("invited"),
                "name": self.closed.text("invited by name"),
                "role_codes": "salesperson",
            },
        )
        self.somebody = somebody

    def wrong_requests(self) -> None:
        """Requests that are refused on the premises, with values in them."""
        p, closed = self.p, self.closed
        wrong = [
            ("POST", "/bank-accounts", {"party": self.party["id"], "iban": closed.text("no IBAN", 30)}),
            ("POST", "/parties", {"kind": closed.text("no kind"), "name": closed.text("refused.name")}),
            ("PATCH", f"/parties/{self.party['id']}", {"annual_revenue": closed.text("no number")}),
            ("PATCH", f"/parties/{self.party['id']}", {closed.text("no field"): "x"}),
            ("GET", f"/parties/{closed.text('no key')}", None),
            ("POST", "/deals", {"title": "x", "party": closed.text("no party"), "amount": "1"}),
            ("GET", f"/parties?sort={closed.text('no sort')}", None),
        ]
        for method, path, data in wrong:
            with pytest.raises(Refused) as refused:
                p.call(method, path, data)
            assert 400 <= refused.value.status < 500
        taken = closed.nip("taken NIP")
        for _twice in range(2):
            try:
                p.call("POST", "/tax-ids", {"party": self.party["id"], "type": "nip", "country": "PL", "value": taken})
            except Refused as error:
                assert error.status == 422

    def by_files(self) -> None:
        """An import with wrong rows, an export, papers; on the premises."""
        p, closed = self.p, self.closed
        rows = [f"{self.open.text(f'imported {n}')},org,{closed.text(f'imported.notes {n}')},12" for n in range(20)]
        rows += [f"Wrong,org,{closed.text('refused.notes')},{closed.text('refused.employees')}"]
        content = "name,kind,notes,employees\n" + "\n".join(rows) + "\n"
        fields = ("name", "kind", "notes", "employees")
        mapping = json.dumps({"version": 1, "columns": [{"from": n, "to": n} for n in fields]})
        status, said = upload(
            p, "/imports", f"{closed.text('file.name')}.csv", content.encode(), object="parties", mapping=mapping
        )
        assert status == 201, said
        run = json.loads(said)
        p.call("POST", f"/imports/{run['id']}/run", {})
        until(
            lambda: p.call("GET", f"/imports/{run['id']}")["state"] == "done",
            60,
            lambda: p.call("GET", f"/imports/{run['id']}"),
        )
        self.export_from(p, "xlsx")
        for name, kind in (("pdf", papers.pdf), ("docx", papers.docx), ("jpg", papers.jpeg)):
            word = closed.text(f"in a {name}")
            status, said = upload(
                p, f"/parties/{self.party['id']}/files", f"{closed.text(f'name of a {name}')}.{name}", kind(word)
            )
            assert status == 201, said

    def export_from(self, at, format: str = "csv") -> None:
        """All parties of one side as a file."""
        made = at.call("POST", "/exports", {"object": "parties", "format": format})
        until(lambda: at.call("GET", f"/exports/{made['id']}")["state"] == "done", 60)

    def conflicts(self) -> None:
        """The line is bad while both sides work on the same records."""
        deal = f"/deals/{self.deal['id']}"
        self.pair.at_rest()
        self.p.kill("agent")
        for number in range(3):
            self.p.call(
                "PATCH",
                deal,
                {"title": self.open.text(f"here {number}"), "notes": self.closed.text(f"deal.notes {number}")},
            )
            self.c.call("PATCH", deal, {"title": self.open.text(f"there {number}")})
        self.p.kill("agent")

    def in_the_cloud(self) -> None:
        """Somebody in the cloud types what is closed there, and is refused; exports and looks for what is open."""
        c, closed = self.c, self.closed
        wrong = [
            ("PATCH", f"/parties/{self.party['id']}", {"notes": closed.text("typed: party.notes")}),
            ("POST", "/parties", {"kind": "org", "name": "Typed", "notes": closed.text("typed: new.notes")}),
            (
                "POST",
                "/contact-points",
                {"party": self.party["id"], "type": "email", "value": closed.email("typed: contact.email")},
            ),
            (
                "POST",
                "/bank-accounts",
                {"party": self.party["id"], "iban": closed.iban("typed: bank.iban"), "currency": "PLN"},
            ),
            (
                "POST",
                "/activities",
                {"kind": "note", "subject": closed.text("typed: activity.subject"), "party": self.party["id"]},
            ),
        ]
        self.pair.at_rest()
        for method, path, data in wrong:
            with pytest.raises(Refused) as refused:
                c.call(method, path, data)
            assert refused.value.status in (403, 409, 422), refused.value
        self.export_from(c)
        visitor = Visitor(c)
        assert visitor.sign_in(OWNER, DEMO_PASSWORD) == 302
        for path in (f"/parties/{self.party['id']}", f"/deals/{self.deal['id']}", "/parties?q=Gdynia", "/conflicts"):
            assert visitor.get(path)[0] == 200

    def a_purge(self) -> None:
        """A record is marked as sensitive; what the cloud had of it goes, at once and then from the files."""
        c, p, recalled = self.c, self.p, self.recalled
        party = c.call("POST", "/parties", {"kind": "org", "name": recalled.text("name")}, key="leak-2")
        c.call(
            "PATCH", f"/parties/{party['id']}", {"name": recalled.text("second name"), "city": recalled.text("city")}
        )
        deal = c.call("POST", "/deals", {"title": recalled.text("title"), "party": party["id"], "amount": "7"})
        self.export_from(c)
        self.pair.at_rest()
        assert self.recalled.found(dump(c)), "The scan does not find what is there."
        for slug, key in (("deals", deal["id"]), ("parties", party["id"])):
            status, said = self.somebody.post(f"/hybrid/{slug}/{key}/mark", {}, on=f"/{slug}/{key}")
            assert status in (200, 204, 302, 303), said
        until(lambda: c.get(f"/parties/{party['id']}") is None and c.get(f"/deals/{deal['id']}") is None, 60)
        assert p.get(f"/parties/{party['id']}")["name"] in recalled.texts
        c.command("manage", "shell", "-c", COMPACT)


COMPACT = """
from ostoja.hybrid import copies
from ostoja.jobs.models import Job
from ostoja.tenancy.context import tenant_context
from ostoja.tenancy.provisioning import find
with tenant_context(find("demo")):
    copies.compact(Job.objects.get(kind=copies.KIND, state="queued").args["tables"])
"""


@pytest.fixture(scope="module")
def files(over):
    """{file of the cloud: what is in it of what is closed, and of what was called back}; all files are read once."""
    looked_for = Canaries.together(closed=over.story.closed, recalled=over.story.recalled)
    return looked_for.in_files(over.pair.home, but=[over.pair.premises.home])


def those(files: Mapping[str, set[str]], kind: str) -> Mapping[str, set[str]]:
    """Those of one of both."""
    mine = {name: {one for one in found if one.startswith(f"{kind}: ")} for name, found in files.items()}
    return {name: found for name, found in mine.items() if found}


def test_nothing_closed_was_said_to_the_cloud(over):
    assert any(over.story.open.found(one) for one in over.wire), "The scan does not find what is there."
    assert set().union(*(over.story.closed.found(one) for one in over.wire)) == set()


def test_nothing_closed_is_in_a_dump_of_the_cloud(over):
    assert over.story.open.found(over.dump), "The scan does not find what is there."
    assert over.story.closed.found(over.dump) == set()


def test_no_file_of_the_cloud_holds_what_is_closed(files):
    assert those(files, "closed") == {}


@pytest.mark.parametrize("side", ["cloud", "premises"])
def test_no_program_of_either_side_has_logged_a_value(over, side):
    folder = getattr(over.pair, side).home / "logs"
    logs = {place.stem: found for place, found in over.logs.items() if place.parent == folder}
    assert logs.keys() >= {"web", "worker", "schedule", "postgres", "broker"}
    assert {name: found for name, found in logs.items() if found} == {}


def test_what_was_called_back_is_in_no_live_data(over, files):
    assert over.story.recalled.found(over.dump) == set()
    assert {name for name in those(files, "recalled") if not name.startswith(RESIDUE)} == set()


@pytest.mark.parametrize("place", ["files", "postgres/pg_wal", "postgres/base"])
def test_the_scan_finds_open_values_in_every_kind_of_file(over, place):
    some = (path for path in sorted((over.pair.cloud.home / place).rglob("*"), reverse=True) if path.is_file())
    assert any(over.story.open.in_file(path) for path in some)


def test_everything_closed_is_on_the_premises(over):
    in_rows = {
        "activity.body", "address.line1", "bank.iban", "contact.email", "contact.phone", "deal.notes 2", "deal.reopened", "deleted.notes",
        "imported.notes 7", "party.notes by a page", "tax.nip",
    }  # fmt: skip
    assert over.there >= in_rows | {"in a pdf", "in a docx", "in a jpg"}
