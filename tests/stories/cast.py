"""The cast of the stories: people who use Ostoja through its own doors, and say in words what came of it.

What a person may not do, or did wrongly, they read out: the sentence that Ostoja answers with. Pages are asked by a
browser, records through the REST API, files through the import; nothing is done behind Ostoja's back.
"""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

from django.core import mail

from ostoja.access.actor_of import actor_of
from ostoja.access.models import User
from ostoja.exchange import demo, runs
from ostoja.exchange.models import ImportRun
from ostoja.jobs import runner
from ostoja.jobs.models import Job
from ostoja.kernel.errors import OstojaError
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import tenant_context
from ostoja.tenancy.models import Tenant
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import PASSWORD

SAID_OF_A_FIELD = r"""class="(?:errors"|avail" data-tone="red")[^>]*>(?:<svg[\s\S]*?</svg>)?(?:<span>)?([^<]+)"""


def words(page) -> str:
    """A page as it is read aloud."""
    text = re.sub(r"<(script|style)[\s\S]*?</\1>|<[^>]+>", " ", page.content.decode())
    return " ".join(html.unescape(text).split())


def looks_at_address(text: str) -> None:
    """Somebody types an address on the sign-up page and reads what stands below it."""
    print(words(Browser().get("/address", {"slug": text})))


def signs_up(company: str, address: str, email: str, industry: str, language: str = "en", password: str = PASSWORD):
    """Somebody fills in the sign-up page and presses the button; answers the person, at work in their tenant."""
    visitor = Browser()
    visitor.get("/")
    form = {
        "company": company, "slug": address, "email": email, "password": password, "blueprint": industry, "language": language,
        "website": "",
    }  # fmt: skip
    answer = visitor.post("/", form)
    if answer.status_code != 302:
        for sentence in re.findall(SAID_OF_A_FIELD, answer.content.decode()):
            print(html.unescape(sentence).strip())
        return None
    place = urlsplit(answer["Location"])
    tenant = provisioning.find(place.hostname)
    person = Person(tenant, email)
    person.enters(place.path)
    return person


class Record(dict):
    """One record as the API gave it."""

    def __repr__(self) -> str:
        return self.get("name") or self.get("title") or self.get("subject") or self["id"]


class Person:
    """Somebody who works in one company's tenant."""

    def __init__(self, tenant: Tenant, email: str):
        self.tenant = tenant
        self.browser = Browser(tenant)
        with tenant_context(tenant):
            self.user = User.objects.get(email=email.lower())
        self.program = Program.of(tenant, self.user)

    def enters(self, path: str) -> None:
        """Follow a link that signs in."""
        self.last = self.browser.get(path, follow=True)

    def opens(self, path: str) -> str:
        """Open a page; answers its words."""
        return words(self.browser.get(path, follow=True))

    def menu(self) -> None:
        """Read the navigation."""
        page = self.browser.get("/", follow=True).content.decode()
        navigation = re.search(r"<nav[\s\S]*?</nav>", page)
        items = re.findall(r'href="/([a-z-]+)"', navigation[0]) if navigation else []
        print(", ".join(dict.fromkeys(items)))

    def adds(self, slug: str, **fields) -> Record | None:
        """Add a record; a record that is given as a value is pointed to."""
        return self._answer("post", f"/api/v1/{slug}/", fields, slug)

    def changes(self, record: Record, **fields) -> Record | None:
        """Change fields of a record."""
        return self._answer("patch", self._path(record), fields, record.slug)

    def does(self, verb: str, record: Record, **fields) -> Record | None:
        """Do a verb on a record."""
        return self._answer("post", f"{self._path(record)}{verb}", fields, record.slug)

    def finds(self, slug: str, **filters) -> list[Record]:
        """The records of a list."""
        answer = self.program.get(
            f"/api/v1/{slug}/", {k: v["id"] if isinstance(v, Record) else v for k, v in filters.items()}
        )
        if answer.status_code != 200:
            print(answer.json()["detail"])
            return []
        return [self._record(item, slug) for item in answer.json()["items"]]

    def counts(self, slug: str, by: str, measure: str = "count") -> None:
        """Read a pivot of a list aloud, one group a line."""
        answer = self.program.get(f"/api/v1/{slug}/aggregate", {"group_by": by, "measure": measure}).json()
        for group in answer["items"]:
            label, *values = (v.get("label") if isinstance(v, dict) else v for v in group.values())
            print(f"{label}: {', '.join(str(v) for v in values)}")

    def history(self, record: Record) -> None:
        """Read what happened to a record, the first first."""
        for event in reversed(self.program.get(f"{self._path(record)}history").json()["items"]):
            changed = [change["field"] for change in event["fields"]]
            print(": ".join([event["verb"], *([", ".join(changed)] if changed else [])]))

    def imports(self, slug: str, text: str, columns: dict[str, str]) -> ImportRun | None:
        """Put a file into an object, say which column is what, and check it; read the counts, then what is refused."""
        mapping = {"version": 1, "mode": "add", "columns": [{"from": name, "to": to} for name, to in columns.items()]}
        with tenant_context(self.tenant):
            try:
                run = runs.start(actor_of(self.user), slug, text.encode(), f"{slug}.csv", mapping=mapping)
                run = demo.execute(self.tenant, runs.check(actor_of(self.user), run))
            except OstojaError as error:
                print(error.message)
                return None
            self._tell(run)
        return run

    def goes_ahead(self, run: ImportRun) -> None:
        """Import what was checked, and read the counts."""
        with tenant_context(self.tenant):
            self._tell(demo.execute(self.tenant, runs.go(actor_of(self.user), run)))

    def undoes(self, run: ImportRun) -> None:
        """Take a whole import back, and read what became of it."""
        with tenant_context(self.tenant):
            undone = demo.execute(self.tenant, runs.undo(actor_of(self.user), run)).result["undo"]
        print(f"{undone['deleted']} deleted, {undone['kept_count']} kept")

    def invites(self, email: str, name: str, *roles: str, department: Record | None = None) -> Person | None:
        """Ask a colleague to join; answers the colleague, who took the link from the letter, or reads the refusal."""
        form = {"email": email, "name": name, "role_codes": roles, "department": department["id"] if department else ""}
        page = self.browser.post("/settings/people/invite", form)
        if page.status_code != 204:
            print(words(page))
            return None
        self._deliver()
        link = re.search(r"http://\S+/invitation/\S+", mail.outbox[-1].body)[0]
        visitor = Browser(self.tenant)
        visitor.post(urlsplit(link).path, {"name": name, "password": PASSWORD})
        colleague = Person(self.tenant, email)
        colleague.browser = visitor
        return colleague

    def mail(self) -> None:
        """Read the subjects of one's letters."""
        self._deliver()
        for letter in mail.outbox:
            if self.user.email in letter.to:
                print(letter.subject)

    def _deliver(self) -> None:
        with tenant_context(self.tenant):
            for job in Job.objects.filter(kind="access.mail", state=Job.State.QUEUED):
                runner.execute(self.tenant, job.pk)

    def _tell(self, run: ImportRun) -> None:
        print(f"{run.created} new, {run.updated} changed, {run.failed} refused")
        for error in runs.errors(run, 20):
            print(f"row {error.row}, {error.column}: {error.message}")

    def _path(self, record: Record) -> str:
        return f"/api/v1/{record.slug}/{record['id']}/"

    def _answer(self, method: str, path: str, fields: dict, slug: str) -> Record | None:
        answer = getattr(self.program, method)(
            path, {k: v["id"] if isinstance(v, Record) else v for k, v in fields.items()}
        )
        if answer.status_code >= 400:
            print(answer.json()["detail"])
            return None
        return self._record(answer.json(), slug)

    def _record(self, item: dict, slug: str) -> Record:
        record = Record(item)
        record.slug = slug
        return record
