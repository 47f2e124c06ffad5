"""Real tenants as sites: what people do there, and a ledger of every value that they committed, with the stamp it got."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection, connections
from django.db.models import Case, Value, When
from two_sites import SYSTEM, Sites

from ostoja.access.models import User
from ostoja.crm.sales.models import Deal, DealLine, LostReason, Pipeline, Stage
from ostoja.documents.models import DealFile
from ostoja.gate import perform
from ostoja.hybrid import adopting, install, labels, withdrawing
from ostoja.hybrid import clocks as clocking
from ostoja.hybrid.core.wire import Stamp
from ostoja.hybrid.models import PolicyRule, Site
from ostoja.hybrid.sites import here
from ostoja.journal.context import changing
from ostoja.kernel.errors import OstojaError, Refused
from ostoja.party.models import Consent, ContactPoint, Party
from ostoja.planning.models import Activity
from ostoja.refusals import DATABASE_REFUSALS
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import Tenant
from ostoja.testing.people import make_user

from . import skew
from .backups import Backup
from .oracles import hold

REFUSALS = (OstojaError, OperationalError, *DATABASE_REFUSALS)  # whoever waits too long for another's lock gives up
OPENED = ("party.consent.source", "party.consent.text_version")  # so that something append-only travels to the cloud
POISON = """
CREATE TABLE test_poison (id uuid PRIMARY KEY);
CREATE FUNCTION test_poison() RETURNS trigger LANGUAGE plpgsql AS $poison$
BEGIN
  IF EXISTS (SELECT FROM test_poison p WHERE p.id = NEW.id) AND coalesce(current_setting('ostoja.actor', true), '') LIKE 'site:%' THEN
    RAISE EXCEPTION USING ERRCODE = '23514', CONSTRAINT = 'test_poison', MESSAGE = 'This row is refused.';
  END IF;
  RETURN NEW;
END $poison$;
CREATE TRIGGER test_poison BEFORE INSERT OR UPDATE ON party_party FOR EACH ROW EXECUTE FUNCTION test_poison();
"""


class Write(NamedTuple):
    """A value that was committed, and under which stamp."""

    site: str
    model: str
    id: str
    field: str
    value: str | None
    stamp: Stamp
    cl: int


class Token(NamedTuple):
    """Where a text that occurs nowhere else was written."""

    model: str
    id: str
    field: str


class World(Sites):
    """Sites by name: ``cloud`` and ``premises``, and ``laptop`` below the premises when there are three."""

    def __init__(self, lender, installation, laptop: bool = False):
        super().__init__()
        self.superuser = installation.superuser()
        self.sites = {"cloud": lender.lend(), "premises": lender.lend()}
        if laptop:
            self.sites["laptop"] = lender.lend()
        self.kept: dict[str, Backup] = {}
        self.other_policy = False
        for tenant in self.sites.values():
            skew.move(tenant, 0)
        self._found()
        for name, tenant in self.sites.items():
            with self.superuser.cursor() as cursor:
                role = f'"r_{tenant.schema_name}"'
                cursor.execute(
                    f"SET search_path = {tenant.schema_name}; {POISON} GRANT ALL ON test_poison TO {role}; RESET search_path"
                )
            self.kept[name] = Backup(self.superuser, tenant)
        self.again(0)

    def _found(self) -> None:
        cloud, premises = self.sites["cloud"], self.sites["premises"]
        with tenant_context(cloud):
            pipeline = perform(SYSTEM, Pipeline, "add", {"name": "Sales", "position": 0})
            for position, (name, kind, percent) in enumerate(
                [("Talk", "open", 10), ("Won", "won", 100), ("Lost", "lost", 0)]
            ):
                values = {
                    "pipeline": pipeline.pk,
                    "name": name,
                    "kind": kind,
                    "position": position,
                    "probability": percent,
                }
                perform(SYSTEM, Stage, "add", values)
            perform(SYSTEM, LostReason, "add", {"name": "Too dear"})
        self.join(cloud, premises)
        self.load()
        self._open_consents(premises)
        if "laptop" in self.sites:
            self.join(premises, self.sites["laptop"], Site.Kind.DESKTOP, "Laptop")
            self.load()
        self.talk()
        with tenant_context(cloud):
            hold(withdrawing.withdraw(), "I4", "the cloud gives nothing up")
        self.talk()
        with tenant_context(premises):
            self.reason = LostReason.objects.get()

    def _open_consents(self, premises) -> None:
        with tenant_context(premises):
            one, other = make_user("Olga Owner", owner=True), make_user("Ola Other", owner=True)
            with changing(SYSTEM, "policy"):
                for name in OPENED:
                    PolicyRule.objects.create(
                        about="field", name=name, level=0, state="force", proposed_by=one, approved_by=other
                    )
            adopting.adopt()

    def again(self, seed: int) -> None:
        """Everything is as it was in the beginning."""
        self.random = random.Random(seed)
        for backup in self.kept.values():
            backup.lay_back()
        for name in self.sites:
            if self.other_policy:
                self.reinstall(name)
            if skew.moved(self.sites[name]):
                skew.move(self.sites[name], 0)
            if self.sites[name].state != Tenant.State.OPEN:
                self.sites[name].state = Tenant.State.OPEN
                with platform_context():
                    self.sites[name].save(update_fields=["state"])
        self.seed, self.count, self.other_policy = seed, 0, False
        self.ledger: list[Write] = []
        self.deaths: dict[str, int] = {}
        self.made: dict[str, type] = {}
        self.tokens: dict[str, Token] = {}
        self.never: set[str] = set()  # what was written while it was closed
        self.secret: set[str] = set()  # that, and what was called back
        self.numbers: list[str] = []
        self.consents: set[str] = set()
        self.refusals: list[str] = []
        self.open: list[Person] = []
        self.furthest = 0
        self.renewals = 0
        self.wire.clear()

    def close(self) -> None:
        """Leave no backup behind."""
        for backup in self.kept.values():
            backup.drop()
        self.superuser.close()

    # people

    def token(self) -> str:
        """A text that occurs nowhere else."""
        self.count += 1
        return f"zq{self.seed:05d}x{self.count:04d}q"

    def act(self, site: str, action, *args) -> object:
        """Somebody does something, in one transaction; a refusal is noted, and nothing happened."""
        try:
            with tenant_context(self.sites[site]), changing(SYSTEM, "test"):
                _enter()
                done = action(*args)
                facts = self._facts(site)
        except REFUSALS as error:
            self.refusals.append(f"{site}: {getattr(error, 'message', error.args[0] if error.args else '')}")
            return None
        self._committed(facts)
        return done

    def _facts(self, site: str) -> list[tuple]:
        """What this transaction wrote, from the journal: (Write or death, closed)."""
        tables = here().tables
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT model, record::text, op, fields FROM journal_change WHERE xid = pg_current_xact_id()::text::bigint ORDER BY id"
            )
            rows = cursor.fetchall()
        clocks = clocking.read({r[1] for r in rows})
        levels = clocking.levels({r[1] for r in rows})
        facts: list[tuple] = []
        for model, id, op, columns in rows:
            table, clock = tables.get(model), clocks.get(id)
            if table is None or clock is None or op not in "IUD":
                continue
            if op == "D" or not clock.alive:
                facts.append((Write(site, model, id, "", None, clock.whole, clock.cl), False))
                continue
            values = _row(table, id)
            names = [table.by_column[c] for c in columns if c in table.by_column] if op == "U" else list(table.columns)
            for name in names if values else ():
                cell = clock.cells(values)[name]
                hold(cell.stamp.hlc > cell.base.hlc, "I7", site, model, id, name, cell)
                closed = table.levels[name] > 0 or levels.get(id, 0) > 0 or not table.holdable(0)
                facts.append((Write(site, model, id, name, cell.value, cell.stamp, clock.cl), closed))
        return facts

    def _committed(self, facts: list[tuple]) -> None:
        for write, closed in facts:
            if not write.field:
                self.deaths[write.id] = max(write.cl, self.deaths.get(write.id, 0))
                continue
            self.ledger.append(write)
            for token in _tokens(write.value):
                self.tokens.setdefault(token, Token(write.model, write.id, write.field))
                if closed and write.site != "cloud":
                    self.never.add(token)
                    self.secret.add(token)

    def begin(self, site: str, action, *args) -> None:
        """Somebody does something in a transaction that stays open."""
        person = Person(self, site, action, args)
        person.start()
        person.done.wait(20)
        if person.is_alive():
            self.open.append(person)

    def end(self, commit: bool = True) -> None:
        """The one who began first comes to an end."""
        if self.open:
            person = self.open.pop(0)
            person.commit = commit
            person.go.set()
            person.join(20)
            self._committed(person.facts if person.committed else [])

    def some(self, model: type, **known) -> object | None:
        """One of the living records of a model here, those of the first of all more often; the tenant is open."""
        keys = [k for k, m in self.made.items() if m is model]
        rows = {str(r.pk): r for r in model.objects.filter(pk__in=keys, **known)}
        present = [rows[k] for k in keys if k in rows]
        if not present:
            return None
        return present[min(self.random.randrange(len(present)), self.random.randrange(len(present)))]

    def _new(self, record):
        self.made[str(record.pk)] = type(record)
        return record

    def add_party(self):
        """A customer, with notes where they may be."""
        values = {"kind": "org", "name": self.token(), "city": self.token(), "is_customer": True}
        if not here().in_cloud:
            values["notes"] = self.token()
        if self.random.random() < 0.1:
            values["number"] = "P-SAME"
        if self.random.random() < 0.3 and (parent := self.some(Party)) is not None:
            values["parent"] = parent.pk
        return self._new(perform(SYSTEM, Party, "add", values))

    def add_deal(self):
        """A deal; sometimes with a number that others type as well."""
        party = self.some(Party)
        values = {
            "title": self.token(),
            "amount": str(self.random.randrange(1, 900)),
            "party": party.pk if party else "",
        }
        if self.random.random() < 0.2:
            values["number"] = f"N-{self.random.randrange(3)}"
        deal = self._new(perform(SYSTEM, Deal, "add", values))
        return deal

    def add_line(self):
        """A line of a deal."""
        deal = self.some(Deal)
        if deal is None:
            return None
        values = {
            "deal": deal.pk,
            "description": self.token(),
            "quantity": str(self.random.randrange(1, 9)),
            "price": "2.50",
        }
        return self._new(perform(SYSTEM, DealLine, "add", values))

    def add_consent(self):
        """Evidence, which is only added to."""
        party = self.some(Party)
        if party is None:
            return None
        values = {
            "party": party.pk,
            "state": "given",
            "source": self.token(),
            "channel": "email",
            "purpose": "marketing",
        }
        return self._new(perform(SYSTEM, Consent, "add", values))

    def add_closed(self):
        """What the cloud can't hold at all: a contact point, a call, a file's metadata."""
        party, deal = self.some(Party), self.some(Deal)
        which = self.random.randrange(3)
        if which == 0 and party is not None:
            values = {"party": party.pk, "type": "email", "value": f"{self.token()}@example.com"}
            return self._new(perform(SYSTEM, ContactPoint, "add", values))
        if which == 1:
            values = {"kind": "call", "subject": self.token(), "party": party.pk if party else ""}
            return self._new(perform(SYSTEM, Activity, "add", values))
        if deal is None:
            return None
        facts = {"name": self.token(), "size": 3, "mime": "text/plain", "sha256": "0" * 64, "key": str(uuid.uuid4())}
        return self._new(DealFile.objects.create(deal=deal, **facts))

    def edit_party(self):
        """A field of a customer."""
        party = self.some(Party)
        if party is None:
            return None
        name = self.random.choice(["name", "name", "city", "industry", "notes", "parent", "state", "merged_into"])
        if name in ("parent", "merged_into"):
            other = self.some(Party)
            value = other.pk if other.pk != party.pk else ""
            if name == "merged_into":
                return _save(party, merged_into_id=value or None)
        elif name == "state":
            value = self.random.choice(["prospect", "active", "blocked", "archived"])
            return _save(party, state=value)
        else:
            value = self.token()
        return perform(SYSTEM, party, "change", {name: value})

    def edit_deal(self):
        """A field of a deal."""
        deal = self.some(Deal)
        if deal is None:
            return None
        name = self.random.choice(["title", "title", "source", "amount", "party", "closes_on", "notes", "number"])
        if name == "party":
            other = self.some(Party)
            value = other.pk if other else ""
        elif name == "closes_on":
            value = f"2027-01-{self.random.randrange(1, 29):02d}"
        elif name == "amount":
            value = str(self.random.randrange(1, 900))
        elif name == "number":
            value = f"N-{self.random.randrange(3)}"
        else:
            value = self.token()
        return perform(SYSTEM, deal, "change", {name: value})

    def edit_line(self):
        """More or fewer of the same."""
        line = self.some(DealLine)
        if line is None:
            return None
        values = [{"quantity": str(self.random.randrange(1, 9))}, {"description": self.token()}, {"price": "3.10"}]
        return perform(SYSTEM, line, "change", self.random.choice(values))

    def step(self):
        """A deal is won, lost or opened again."""
        deal = self.some(Deal)
        if deal is None:
            return None
        if deal.state == "open":
            if self.random.random() < 0.6:
                return perform(SYSTEM, deal, "win")
            return perform(SYSTEM, deal, "lose", {"lost_reason": self.reason.pk})
        return _save(deal, state="open")  # the reason why is held on the premises, and so can't be asked in the cloud

    def win_and_edit(self):
        """Won, opened and changed in one go: the rules see each state in its turn, the other site only the last one."""
        deal = self.some(Deal, state="won")
        if deal is None:
            return None
        _save(deal, state="open")
        deal = perform(SYSTEM, Deal.objects.get(pk=deal.pk), "change", {"title": self.token()})
        return perform(SYSTEM, deal, "win")

    def delete(self):
        """Somebody deletes something."""
        record = self.some(self.random.choice([Party, Deal, Deal, DealLine, DealLine]))
        if record is None:
            return None
        if self.random.random() < 0.3:
            return record.delete()
        return perform(SYSTEM, record, "delete")

    def bring_back(self):
        """What was deleted comes back under its own key."""
        dead = [k for k, m in self.made.items() if m in (Party, Deal)]
        clocks = clocking.read(dead)
        dead = [k for k in dead if k in clocks and clocks[k].cl % 2 == 0 and not clocks[k].withheld]
        if not dead:
            return None
        key = dead[self.random.randrange(len(dead))]
        model = self.made[key]
        record = Party(id=key, name=self.token()) if model is Party else Deal(id=key, title=self.token(), amount=5)
        record.save(force_insert=True)
        return record

    def bulk(self):
        """Many at once, by the ORM and by plain SQL."""
        keys = [k for k, m in self.made.items() if m is Party][-4:]
        texts = [self.token() for _key in keys]
        if not keys:
            return None
        if self.random.random() < 0.5:
            each = [When(pk=key, then=Value(text)) for key, text in zip(keys, texts, strict=True)]
            return Party.objects.filter(pk__in=keys).update(industry=Case(*each, default=Value("")))
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE party_party p SET city = s.city FROM unnest(%s::uuid[], %s::text[]) AS s(id, city) WHERE p.id = s.id",
                [keys, texts],
            )
        return True

    def rename_stage(self):
        """The premises change what is theirs."""
        stage = Stage.objects.order_by("position").first()
        return perform(SYSTEM, stage, "change", {"name": self.token()})

    def rogue(self) -> None:
        """Somebody in the cloud tries to change what belongs to the premises, by SQL."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE sales_stage SET name = 'rogue'")
        hold(False, "I8", "the cloud changed a stage")

    # the premises decide what is sensitive

    def mark(self) -> None:
        """A record with its parts is sensitive from now on."""
        record = self.some(self.random.choice([Party, Deal, Deal]))
        if record is None or labels.close(SYSTEM, record) == 0:
            return
        family = {str(k) for _table, keys in labels._family(here(), record) for k in keys}
        self.secret |= {t for t, where in self.tokens.items() if where.id in family}

    def unmark(self) -> None:
        """It may leave again, as it is now."""
        closed = [
            k for k, level in clocking.levels([k for k, m in self.made.items() if m in (Party, Deal)]).items() if level
        ]
        if not closed:
            return
        key = sorted(closed)[self.random.randrange(len(closed))]
        record = self.made[key].objects.filter(pk=key).first()
        if record is not None:
            labels.reopen(SYSTEM, record)
            self.release()

    def release(self) -> None:
        """What is open now is no secret: what stands in the views of the cloud, and what stood there before a record was
        called back and opened again. The premises are open."""
        site = here()
        for table in site.tables:
            keys = [k for k, m in self.made.items() if m is table.model]
            if not keys or not table.holdable(0):
                continue
            closed = {k for k, level in clocking.levels(keys).items() if level}
            for key in set(keys) - closed:
                values = _row(table, key) or {}
                for name in table.open(0):
                    self.never -= set(_tokens(values.get(name)))
                    self.secret -= {t for t in self.secret - self.never if self.tokens[t] == (table.label, key, name)}

    def policy(self) -> None:
        """A field is closed, or opened again."""
        name = "party.party.city"
        closed = PolicyRule.objects.filter(name=name, state="force")
        if closed.exists():
            closed.update(state="over")
        else:
            PolicyRule.objects.create(about="field", name=name, level=1, state="force")
            self.secret |= {t for t, where in self.tokens.items() if where.field == "city"}

    def decide_policy(self) -> None:
        """The policy changes, and comes into force."""
        self.other_policy = True
        self.act("premises", self.policy)
        with tenant_context(self.sites["premises"]):
            adopting.adopt()
            self.release()

    # trouble

    def poison(self, site: str) -> None:
        """The database of this site refuses a customer from now on, when another site writes it."""
        keys = [k for k, m in self.made.items() if m is Party]
        if keys:
            with tenant_context(self.sites[site]), connection.cursor() as cursor:
                cursor.execute("INSERT INTO test_poison VALUES (%s) ON CONFLICT DO NOTHING", [self.random.choice(keys)])

    def cure(self) -> None:
        """Nothing is refused any more."""
        for tenant in self.sites.values():
            with tenant_context(tenant), connection.cursor() as cursor:
                cursor.execute("DELETE FROM test_poison")

    def turn_clock(self, site: str, ms: int) -> None:
        """The clock of one site goes wrong."""
        skew.move(self.sites[site], ms)
        self.furthest = max(self.furthest, ms)

    def restore(self, site: str, backup: Backup) -> None:
        """A site is what it was when the backup was taken, and goes on as a new incarnation."""
        from ostoja.hybrid import renewing

        backup.lay_back()
        with tenant_context(self.sites[site]):
            renewing.renew()
            keys = list({w.id for w in self.ledger})
        self.renewals += 1
        others = {}
        for name, tenant in self.sites.items():
            if name != site:
                with tenant_context(tenant):
                    others[name] = clocking.read(keys)
        with tenant_context(self.sites[site]):
            mine = clocking.read(keys)
        self.ledger = [
            w for w in self.ledger if w.site != site or _known(mine, w) or any(_known(c, w) for c in others.values())
        ]
        if site == "premises":
            self._forget_labels()

    def _forget_labels(self) -> None:
        """Labels that nobody else has heard of are forgotten with the premises."""
        with tenant_context(self.sites["cloud"]):
            withheld = {k for k, c in clocking.read(list(self.made)).items() if c.withheld}
        with tenant_context(self.sites["premises"]):
            closed = {k for k, level in clocking.levels(list(self.made)).items() if level}
            tables = here().tables
        secret = set()
        for token in self.secret:
            where = self.tokens[token]
            table = tables.get(where.model)
            if (
                where.id in closed | withheld
                or table is None
                or where.field not in table.open(0)
                or not table.holdable(0)
            ):
                secret.add(token)
        self.secret = secret

    def reinstall(self, site: str) -> None:
        """Triggers and views as the site's manifest says; a restored dump brings them along."""
        with tenant_context(self.sites[site]):
            now = here()
            install.install(
                self.sites[site],
                now.tables,
                now.number,
                in_cloud=now.in_cloud,
                owner=now.is_owner,
                closed=now.withdrawn,
            )


def _enter() -> None:
    """Nobody works at a site that was restored and has not caught up, or waits long for somebody else."""
    if Site.objects.filter(here=True, restored=True).exists():
        raise Refused("Nobody is let in.")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '400ms'")


class Person(threading.Thread):
    """Somebody whose transaction is open until told to commit or to roll back, on a connection of their own."""

    def __init__(self, world: World, site: str, action, args):
        super().__init__(daemon=True)
        self.world, self.site, self.action, self.args = world, site, action, args
        self.done, self.go = threading.Event(), threading.Event()
        self.commit, self.committed = True, False
        self.facts: list[tuple] = []

    def run(self) -> None:
        """Do it, wait, end."""
        try:
            with tenant_context(self.world.sites[self.site]), changing(SYSTEM, "test"):
                _enter()
                self.action(*self.args)
                self.facts = self.world._facts(self.site)
                self.done.set()
                self.go.wait(60)
                if not self.commit:
                    raise _Back
            self.committed = True
        except (_Back, InterfaceError, *REFUSALS):
            pass
        finally:
            self.done.set()
            with contextlib.suppress(Exception):
                connections.close_all()


class _Back(Exception):
    """It is rolled back."""


def _known(clocks: dict, write: Write) -> bool:
    clock = clocks.get(write.id)
    if clock is None:
        return False
    if write.cl < clock.cl:
        return True
    said = clock.stamps.get(write.field)
    return (Stamp(said[0], said[1]) if said else clock.whole) >= write.stamp and clock.cl == write.cl


def _row(table, id: str) -> dict | None:
    """{field: text} of a row as it stands in its table, with the references that are kept aside."""
    columns = ", ".join(f'"{c.column}"::text' for c in table.columns.values())
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT {columns} FROM "{table.name}" WHERE id = %s', [id])
        row = cursor.fetchone()
        if row is None:
            return None
        values = dict(zip(table.columns, row, strict=True))
        cursor.execute("SELECT field, target::text, alias FROM hybrid_absent WHERE record = %s", [id])
        values |= {
            name: f"~{target}" if alias else target for name, target, alias in cursor.fetchall() if values[name] is None
        }
    return values


def _save(record, **values):
    names = [n.removesuffix("_id") for n in values]
    for name, value in values.items():
        setattr(record, name, value)
    record.save(update_fields=[*names, "updated_at"])
    return record


def _tokens(value: str | None) -> list[str]:
    if not value or "zq" not in value:
        return []
    at = value.index("zq")
    return [value[at : at + 13]]


__all__ = ["Person", "Token", "User", "World", "Write"]
