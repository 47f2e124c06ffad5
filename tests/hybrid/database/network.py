"""The lines between sites, and what they do to messages: loss, delay, doubling, reordering, damage; and sites that fall over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import zstandard
from django.db import InterfaceError, OperationalError, connection, transaction
from two_sites import Line

from ostoja.hybrid import exchange, receiving, withdrawing
from ostoja.hybrid.exchange import BadMessage, Busy, Exchange, Message, Retired
from ostoja.hybrid.models import Link, Parked, Progress, Site
from ostoja.hybrid.receiving import LinkSuspect, NotOpen
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context

from .oracles import hold
from .world import World

FAULTS = (BadMessage, Busy, LinkSuspect, NotOpen, Retired, Refused)
ROUNDS = 16
LOCKED = "55P03"


@contextmanager
def _soon() -> Iterator[None]:
    """Nobody waits long for a person's transaction, as it is the same program that would end it."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")


class Packet(NamedTuple):
    """A message on its way."""

    line: Line
    source: str
    target: str
    message: Message
    packed: bytes


class Network:
    """Carries messages of a world. ``most`` is how many changes a message takes at most."""

    def __init__(self, world: World, most: int = 5000):
        self.world, self.most = world, most
        self.net: list[Packet] = []
        self.faults: list[str] = []
        self.cursors: dict[tuple[str, str], tuple] = {}

    def sides(self, line: Line) -> tuple[str, str]:
        """The names of the sites above and below."""
        names = {tenant: name for name, tenant in self.world.sites.items()}
        return names[line.above], names[line.below]

    def exchange(self, site: str, line: Line) -> Exchange:
        """A line as a site sees it; the tenant must be open."""
        return Exchange(Link.objects.select_related("site", "progress").get(pk=line.key))

    def send(self, line: Line, source: str, ahead: bool = False) -> Packet | None:
        """A site says what it has to say. ``ahead``: without waiting for the answer to what is on its way already."""
        target = next(s for s in self.sides(line) if s != source)
        with tenant_context(self.world.sites[source]):
            try:
                said = self.exchange(source, line)
                with _soon():
                    message = _ahead(said, self.net, line, source) if ahead else said.outgoing()
            except Retired:
                return None
            except OperationalError as error:  # somebody has changed one of the records, and has not committed yet
                if getattr(error.__cause__, "pgcode", "") != LOCKED:
                    raise
                self.faults.append(f"{source}: waits for a person")
                return None
        packet = Packet(line, source, target, message, message.pack())
        if target == "cloud":
            self._listen(packet.packed)
        self.net.append(packet)
        return packet

    def _listen(self, packed: bytes) -> None:
        raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=exchange.MOST_BYTES)
        if b"zq" not in raw:
            return
        if any(token.encode() in raw for token in self.world.secret):
            with tenant_context(self.world.sites["premises"]):
                self.world.release()  # what the cloud wrote before a record was marked, and what came when it was open again
        for token in self.world.secret:
            hold(token.encode() not in raw, "I4", token, self.world.tokens.get(token), "leaves for the cloud")

    def deliver(self, packet: Packet, how: str = "ok", at: int = 0) -> bool:
        """A message arrives, in whatever shape; answers whether it was taken and the sender knows."""
        packed = packet.packed
        if how == "corrupt":
            spot = at % len(packed)
            packed = packed[:spot] + bytes([packed[spot] ^ (1 << at % 8)]) + packed[spot + 1 :]
        elif how == "truncate":
            packed = packed[: at % len(packed)]
        try:
            with tenant_context(self.world.sites[packet.target]):
                if how == "kill":
                    self._killed(packet, packed, at)
                else:
                    self.exchange(packet.target, packet.line).incoming(Message.unpack(packed))
        except FAULTS as error:
            self.faults.append(f"{packet.source}>{packet.target}: {type(error).__name__}: {error}")
            self._watch(packet)
            return False
        self._watch(packet)
        if how in ("corrupt", "truncate"):
            read, meant = (Message.unpack(one).envelopes for one in (packed, packet.packed))
            hold(read == meant, "I6", "a damaged message was taken")  # a few bits of what is packed say nothing
        if how in ("ok", "dup"):
            with tenant_context(self.world.sites[packet.source]):
                self.exchange(packet.source, packet.line).said(packet.message)
        return how in ("ok", "dup")

    def _killed(self, packet: Packet, packed: bytes, at: int) -> None:
        """The process of the database is terminated at a statement somewhere in the middle of the work."""
        count = [0]

        def wrapper(execute, sql, params, many, context):
            count[0] += 1
            if count[0] == at % 60 + 2:
                with self.world.superuser.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.get_backend_pid()])
            return execute(sql, params, many, context)

        try:
            with connection.execute_wrapper(wrapper):
                self.exchange(packet.target, packet.line).incoming(Message.unpack(packed))
        except (OperationalError, InterfaceError, transaction.TransactionManagementError) as error:
            self.faults.append(f"{packet.target} fell over: {type(error).__name__}")
        finally:
            if connection.connection is not None and (connection.connection.closed or connection.in_atomic_block):
                connection.in_atomic_block, connection.needs_rollback = False, False
                connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
            connection.close()

    def _watch(self, packet: Packet) -> None:
        """Cursors only grow, within a pair of incarnations."""
        with tenant_context(self.world.sites[packet.target]):
            p = Progress.objects.get(link=packet.line.key)
        now = (p.own_epoch, p.peer_epoch, p.applied, p.acked)
        before = self.cursors.get((packet.target, packet.line.key))
        if before is not None and before[:2] == now[:2]:
            hold(now[2] >= before[2] and now[3] >= before[3], "I6", packet.target, before, now)
        self.cursors[packet.target, packet.line.key] = now

    def both(self, line: Line) -> int:
        """Each side says what it has and hears the other; answers how many operations passed."""
        above, below = self.sides(line)
        count = 0
        for source in (below, above):
            packet = self.send(line, source)
            if packet is not None:
                self.net.remove(packet)
                self.deliver(packet)
                count += sum(len(e.ops) for e in packet.message.envelopes)
        return count

    # rest

    def heal(self) -> None:
        """Nothing goes wrong any more: everybody exchanges until nothing is left to be said. Raises Broken when that has no end."""
        world = self.world
        while world.open:
            world.end()
        world.cure()
        self.net.clear()
        for site, tenant in world.sites.items():
            world.turn_clock(site, world.furthest)
            with tenant_context(tenant):
                if Site.objects.filter(here=True, retired=True).exists():
                    from ostoja.hybrid import renewing

                    renewing.renew()
        tried = False
        for _round in range(ROUNDS):
            self.faults.clear()
            busy = sum(self.both(line) for line in world.lines)
            self._follow()
            busy += sum(self._waiting(line) for line in world.lines)
            if busy or self.faults:
                continue
            if tried:
                return
            tried = True
            self._retry()
        hold(False, "I9", "no rest:", self.faults, self._owed())

    def _waiting(self, line: Line) -> bool:
        for name in self.sides(line):
            with tenant_context(self.world.sites[name]):
                if self.exchange(name, line).waiting():
                    return True
        return False

    def _owed(self) -> list:
        """What is still said, in a few words."""
        found = []
        for line in self.world.lines:
            for name in self.sides(line):
                with tenant_context(self.world.sites[name]):
                    message = self.exchange(name, line).outgoing()
                found += [(name, e.lane, op) for e in message.envelopes for op in e.ops]
        return found[:6]

    def _follow(self) -> None:
        """Sites below the policy take it over, as the job does."""
        for name, tenant in self.world.sites.items():
            if name != "premises":
                with tenant_context(tenant):
                    self.follow(name)

    def follow(self, name: str) -> None:
        """This site takes the policy of the premises over, if it is another one; the tenant must be open."""
        line = next(ln for ln in self.world.lines if "premises" in self.sides(ln) and name in self.sides(ln))
        progress = Progress.objects.get(link=line.key)
        theirs = bytes(progress.peer_manifest)
        adopted = Site.objects.values_list("adopted", flat=True).get(here=True).encode()
        if name == "cloud" and progress.told and theirs and adopted != withdrawing.wanted(theirs):
            withdrawing.withdraw()

    def _retry(self) -> None:
        """What was refused is tried again, now that the reason is gone."""
        for line in self.world.lines:
            for name in self.sides(line):
                with tenant_context(self.world.sites[name]):
                    if Parked.objects.filter(link=line.key).exists():
                        here = self.exchange(name, line)
                        with changing(Actor(kind="site", id=here.link.pk, label="", superuser=True), "sync"):
                            receiving.retry(here.here, here.link, here.tables, here.progress.acked)


def _ahead(said: Exchange, net: list[Packet], line: Line, source: str) -> Message:
    """What comes behind the messages that are on their way, as who pulls a long queue asks for it."""
    sent = [e.seq_to for p in net if p.line is line and p.source == source for e in p.message.envelopes]
    return said.outgoing(behind=max(sent, default=0))
