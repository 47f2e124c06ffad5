"""What must hold when sites are at rest (I1 to I10): each oracle reads the databases, and nothing that the protocol says of itself."""

from __future__ import annotations

from collections import defaultdict

from django.db import connection
from two_sites import Line

from ostoja.crm.sales.models import Deal, DealLine, StageChange
from ostoja.hybrid import clocks as clocking
from ostoja.hybrid import verifying
from ostoja.hybrid.core.apply import ABSENT, LINGERING
from ostoja.hybrid.core.wire import Row, op_from
from ostoja.hybrid.install import view_of
from ostoja.hybrid.models import Conflict, Parked, Stash
from ostoja.hybrid.sending import as_sender
from ostoja.hybrid.sites import here
from ostoja.party.models import Consent
from ostoja.tenancy.context import tenant_context

PARTS = {"sales.dealline": "deal", "party.contactpoint": "party", "documents.dealfile": "deal"}
STEPS = {("open", "won"), ("open", "lost"), ("won", "open"), ("lost", "open")}


class Broken(AssertionError):
    """An invariant does not hold; the message begins with its id."""


def hold(condition: object, invariant: str, *told: object) -> None:
    """Raise Broken unless this is so."""
    if not condition:
        raise Broken(f"{invariant}: {' '.join(map(str, told))}")


def check(network) -> None:
    """All that must hold at rest."""
    world = network.world
    for line in world.lines:
        equal_projections(network, line)
    nothing_lost(world)
    nothing_doubled(world)
    nothing_leaked(world)
    rules_kept(world)


# --- I1 -------------------------------------------------------------------------------------------------------------------


def equal_projections(network, line: Line) -> None:
    """Both ends of a line hold the same open fields of the same records, with the same stamps; what is dead here is dead there."""
    above, below = network.sides(line)
    ceiling = 0 if "cloud" in (above, below) else 1
    upper, lower = ("premises", "cloud") if ceiling == 0 else (above, below)
    one = _projection(network, line, upper, ceiling)
    other = _projection(network, line, lower, ceiling)
    parked = _parked(network.world)
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key), other.get(key)
        if mine == theirs or key in parked:
            continue
        told = (
            _story_of(network.world, key)
            + f"{lower} has {_difference(theirs, mine)}; {upper} has {_difference(mine, theirs)}"
        )
        hold(False, "I1", network.world.made.get(key, ""), key, told)
    told = [one for one in differing(network, line) if one["record"] not in parked]
    hold(not told, "I1", "the comparison of the product says otherwise:", told)


def _story_of(world, key: str) -> str:
    """What the sites keep of a record besides."""
    told = []
    for name, tenant in world.sites.items():
        with tenant_context(tenant):
            told += [f"{name} parked {p.operation} because {p.reason}" for p in Parked.objects.filter(record=key)]
            told += [
                f"{name} in conflict: {c.field} {c.rule} {c.ours} {c.theirs} {c.state}"
                for c in Conflict.objects.filter(record=key)
            ]
            told.append(f"{name}: {clocking.read([key]).get(key)}")
    return "\n".join(told) + "\n"


def _difference(one, other):
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one
    return {n: v for n, v in one.items() if other.get(n) != v}


def _projection(network, line: Line, name: str, ceiling: int) -> dict[str, object]:
    """{record: {field: (value, stamp)}, or "dead <cl>"} of what both ends may hold."""
    out: dict[str, object] = {}
    with tenant_context(network.world.sites[name]):
        exchange = network.exchange(name, line)
        site, tables = exchange.here, exchange.tables
        view = 1 if site.in_cloud else ceiling
        prefix = "egress" if view == 0 else "whole"
        with as_sender(view), connection.cursor() as cursor:
            for table in tables:
                if not table.holdable(ceiling):
                    continue
                names = table.open(ceiling)
                columns = "".join(f', "{n}"' for n in names)
                cursor.execute(f'SELECT id::text{columns} FROM "{view_of(table, view)}"')
                rows = {r[0]: dict(zip(names, r[1:], strict=True)) for r in cursor.fetchall()}
                clocks = clocking.read(rows, source=f"{prefix}_clock")
                for key, values in rows.items():
                    hold(key in clocks and clocks[key].alive, "I1", name, table.label, key, "has no living clock")
                    cells = clocks[key].cells(values)
                    out[key] = {n: (c.value, tuple(c.stamp)) for n, c in cells.items()} | {"": clocks[key].cl}
    return out


def _parked(world) -> set[str]:
    """Records that wait for people: what the premises' rules refuse, and what a site that was away too long says."""
    found = set()
    for name, tenant in world.sites.items():
        with tenant_context(tenant):
            rows = (
                Parked.objects.filter(reason=LINGERING) if name != "premises" else Parked.objects.exclude(reason=ABSENT)
            )
            found |= {str(k) for k in rows.values_list("record", flat=True)}
    return found


def differing(network, line: Line) -> list[dict]:
    """What the comparison of the product itself finds."""
    above, below = network.sides(line)

    def ask(question):
        with tenant_context(network.world.sites[above]):
            return verifying.answer(network.exchange(above, line), question)

    with tenant_context(network.world.sites[below]):
        return verifying.compare(network.exchange(below, line), ask)


# --- I2 -------------------------------------------------------------------------------------------------------------------


def nothing_lost(world) -> None:
    """Every committed value is on the premises: present, superseded by a later stamp, under a delete, or kept for people."""
    by_key: dict[str, list] = defaultdict(list)
    for write in world.ledger:
        by_key[write.id].append(write)
    kept = _kept(world)
    whole = {w.id: w.value for w in world.ledger if w.model in PARTS and w.field == PARTS[w.model]}
    summed = {w.value for w in world.ledger if w.model == "sales.dealline" and w.field == "deal"}
    with tenant_context(world.sites["premises"]):
        clocks = clocking.read(by_key)
    for key, writes in by_key.items():
        clock = clocks.get(key)
        for write in writes:
            if (write.id, write.field, write.value) in kept or (write.id, "", write.value) in kept:
                continue
            if write.field == "amount" and key in summed:
                continue  # nobody typed it: it is what the lines come to
            if clock is None and (world.deaths.get(key, 0) > write.cl or whole.get(key) in world.deaths):
                continue  # deleted, it or its whole, before it ever left, or so long ago that the grave is gone
            hold(clock is not None, "I2", write, "is unknown on the premises")
            if clock.cl > write.cl or clock.cl % 2 == 0:
                continue
            said = clock.stamps.get(write.field)
            stamp = tuple(said[:2]) if said else tuple(clock.whole)
            hold(stamp >= tuple(write.stamp), "I2", write, "is gone; the premises stand at", stamp)


def _kept(world) -> set[tuple]:
    """(record, field, value) of all that waits for people, or for its turn."""
    found: set[tuple] = set()
    for name, tenant in world.sites.items():
        with tenant_context(tenant):
            for c in Conflict.objects.all():
                for side in (c.ours, c.theirs):
                    pairs = side.items() if isinstance(side, dict) else [(c.field, side)]
                    found |= {(str(c.record), n, v) for n, v in pairs}
            for p in Parked.objects.all():
                found |= {(str(p.record), n, c.value) for n, c in getattr(op_from(p.operation), "cells", {}).items()}
            for s in Stash.objects.all() if name != "premises" else ():
                found |= {(str(s.pk), n, c[0]) for n, c in s.cells.items()}
    return found


# --- I3 -------------------------------------------------------------------------------------------------------------------


def nothing_doubled(world) -> None:
    """What is only added to is there once each, and no number stands twice."""
    written = {w.id for w in world.ledger if w.model == "party.consent"}
    with tenant_context(world.sites["premises"]):
        present = {str(k) for k in Consent.objects.values_list("pk", flat=True)}
        dead = {k for k, c in clocking.read(written).items() if c.cl % 2 == 0}
        hold(present == written - dead, "I3", "consents", present ^ (written - dead))
    for name, tenant in world.sites.items():
        with tenant_context(tenant):
            numbers = list(Deal.objects.values_list("number", flat=True))
            hold(len(numbers) == len(set(numbers)), "I3", name, "has a number twice", sorted(numbers))


# --- I4 and I5 ------------------------------------------------------------------------------------------------------------


def everything(tenant) -> str:
    """Every row of every table of a tenant as text."""
    out = []
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT string_agg(t::text, E'\\n') FROM \"{name}\" t HAVING count(*) > 0")
            found = cursor.fetchone()
            if found and "zq" in found[0]:
                out.append(f"{name}: {found[0]}")
    return "\n".join(out)


def nothing_leaked(world) -> None:
    """Nothing of what is closed is anywhere in the cloud; nothing of a record that was called back either."""
    text = everything(world.sites["cloud"])
    with tenant_context(world.sites["premises"]):
        world.release()
        tables = here().tables
        closed = {k for k, level in clocking.levels({t.id for t in world.tokens.values()}).items() if level > 0}
    for token, where in world.tokens.items():
        if token not in text:
            continue
        at = text[max(0, text.index(token) - 300) : text.index(token) + 20]
        hold(where.id not in closed, "I5", token, where, "was called back and is still in the cloud:", at)
        table = tables.get(where.model)
        open_there = table is not None and table.holdable(0) and where.field in table.open(0)
        hold(open_there, "I4", token, where, "is closed and is in the cloud:", at)
        hold(token not in world.secret, "I4", token, where, "never was open and is in the cloud:", at)
    with tenant_context(world.sites["cloud"]):
        for key, clock in clocking.read(closed).items():
            hold(not clock.alive, "I5", key, "is closed and alive in the cloud")
        hold(not Stash.objects.exists(), "I5", "something is owed of a record that was called back")


# --- I8 -------------------------------------------------------------------------------------------------------------------


def rules_kept(world) -> None:
    """Steps are legal on the premises, amounts are the sums of their lines, and numbers follow one another without gaps."""
    parked = _parked(world)
    for name, tenant in world.sites.items():
        with tenant_context(tenant):
            sums: dict = defaultdict(int)
            for line in DealLine.objects.all():
                sums[line.deal_id] += line.net
            waiting = {
                line.deal_id for line in DealLine.objects.filter(pk__in=parked)
            }  # the premises do not know of these
            for deal in Deal.objects.filter(pk__in=sums.keys() - waiting):
                hold(deal.amount == sums[deal.pk], "I8", name, deal.pk, "amount", deal.amount, "lines", sums[deal.pk])
    with tenant_context(world.sites["premises"]):
        for change in StageChange.objects.exclude(from_stage=None).select_related("from_stage", "stage"):
            step = (change.from_stage.kind, change.stage.kind)
            hold(step in STEPS or step[0] == step[1], "I8", change.deal_id, "took the step", step)


__all__ = ["Broken", "Row", "check", "everything", "hold"]
