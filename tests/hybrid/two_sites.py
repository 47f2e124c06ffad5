"""Two sites in one database for tests: a cloud tenant and a premises tenant with a line between them that tests control."""

from __future__ import annotations

from django.db import connection

from ostoja.gate import perform
from ostoja.hybrid import enrolment, keys
from ostoja.hybrid.exchange import Exchange, Message
from ostoja.hybrid.models import Link, Progress
from ostoja.hybrid.sites import manifest_in_force, new_epoch
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context

SYSTEM = Actor.system("Test")


class Pair:
    """A cloud and a premises that are enrolled; ``talk()`` lets them exchange until nobody has anything to say."""

    def __init__(self, cloud, premises):
        self.cloud, self.premises = cloud, premises
        self.wire: list[bytes] = []
        private, public = keys.new_pair()
        epoch = new_epoch()
        with tenant_context(premises):
            manifest = manifest_in_force().canonical
        with tenant_context(cloud):
            code = enrolment.invite(SYSTEM)
            answer = enrolment.accept(code, public, "Warsaw", epoch, manifest)
        enrolment.note(premises, answer, private, public, epoch, "http://cloud.example")

    def exchange(self, tenant) -> Exchange:
        """The link as this tenant sees it; the tenant must be open."""
        return Exchange(Link.objects.select_related("site", "progress").get())

    def load(self) -> None:
        """The premises get everything that the cloud has, and the cloud knows that."""
        for _round in range(20):
            self.send(self.premises, self.cloud)
            self.send(self.cloud, self.premises)
            if self.progress(self.premises).loaded and self.progress(self.cloud).told:
                return
        raise AssertionError("The first load does not end.")

    def progress(self, tenant) -> Progress:
        """How far a side is."""
        with tenant_context(tenant):
            return Progress.objects.get()

    def carry(self, packed: bytes) -> Message:
        """What the line does to a message: nothing but note it."""
        self.wire.append(packed)
        return Message.unpack(packed)

    def send(self, source, target) -> int:
        """One message from one to the other; answers how many operations it carried."""
        with tenant_context(source):
            exchange = self.exchange(source)
            message = exchange.outgoing()
        with tenant_context(target):
            self.exchange(target).incoming(self.carry(message.pack()))
        with tenant_context(source):
            self.exchange(source).said(message)
        return sum(len(e.ops) for e in message.envelopes)

    def talk(self, rounds: int = 8) -> None:
        """Exchange in both directions until neither has anything new."""
        for _round in range(rounds):
            busy = self.send(self.premises, self.cloud) + self.send(self.cloud, self.premises)
            with tenant_context(self.cloud):
                busy += self.exchange(self.cloud).waiting()
            with tenant_context(self.premises):
                busy += self.exchange(self.premises).waiting()
            if not busy:
                return
        raise AssertionError("The two sites do not come to rest.")


def do(tenant, target, verb="change", data=None):
    """Make a change at one site, as a person would."""
    with tenant_context(tenant):
        if not isinstance(target, type):
            target = type(target).objects.get(pk=target.pk)
        return perform(SYSTEM, target, verb, data or {})


def value(tenant, record, name):
    """A value as one site has it; the model's DoesNotExist when it has none."""
    with tenant_context(tenant):
        return getattr(type(record).objects.get(pk=record.pk), name)


def clocks(tenant) -> dict:
    """Every clock of a site."""
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT id::text, model, cl, hlc, site, stamps, held FROM hybrid_clock")
        return {row[0]: row[1:] for row in cursor.fetchall()}
