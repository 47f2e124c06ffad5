"""The agent of a site that dials: three lanes for every open link, tried again with growing pauses; it never gives up."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from django.utils.timezone import now as timezone_now

log = logging.getLogger(__name__)
LOOK = 0.05  # seconds between two looks for changes of ours
CARRY = 3.0  # seconds between two looks for files to carry
LINKS = 5.0  # seconds between two looks for new links
LONGEST_PAUSE = 300.0
WAKE = 0.5  # seconds between two looks, in a pause, whether another lane heard the other site
EQUAL = timedelta(hours=12)  # how long a comparison that found both sites equal is good for
DIFFERING = 3600.0  # seconds to the next comparison when they differ


@dataclass
class Heard:
    """When the other site of a link was last heard, in whichever lane."""

    at: float = 0.0


class Lane(threading.Thread):
    """One lane of one link, with a database connection of its own.

    After a fault it pauses, longer each time until an exchange goes well. When the other site was only away, the lane that
    hears it first wakes the others.
    """

    def __init__(self, tenant, link_id, lane: str, stopping: threading.Event, heard: Heard | None = None):
        super().__init__(name=f"{lane} {link_id}", daemon=True)
        self.tenant, self.link_id, self.lane, self.stopping = tenant, link_id, lane, stopping
        self.heard = heard or Heard()
        self.pause = 0.0
        self.compares = 0.0

    def run(self) -> None:
        """Exchange until told to stop or the link is closed."""
        from django.db import connections

        while not self.stopping.is_set():
            try:
                if not self._work():
                    return
            except Exception as error:
                self.pause = min(LONGEST_PAUSE, max(1.0, self.pause * 2))
                self._tell(error)
                connections.close_all()
                self._wait(getattr(error, "code", "") == "unreachable")

    def _went_well(self) -> None:
        self.pause, self.heard.at = 0.0, time.monotonic()

    def _wait(self, away: bool) -> None:
        began = time.monotonic()
        until = began + self.pause * random.uniform(0.5, 1.0)
        while (left := until - time.monotonic()) > 0 and not self.stopping.wait(min(WAKE, left)):
            if away and self.heard.at > began:
                return

    def _work(self) -> bool:
        """Exchange as long as all goes well; False when the link is closed."""
        from ostoja.tenancy.context import tenant_context

        from .dialling import Caller
        from .files import Carrier
        from .models import Link

        with tenant_context(self.tenant):
            link = Link.objects.select_related("site", "progress").filter(pk=self.link_id).first()
            if link is None or link.state != Link.State.OPEN:
                if self.lane == "push" and link is not None and link.state == Link.State.REVOKED:
                    self._goodbye(Caller(link, self.lane))
                return False
            caller = Caller(link, self.lane)
            carrier = Carrier(caller)
            while not self.stopping.is_set():
                if self.lane == "carry":
                    if carrier.work():
                        self._went_well()
                    else:
                        self.stopping.wait(CARRY)
                elif self.lane == "pull":
                    caller.pull()
                    self._went_well()
                elif caller.push():
                    self._went_well()
                else:
                    self._compare(caller)
                    self.stopping.wait(LOOK)
        return True

    def _compare(self, caller) -> None:
        """When nothing is to be said: compare both sites, twice a day, and an hour after they were found to differ."""
        from .joining import compare_link

        progress = caller.exchange.progress
        if not progress.loaded or time.monotonic() < self.compares:
            return
        self.compares = time.monotonic() + DIFFERING
        if progress.equal_at is None or timezone_now() - progress.equal_at > EQUAL:
            compare_link(caller)

    def _goodbye(self, caller) -> None:
        """This site has revoked the link: the other one is told, if it answers; nothing else is sent."""
        from ostoja.kernel.errors import OstojaError

        try:
            caller.goodbye()
        except OstojaError as error:
            log.warning("%s: not told that the link is revoked: %s", self.name, error.message)

    def _tell(self, error: Exception) -> None:
        from ostoja.kernel.errors import OstojaError
        from ostoja.tenancy.context import tenant_context

        from .using import trouble

        if isinstance(error, OstojaError):
            log.warning("%s: %s", self.name, error.message)
        else:
            log.exception("%s failed", self.name)
        try:
            with tenant_context(self.tenant):
                trouble(self.link_id, error, self.lane)
        except Exception:
            log.warning("%s: the database is away.", self.name)


def links_to_dial() -> list[tuple]:
    """(tenant, link id) of every link that this installation dials."""
    from django.db import connections

    from ostoja.tenancy.context import platform_context
    from ostoja.tenancy.fleet import over_tenants
    from ostoja.tenancy.models import Tenant

    found = list(
        over_tenants(
            connections["owner"],
            "SELECT id FROM {schema}.hybrid_link WHERE dials AND state = 'open'",
            states=("open", "catching"),
        )
    )
    with platform_context():
        tenants = {t.schema_name: t for t in Tenant.objects.filter(schema_name__in=[s for s, _id in found])}
    return [(tenants[schema], link) for schema, link in found if schema in tenants]


def main() -> None:
    """Run until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    import django

    django.setup()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    running: dict[tuple, Lane] = {}
    heard: dict[object, Heard] = defaultdict(Heard)
    while not stopping.is_set():
        try:
            for tenant, link in links_to_dial():
                for lane in ("push", "pull", "carry"):
                    if (link, lane) not in running or not running[link, lane].is_alive():
                        running[link, lane] = Lane(tenant, link, lane, stopping, heard[link])
                        running[link, lane].start()
        except Exception:
            log.exception("The links can't be read; tried again.")
            from django.db import connections

            connections.close_all()
        stopping.wait(LINKS)
    for lane in running.values():
        lane.join(timeout=2)


if __name__ == "__main__":
    from ostoja.hybrid import agent

    agent.main()
