"""The agent of a site that dials: three lanes for every open link, tried again with growing pauses; it never gives up.

It is the one program of an installation that reaches other sites, and it reaches nothing else.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from django.utils.timezone import now as timezone_now

from ostoja.kernel import outbound

log = logging.getLogger(__name__)
LOOK = 0.05  # seconds between two looks for changes of ours
CARRY = 3.0  # seconds between two looks for files to carry
LINKS = 5.0  # seconds between two looks for new links
ASKED = 1.0  # seconds between two looks whether somebody wants both sites compared
LONGEST_PAUSE = 30.0  # so that what was called back meanwhile is gone within a minute of a line that is there again
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
        self.looks = 0.0

    def run(self) -> None:
        """Exchange until told to stop or the link is closed."""
        from django.db import connections

        from .dialling import AWAY

        while not self.stopping.is_set():
            try:
                if not self._work():
                    return
            except Exception as error:
                self.pause = min(LONGEST_PAUSE, max(1.0, self.pause * 2))
                self._tell(error)
                connections.close_all()
                self._wait(getattr(error, "code", "") in AWAY)

    def _went_well(self) -> None:
        self.pause, self.heard.at = 0.0, time.monotonic()

    def _wait(self, away: bool) -> None:
        began = time.monotonic()
        until = began + self.pause * random.uniform(0.5, 1.0)
        while (left := until - time.monotonic()) > 0 and not self.stopping.wait(min(WAKE, left)):
            if (away and self.heard.at > began) or self._is_asked():
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
            self._do_what_is_asked()
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
                    self._do_what_is_asked()
                    self._compare(caller)
                    self.stopping.wait(LOOK)
        return True

    def _asked(self) -> list:
        """Comparisons over this link that people asked for: no worker does them, as only this program may dial."""
        from ostoja.jobs.models import Job

        from .joining import COMPARE

        if time.monotonic() < self.looks:
            return []
        self.looks = time.monotonic() + ASKED
        waiting = Job.objects.filter(kind=COMPARE, args__link=str(self.link_id), run_after__lte=timezone_now())
        return list(waiting.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING]).values_list("pk", flat=True))

    def _is_asked(self) -> bool:
        """Whether somebody waits for a comparison; not while the database is away."""
        from django.db import Error, connections

        from ostoja.kernel.errors import OstojaError
        from ostoja.tenancy.context import tenant_context

        if self.lane != "push":
            return False
        try:
            with tenant_context(self.tenant):
                asked = bool(self._asked())
        except (Error, OstojaError):
            connections.close_all()
            return False
        self.looks = 0.0
        return asked

    def _do_what_is_asked(self) -> None:
        from ostoja.jobs.runner import execute

        for job in self._asked() if self.lane == "push" else ():
            execute(self.tenant, job, elsewhere=True)

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
    """(tenant, link id, address) of every link that this installation dials."""
    from django.db import connections

    from ostoja.tenancy.context import platform_context
    from ostoja.tenancy.fleet import over_tenants
    from ostoja.tenancy.models import Tenant

    found = list(
        over_tenants(
            connections["owner"],
            "SELECT id, url FROM {schema}.hybrid_link WHERE dials AND state = 'open'",
            states=("open", "catching"),
        )
    )
    with platform_context():
        tenants = {t.schema_name: t for t in Tenant.objects.filter(schema_name__in=[s for s, *_link in found])}
    return [(tenants[schema], link, url) for schema, link, url in found if schema in tenants]


class Agent:
    """All lanes of all links. It can reach the sites of its links and nobody else; when those are others, it begins anew."""

    def __init__(self, stopping: threading.Event):
        self.stopping = stopping
        self.lanes: dict[tuple, Lane] = {}
        self.heard: dict[object, Heard] = defaultdict(Heard)
        self.places: frozenset = frozenset()

    def look(self) -> bool:
        """Start the lanes that are missing; False when there are other places to reach than those that were given once."""
        from .dialling import places_of

        links = links_to_dial()
        wanted = places_of(url for _tenant, _link, url in links)
        if not self.places and wanted:
            outbound.reach(wanted)
            self.places = wanted
        if wanted - self.places or (wanted != self.places and not self._is_leaving({link for _t, link, _u in links})):
            return False
        for tenant, link, _url in links:
            for lane in ("push", "pull", "carry"):
                if (link, lane) not in self.lanes or not self.lanes[link, lane].is_alive():
                    self.lanes[link, lane] = Lane(tenant, link, lane, self.stopping, self.heard[link])
                    self.lanes[link, lane].start()
        return True

    def _is_leaving(self, links: set) -> bool:
        """Whether lanes of links that are closed have not ended yet."""
        return any(lane.is_alive() for (link, _lane), lane in self.lanes.items() if link not in links)

    def end(self) -> None:
        """Wait a little for the lanes, which were told to stop."""
        for lane in self.lanes.values():
            lane.join(timeout=2)


def main() -> None:
    """Run until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    outbound.begin(outbound.GIVEN)
    import django

    django.setup()
    ending, stopping = threading.Event(), threading.Event()

    def told(*_) -> None:
        ending.set()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    agent = Agent(stopping)
    while not stopping.is_set():
        try:
            if not agent.look():
                log.info("Other sites are to be reached than those at the start: the agent begins anew.")
                break
        except Exception:
            log.exception("The links can't be read; tried again.")
            from django.db import connections

            connections.close_all()
        stopping.wait(LINKS)
    stopping.set()
    agent.end()
    if not ending.is_set():
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    from ostoja.hybrid import agent

    agent.main()
