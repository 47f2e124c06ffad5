"""Every object that travels converges on two sites, keeps what is closed at home, leaves when it is marked, and comes back."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import orjson
import pytest
from django.db import Error, connection, models, transaction
from two_sites import SYSTEM, Pair

from ostoja.access.actor_of import actor_of
from ostoja.access.models import User
from ostoja.gate import perform
from ostoja.hybrid import clocks as clocking
from ostoja.hybrid import files, labels, withdrawing
from ostoja.hybrid.core.terms import OPEN, Authority, Merge
from ostoja.hybrid.exchange import Message
from ostoja.hybrid.install import closed_columns, view_of
from ostoja.hybrid.manifest import AUTHORITY, compile_manifest
from ostoja.hybrid.models import Conflict, Link, Parcel, Parked
from ostoja.hybrid.sending import as_sender
from ostoja.hybrid.tables import Table, tables_of
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.data import Sync
from ostoja.kernel.errors import OstojaError
from ostoja.kernel.ids import uuid7
from ostoja.tenancy.context import current_tenant, tenant_context
from ostoja.testing.canaries import Canaries
from ostoja.testing.people import make_user
from ostoja.testing.samples import Samples

ENTRIES = sorted(registry.entries(), key=lambda e: e.label)
TABLES = tables_of(compile_manifest().canonical)
TRAVELLING = [e for e in ENTRIES if e.model.sync in AUTHORITY]
STAYING = [e for e in ENTRIES if e.model.sync not in AUTHORITY]
APPENDED = [e for e in TRAVELLING if e.model.sync == Sync.APPEND]
OWNED = [e for e in TRAVELLING if e.model.sync == Sync.PREMISES]
HELD = [e for e in TRAVELLING if TABLES.by_label[e.label].holdable(OPEN)]

# Records of these can't be in the cloud at all, because a row can't be without a field that is closed. May only get shorter.
STAYS_AT_HOME = {
    "documents.activityfile", "documents.dealfile", "documents.partyfile", "documents.productfile", "party.address", "party.bankaccount",
    "party.consent", "party.contactpoint", "party.taxid", "planning.activity",
}  # fmt: skip

UNDYING = {"party.consent"}  # evidence: a rule of the table lets nobody delete it


def each(entries):
    return pytest.mark.parametrize("entry", entries, ids=lambda e: e.label)


def table_of(entry) -> Table:
    return TABLES.by_label[entry.label]


def closed_fields(table: Table) -> list[str]:
    return [name for name in table.columns if name not in table.open(OPEN)]


Projection = dict[str, dict[str, dict[str, tuple]]]


class Sites(Pair):
    """A pair that keeps what was said to the cloud."""

    def __init__(self, cloud, premises):
        self.down: list[bytes] = []
        super().__init__(cloud, premises)

    def carry(self, packed: bytes) -> Message:
        if current_tenant() == self.cloud:
            self.down.append(packed)
        return super().carry(packed)

    def projection(self, tenant) -> Projection:
        """{object: {record: {field: (value, stamp)}}} of all that both sites should hold, and as they hold it."""
        ceiling = 1 if tenant is self.cloud else OPEN
        out: Projection = {}
        with tenant_context(tenant), as_sender(ceiling), connection.cursor() as cursor:
            prefix = "whole" if ceiling else "egress"
            for table in TABLES:
                if not table.holdable(OPEN):
                    continue
                names = table.open(OPEN)
                columns = "".join(f', "{name}"' for name in names)
                cursor.execute(f'SELECT id::text{columns} FROM "{view_of(table, ceiling)}"')
                rows = {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}
                clocks = clocking.read(list(rows), source=f"{prefix}_clock")
                out[table.label] = {
                    id: {n: clocks[id].cell(n, v)[:2] for n, v in row.items()} for id, row in rows.items()
                }
        return out

    def keys(self, tenant) -> set[str]:
        """The keys of all records of one site."""
        union = " UNION ALL ".join(f'SELECT id::text FROM "{table.name}"' for table in TABLES)
        with tenant_context(tenant), connection.cursor() as cursor:
            cursor.execute(union)
            return {row[0] for row in cursor.fetchall()}

    def everything_in_the_cloud(self) -> str:
        """Every row of every table as text."""
        out = []
        with tenant_context(self.cloud), connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            for (name,) in cursor.fetchall():
                cursor.execute(f'SELECT t::text FROM "{name}" t')
                out += [row[0] for row in cursor.fetchall()]
        return "\n".join(out)

    def texts(self, tenant, table: Table, key) -> dict[str, str | None] | None:
        """A row as one site has it, all fields as text."""
        columns = ", ".join(f'"{c.column}"::text' for c in table.columns.values())
        with tenant_context(tenant), connection.cursor() as cursor:
            cursor.execute(f'SELECT {columns} FROM "{table.name}" WHERE id = %s', [str(key)])
            row = cursor.fetchone()
        return dict(zip(table.columns, row, strict=True)) if row else None


class CloudLog(logging.Handler):
    """What is logged while the cloud's tenant is open."""

    def __init__(self, cloud):
        super().__init__(logging.DEBUG)
        self.cloud = cloud
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        try:
            if current_tenant() == self.cloud:
                self.lines.append(self.format(record))
        except OstojaError:
            return


@dataclass
class Step:
    """What both sites hold after a step, and what the cloud refused or nobody could do, by object."""

    here: Projection
    there: Projection
    keys_here: set[str]
    keys_there: set[str]
    leaks: set[str]
    notes: dict[str, object] = field(default_factory=dict)


class Life:
    """The life of one record of every object, told step by step over one pair of sites."""

    def __init__(self, cloud, premises):
        self.cloud, self.premises = cloud, premises
        self.listening = CloudLog(cloud)
        self.canaries, self.signals = Canaries(), Canaries()
        self.founding: dict[str, tuple] = {}
        self.records: dict[str, object] = {}

    # beginnings

    def found(self) -> Step:
        """The cloud has a record of every object, closed fields too; then the premises join, and the cloud lets go."""
        with tenant_context(self.cloud):
            owner = make_user("Olga Owner", owner=True, email="owner@example.com")
            samples = Samples(actor_of(owner))
            made = {e.label: samples.of(e) for e in TRAVELLING}
            for entry in TRAVELLING:
                names = closed_fields(table_of(entry))
                made[entry.label] = self._fill(samples, entry, made[entry.label], self.canaries, names)
        self.sites = Sites(self.cloud, self.premises)
        for entry in TRAVELLING:
            record = made[entry.label]
            self.founding[entry.label] = record, self.sites.texts(self.cloud, table_of(entry), record.pk)
        self.sites.load()
        self.sites.talk()
        with tenant_context(self.cloud):
            withdrawing.withdraw()
        self.sites.talk()
        self.actors = {}
        for tenant in (self.cloud, self.premises):
            with tenant_context(tenant):
                self.actors[tenant] = actor_of(User.objects.get(email="owner@example.com"))
        self.samples = {tenant: Samples(actor) for tenant, actor in self.actors.items()}
        for one in self.samples.values():
            one.numbers = samples.numbers  # no two samples have one name, wherever they are made
        return self._step()

    def _step(self, **notes) -> Step:
        sites = self.sites
        self._bytes_arrived()
        leaks = self.canaries.found(sites.everything_in_the_cloud()) | self.canaries.found(
            "\n".join(self.listening.lines)
        )
        for packed in sites.down:
            leaks |= self.canaries.found(packed)
        both = (self.premises, self.cloud)
        return Step(*map(sites.projection, both), *map(sites.keys, both), leaks, notes)

    def _bytes_arrived(self) -> None:
        """The premises say that they hold the bytes of every file that waited for them, as their lane for files does."""
        with tenant_context(self.cloud):
            waiting = [str(key) for key in Parcel.objects.values_list("pk", flat=True)]
            files.answer(Link.objects.get(), {"ask": "have", "ids": waiting}, b"")

    def _fill(self, samples, entry, record, kinds: Canaries, names):
        """Write a canary into each of these fields; where a rule says that a row stays as it was made, make another row.

        Answers the record that carries them.
        """
        frozen = {}
        for name in names:
            model_field = entry.model._meta.get_field(name)
            value = kinds.of(model_field, f"{entry.label}.{name}")
            if value is None:
                continue
            try:
                with transaction.atomic():
                    samples.write(record, name, value)
            except Error:
                frozen[model_field.column] = value
        if frozen and kinds is self.canaries:
            row = orjson.loads(self._row(table_of(entry), record)) | frozen | {"id": str(uuid7())}
            if entry.label not in UNDYING:
                with changing(samples.actor, "delete"):
                    record.delete()
            self._insert(samples.actor, table_of(entry), orjson.dumps(row).decode())
            record = entry.model._default_manager.get(pk=row["id"])
        return record

    def _row(self, table: Table, record) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table.name}" t WHERE id = %s', [str(record.pk)])
            return cursor.fetchone()[0]

    def _insert(self, actor, table: Table, row: str) -> None:
        with changing(actor, "restore"), connection.cursor() as cursor:
            cursor.execute(
                f'INSERT INTO "{table.name}" SELECT * FROM jsonb_populate_record(NULL::"{table.name}", %s::jsonb)',
                [row],
            )

    # the steps

    def make(self) -> Step:
        """The premises make a record of every object, with a canary in every closed field and a signal in the open texts."""
        with tenant_context(self.premises):
            samples = self.samples[self.premises]
            for entry in TRAVELLING:
                table = table_of(entry)
                record = self._fill(samples, entry, samples.of(entry), self.canaries, closed_fields(table))
                self.records[entry.label] = record
                texts = [n for n in table.open(OPEN) if table.columns[n].type == "text"]
                with_signals = [n for n in texts if not entry.fields[n].choices and not table.columns[n].refers]
                self._fill(samples, entry, record, self.signals, with_signals)
        self.sites.talk()
        return self._step(signals=self.signals.found(self.sites.everything_in_the_cloud()))

    def change(self) -> Step:
        """Every field of every record is changed, where it may be: turn by turn here and there."""
        done: dict[str, dict[str, str]] = {}
        for entry in TRAVELLING:
            table, record = table_of(entry), self.records[entry.label]
            mine = done[entry.label] = {}
            changeable = [n for n in table.columns if table.terms.fields[n].merge != Merge.FIXED]
            for number, name in enumerate(changeable):
                there = (
                    number % 2 == 1 and name in table.open(OPEN) and table.holdable(OPEN) and not table.columns[name].refers
                    and table.terms.authority == Authority.SHARED
                )  # fmt: skip
                tenant = self.cloud if there else self.premises
                with tenant_context(tenant):
                    samples = self.samples[tenant]
                    try:
                        with transaction.atomic():
                            value = samples.other(type(record).objects.get(pk=record.pk), name)
                            samples.write(record, name, value)
                    except (Error, OstojaError, StopIteration) as error:
                        mine[name] = f"refused: {error}"
                    else:
                        mine[name] = "cloud" if there else "premises"
        self.sites.talk()
        return self._step(done=done)

    def mark(self) -> Step:
        """Every record is marked as sensitive, with its parts."""
        with tenant_context(self.premises):
            for record in self.records.values():
                labels.close(SYSTEM, type(record).objects.get(pk=record.pk))
        self.sites.talk()
        with tenant_context(self.cloud), connection.cursor() as cursor:
            cursor.execute("SELECT record::text FROM journal_change WHERE old IS NOT NULL")
            told = {row[0] for row in cursor.fetchall()}
        signals = self.signals.found(self.sites.everything_in_the_cloud())
        return self._step(signals=signals, told=told, conflicts=self._in_conflict())

    def _in_conflict(self) -> set[str]:
        with tenant_context(self.cloud):
            return {str(record) for record in Conflict.objects.values_list("record", flat=True)}

    def reopen(self) -> Step:
        """Every record is opened again."""
        with tenant_context(self.premises):
            for record in self.records.values():
                labels.reopen(SYSTEM, type(record).objects.get(pk=record.pk))
        self.sites.talk()
        return self._step()

    def delete(self) -> Step:
        """A new record of every object that nothing refers to is deleted: on the premises, or in the cloud where it may be."""
        fresh, sides, rows = {}, {}, {}
        with tenant_context(self.premises):
            for entry in TRAVELLING:
                fresh[entry.label] = self.samples[self.premises].of(entry)
        self.sites.talk()
        for number, entry in enumerate(reversed(TRAVELLING)):
            there = number % 2 and entry in HELD and table_of(entry).terms.authority == Authority.SHARED
            tenant = self.cloud if there else self.premises
            record = fresh[entry.label]
            with tenant_context(tenant):
                rows[entry.label] = self._row(table_of(entry), record)
                try:
                    perform(self.actors[tenant], type(record).objects.get(pk=record.pk), "delete")
                except OstojaError as error:
                    sides[entry.label] = f"refused: {error}"
                else:
                    sides[entry.label] = "cloud" if there else "premises"
        self.sites.talk()
        self.dead, self.rows, self.sides = fresh, rows, sides
        return self._step(sides=sides)

    def restore(self) -> Step:
        """What was deleted is written again under its key, at the site where it was deleted."""
        done = {}
        for entry in TRAVELLING:
            side = self.sides[entry.label]
            if side.startswith("refused"):
                continue
            tenant, table = self.cloud if side == "cloud" else self.premises, table_of(entry)
            with tenant_context(tenant):
                try:
                    self._insert(self.actors[tenant], table, self.rows[entry.label])
                except Error as error:
                    done[entry.label] = f"refused: {error}"
                else:
                    done[entry.label] = "restored"
        self.sites.talk()
        return self._step(done=done)


@pytest.fixture(scope="module")
def life(lender):
    """Two sites for all tests of the module."""
    with lender.kept_tenant() as cloud, lender.kept_tenant() as premises:
        living = Life(cloud, premises)
        logging.getLogger().addHandler(living.listening)
        yield living
        logging.getLogger().removeHandler(living.listening)


@pytest.fixture(scope="module")
def founded(life):
    return life.found()


@pytest.fixture(scope="module")
def made(life, founded):
    return life.make()


@pytest.fixture(scope="module")
def changed(life, made):
    return life.change()


@pytest.fixture(scope="module")
def marked(life, changed):
    return life.mark()


@pytest.fixture(scope="module")
def opened(life, marked):
    return life.reopen()


@pytest.fixture(scope="module")
def deleted(life, opened):
    return life.delete()


@pytest.fixture(scope="module")
def restored(life, deleted):
    return life.restore()


STEPS = ["founded", "made", "changed", "marked", "opened", "deleted", "restored"]


def test_no_more_objects_have_to_stay_at_home_than_before():
    ours = [t for t in TABLES if t.model.__module__.startswith("ostoja.")]  # an extension's are its own affair
    assert {t.label for t in ours if not t.holdable(OPEN)} == STAYS_AT_HOME


@each(TRAVELLING)
def test_what_the_cloud_had_is_on_the_premises(life, founded, entry):
    record, was = life.founding[entry.label]
    assert was is not None and life.sites.texts(life.premises, table_of(entry), record.pk) == was


@each(TRAVELLING)
def test_every_closed_field_carries_a_canary(life, founded, made, entry):
    carried = set(life.canaries.texts.values()) | {name for name, _forms in life.canaries.typed.values()}
    held = life.sites.texts(life.premises, table_of(entry), life.founding[entry.label][0].pk)
    for name in closed_fields(table_of(entry)):
        if isinstance(entry.fields[name], models.SmallIntegerField | models.PositiveSmallIntegerField):
            continue  # too small a number to be told from others; what the columns hold in the cloud is looked at below
        assert f"{entry.label}.{name}" in carried
        assert life.canaries.found(held[name]), f"{entry.label}.{name} holds no canary."


@pytest.mark.parametrize("step", STEPS)
def test_no_canary_is_in_the_cloud_nor_on_its_way(request, restored, step):
    assert request.getfixturevalue(step).leaks == set()


@each(HELD)
def test_closed_columns_are_empty_in_the_cloud(life, restored, entry):
    table = table_of(entry)
    differs = " OR ".join(f'"{c}" IS DISTINCT FROM {value}' for c, value in closed_columns(table).items())
    with tenant_context(life.cloud), connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table.name}" WHERE {differs or "false"}')
        assert cursor.fetchone()[0] == 0


@pytest.mark.parametrize("step", STEPS)
@each(HELD)
def test_both_sites_hold_the_same_with_the_same_clocks(request, restored, step, entry):
    told = request.getfixturevalue(step)
    assert told.here[entry.label] == told.there[entry.label]


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_left_lying(request, life, step):
    request.getfixturevalue(step)
    for tenant in (life.cloud, life.premises):
        with tenant_context(tenant):
            assert [(p.about, p.reason) for p in Parked.objects.all()] == []


@each(TRAVELLING)
def test_what_is_made_on_the_premises_is_in_the_cloud_as_far_as_it_may(life, made, entry):
    key = str(life.records[entry.label].pk)
    if entry in HELD:
        assert key in made.there[entry.label]
    else:
        assert life.sites.texts(life.cloud, table_of(entry), key) is None


@each(TRAVELLING)
def test_every_field_can_be_changed_or_a_rule_says_no(life, changed, entry):
    done = changed.notes["done"][entry.label]
    terms = table_of(entry).terms
    assert done.keys() == {
        n for n, t in terms.fields.items() if t.merge != Merge.FIXED and n in table_of(entry).columns
    }
    if entry not in APPENDED:
        assert "premises" in done.values()
    if entry in HELD and terms.authority == Authority.SHARED and len(done) > 2:
        assert "cloud" in done.values()


@each(TRAVELLING)
def test_a_marked_record_leaves_the_cloud_with_its_history(life, marked, entry):
    key = str(life.records[entry.label].pk)
    assert key in marked.keys_here and key not in marked.keys_there
    assert key not in marked.notes["told"] and key not in marked.notes["conflicts"]


def test_nothing_that_was_open_of_marked_records_is_left_in_the_cloud(made, marked):
    assert len(made.notes["signals"]) > 20
    assert marked.notes["signals"] == set()


@each(HELD)
def test_an_opened_record_comes_back(life, opened, entry):
    assert str(life.records[entry.label].pk) in opened.there[entry.label]


@each(TRAVELLING)
def test_a_deleted_record_is_gone_everywhere(life, deleted, entry):
    key, side = str(life.dead[entry.label].pk), deleted.notes["sides"][entry.label]
    if entry.label in UNDYING:
        assert side.startswith("refused") and key in deleted.keys_here
    else:
        assert side in ("premises", "cloud"), side
        assert key not in deleted.keys_here | deleted.keys_there


@each(TRAVELLING)
def test_a_deleted_record_comes_back_when_it_is_restored(life, restored, entry):
    key = str(life.dead[entry.label].pk)
    if entry.label not in UNDYING:
        assert restored.notes["done"][entry.label] == "restored"
    assert key in restored.keys_here
    assert (key in restored.keys_there) == (entry in HELD)


@each(OWNED)
def test_what_belongs_to_the_premises_is_refused_in_the_cloud(life, restored, entry):
    table = table_of(entry)
    with tenant_context(life.cloud):
        samples = life.samples[life.cloud]
        if entry not in HELD:
            with pytest.raises(OstojaError):
                samples.of(entry)
            return
        record = entry.model._default_manager.get(pk=life.dead[entry.label].pk)
        names = [n for n in table.open(OPEN) if table.columns[n].type == "text" and not entry.fields[n].choices]
        for name in names:
            with pytest.raises(Error, match="kept on the premises"), transaction.atomic():
                samples.write(record, name, samples.other(record, name))
        with pytest.raises(Error, match="kept on the premises"):
            with changing(SYSTEM, "delete"), connection.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{table.name}" WHERE id = %s', [str(record.pk)])
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@each(APPENDED)
def test_what_is_only_added_is_the_sum_of_both_sites(lender, entry):
    cloud, premises = lender.lend(), lender.lend()
    with tenant_context(cloud):
        samples = Samples(actor_of(make_user("Olga Owner", owner=True, email="owner@example.com")))
        there = {samples.of(entry).pk for _one in range(2)}
    sites = Sites(cloud, premises)
    sites.load()
    with tenant_context(cloud):
        there |= {samples.of(entry).pk for _one in range(3)}
    with tenant_context(premises):
        own = Samples(actor_of(User.objects.get(email="owner@example.com")))
        own.numbers = samples.numbers
        here = {own.of(entry).pk for _one in range(4)}
    sites.talk()
    for _again in range(2):  # a message that comes twice adds nothing
        with tenant_context(premises):
            sites.exchange(premises).incoming(Message.unpack(sites.wire[-1]))
    with tenant_context(premises):
        assert set(entry.model._default_manager.values_list("pk", flat=True)) == here | there
    with tenant_context(cloud):
        held = set(entry.model._default_manager.values_list("pk", flat=True))
    assert held == (here | there if entry in HELD else there)


def test_what_each_site_keeps_for_itself_never_travels(life, restored):
    made, before = set(), len(life.sites.wire)
    for tenant in (life.premises, life.cloud):
        with tenant_context(tenant):
            for entry in STAYING:
                if entry.model._meta.app_label == "hybrid":
                    continue  # what a link needs is not for samples
                classes = {n: str(entry.class_of(n)) for n in entry.fields}
                names = [n for n, c in classes.items() if c in ("confidential", "restricted", "internal")]
                samples = life.samples[tenant]
                try:
                    record = samples.of(entry)
                except OstojaError:  # it begins with what only the premises make
                    assert tenant is life.cloud
                    continue
                kinds = life.canaries if tenant is life.premises else life.signals
                life._fill(samples, entry, record, kinds, [n for n in names if not entry.fields[n].is_relation])
                made.add(entry.label)
    life.sites.talk()
    travelling = {e.label for e in TRAVELLING} | {""}
    for packed in life.sites.wire:
        said = Message.unpack(packed)
        assert {op.key.model for envelope in said.envelopes for op in envelope.ops} <= travelling
    for packed in life.sites.wire[before:]:
        assert life.canaries.found(packed) == set()
    assert life._step().leaks == set()
    assert made == {e.label for e in STAYING if e.model._meta.app_label != "hybrid"}
