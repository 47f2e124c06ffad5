"""Sites in one database for tests: tenants that are enrolled as a tree, with lines between them that tests control."""

from __future__ import annotations

from typing import NamedTuple

from ostoja.gate import perform
from ostoja.hybrid import enrolment, keys
from ostoja.hybrid.exchange import Exchange, Message
from ostoja.hybrid.models import Link, Progress, Site
from ostoja.hybrid.sites import manifest_in_force, new_epoch
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context

SYSTEM = Actor.system("Test")


class Line(NamedTuple):
    """A link of two tenants; the key of the link is the same at both."""

    above: object
    below: object
    key: str

    def other(self, tenant):
        """The tenant at the other end."""
        return self.below if tenant is self.above else self.above


class Sites:
    """Tenants that are enrolled as a tree; ``talk()`` lets them exchange until nobody has anything to say."""

    def __init__(self):
        self.lines: list[Line] = []
        self.wire: list[bytes] = []

    def join(self, above, below, kind: str = Site.Kind.PREMISES, name: str = "Warsaw") -> Line:
        """Enrol the empty tenant ``below`` at ``above``."""
        private, public = keys.new_pair()
        epoch = new_epoch()
        with tenant_context(below):
            manifest = manifest_in_force().canonical
        with tenant_context(above):
            code = enrolment.invite(SYSTEM, kind)
            answer = enrolment.accept(code, public, name, epoch, manifest)
        enrolment.note(below, answer, private, public, epoch, "http://cloud.example")
        self.lines.append(Line(above, below, str(answer["link"])))
        return self.lines[-1]

    def exchange(self, tenant, line: Line | None = None) -> Exchange:
        """A link as this tenant sees it, its only one unless named; the tenant must be open."""
        links = Link.objects.select_related("site", "progress")
        return Exchange(links.get() if line is None else links.get(pk=line.key))

    def load(self) -> None:
        """Lower sites get everything that those above have, and the sites above know that."""
        for line in self.lines:
            for _round in range(20):
                self.send(line.below, line.above, line)
                self.send(line.above, line.below, line)
                if self.progress(line.below, line).loaded and self.progress(line.above, line).told:
                    break
            else:
                raise AssertionError("The first load does not end.")

    def progress(self, tenant, line: Line | None = None) -> Progress:
        """How far a side is."""
        with tenant_context(tenant):
            return Progress.objects.get() if line is None else Progress.objects.get(link=line.key)

    def carry(self, packed: bytes) -> Message:
        """What the line does to a message: nothing but note it."""
        self.wire.append(packed)
        return Message.unpack(packed)

    def send(self, source, target, line: Line | None = None) -> int:
        """One message from one to the other; answers how many operations it carried."""
        with tenant_context(source):
            exchange = self.exchange(source, line)
            message = exchange.outgoing()
        with tenant_context(target):
            self.exchange(target, line).incoming(self.carry(message.pack()))
        with tenant_context(source):
            self.exchange(source, line).said(message)
        return sum(len(e.ops) for e in message.envelopes)

    def talk(self, rounds: int = 8) -> None:
        """Exchange in both directions until neither has anything new."""
        for _round in range(rounds):
            busy = 0
            for line in self.lines:
                busy += self.send(line.below, line.above, line) + self.send(line.above, line.below, line)
            for line in self.lines:
                for tenant in (line.above, line.below):
                    with tenant_context(tenant):
                        busy += self.exchange(tenant, line).waiting()
            if not busy:
                return
        raise AssertionError("The sites do not come to rest.")


class Pair(Sites):
    """A cloud and a premises that are enrolled."""

    def __init__(self, cloud, premises):
        super().__init__()
        self.cloud, self.premises = cloud, premises
        self.join(cloud, premises)


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
