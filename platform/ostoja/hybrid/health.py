"""How a link is: its state in one word and in sentences, what each side still has to get, and whether both were found equal."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models import Count, Min
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import dialling
from .exchange import OLDER, UNKNOWN_MANIFEST
from .models import Conflict, Link, LinkUse, Parked, Progress, PurgeCase
from .rotating import LASTS, use_of

EQUAL_FOR = timedelta(hours=24)  # the one red rule: equal within this time is the signal of health, "connected" is not
SILENT = timedelta(seconds=90)  # a site that dials is heard every 25 seconds at least
BEHIND = 5.0  # seconds; what is on its way for less is no lag
AHEAD_MS, BACK_MS = (
    2000,
    60_000,
)  # a message that took long looks like a clock that is behind, never like one that is ahead

STATES = {
    "live": (gettext_lazy("Live"), "green"),
    "behind": (gettext_lazy("Behind"), "amber"),
    "loading": (gettext_lazy("First load"), "blue"),
    "waiting": (gettext_lazy("Waiting for the other site"), "amber"),
    "parked": (gettext_lazy("Parked changes"), "amber"),
    "clock": (gettext_lazy("Clock suspect"), "red"),
    "manifest": (gettext_lazy("Manifests differ"), "red"),
    "trouble": (gettext_lazy("In trouble"), "red"),
    "locked": (gettext_lazy("Locked"), "red"),
    "revoked": (gettext_lazy("Revoked"), "gray"),
}
CLOCKS, MANIFESTS, AWAY = ("clock_suspect", "stamps_ahead"), ("not_open", "unknown_manifest"), (*dialling.AWAY, "busy")

PROBLEMS = {UNKNOWN_MANIFEST: "unknown_manifest", OLDER[:300]: "older_copy"}


@dataclass
class Lag:
    """One direction: how many changes are not there yet, and for how many seconds the oldest waits."""

    changes: int
    seconds: float

    @property
    def counts(self) -> bool:
        """Whether it is more than what is just on its way."""
        return self.changes > 0 and self.seconds > BEHIND


@dataclass
class Health:
    """What is to be known of one link now."""

    link: Link
    progress: Progress
    use: LinkUse
    to_send: Lag
    to_take: Lag
    unsequenced_at: dt.datetime | None
    parked: int
    parked_at: dt.datetime | None
    conflicts: int
    purges: int
    purged_at: dt.datetime | None
    now: dt.datetime

    @property
    def state(self) -> str:
        """One of STATES; the worst that is true."""
        if self.link.state != Link.State.OPEN:
            return self.link.state
        trouble = self.trouble
        if trouble in CLOCKS:
            return "clock"
        if trouble in MANIFESTS:
            return "manifest"
        if trouble and trouble not in AWAY:
            return "trouble"
        if trouble or self.silent:
            return "waiting"
        if self.skewed:
            return "clock"
        if self.link.dials and not self.progress.loaded:
            return "loading"
        if self.parked:
            return "parked"
        return "behind" if self.to_send.counts or self.to_take.counts else "live"

    @property
    def trouble(self) -> str:
        """The code of what is wrong; nothing when all went well last time."""
        return self.use.trouble or PROBLEMS.get(self.progress.problem, "")

    @property
    def skewed(self) -> bool:
        """Whether the other site's clock was certainly another one when it was heard last."""
        return self.progress.skew_ms > AHEAD_MS or self.progress.skew_ms < -BACK_MS

    @property
    def silent(self) -> bool:
        """Whether the other site was not heard for longer than it should be."""
        return self.progress.seen_at is None or self.now - self.progress.seen_at > SILENT

    @property
    def is_equal(self) -> bool:
        """The signal of health: both sites were found to hold the same within a day."""
        return self.progress.equal_at is not None and self.now - self.progress.equal_at <= EQUAL_FOR

    @property
    def key_days(self) -> int:
        """How old the keys are."""
        return (self.now - self.use.since).days

    @property
    def day(self) -> tuple[int, int]:
        """Bytes that came and went today."""
        today = self.use.day == self.now.date()
        return (self.use.day_in, self.use.day_out) if today else (0, 0)


def health_of(link: Link) -> Health:
    """How this link is now. The link comes with its site and progress."""
    progress, use, now = link.progress, use_of(link), timezone.now()
    parked = Parked.objects.filter(link=link).aggregate(n=Count("pk"), first=Min("created_at"))
    purges = PurgeCase.objects.filter(link=link, gone_at=None).aggregate(n=Count("pk"), first=Min("created_at"))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM journal_change WHERE seq > %(acked)s) + (SELECT count(*) FROM journal_change WHERE seq IS NULL), "
            "coalesce((SELECT at FROM journal_change WHERE seq > %(acked)s ORDER BY seq LIMIT 1), "
            "(SELECT min(at) FROM journal_change WHERE seq IS NULL)), (SELECT min(at) FROM journal_change WHERE seq IS NULL)",
            {"acked": progress.acked},
        )
        unsent, oldest, unsequenced = cursor.fetchone()
    untaken = max(0, progress.peer_high - progress.applied)
    since = use.behind_since or progress.seen_at
    return Health(
        link=link, progress=progress, use=use, now=now, unsequenced_at=unsequenced,
        to_send=Lag(unsent, (now - oldest).total_seconds() if oldest else 0.0),
        to_take=Lag(untaken, (now - since).total_seconds() if untaken and since else 0.0),
        parked=parked["n"], parked_at=parked["first"], purges=purges["n"], purged_at=purges["first"],
        conflicts=Conflict.objects.filter(site=link.site, state=Conflict.State.OPEN).count(),
    )  # fmt: skip


def sentences(health: Health) -> list[str]:
    """What is wrong, each with the way out; the most important first. None when all is well."""
    link, use, skew = health.link, health.use, health.progress.skew_ms
    said = []
    if link.state == Link.State.LOCKED:
        said.append(_("Locked: {why} Switch the copy off, then open the link again; or revoke it and link the site anew.").format(why=link.reason))  # fmt: skip
    elif link.state == Link.State.REVOKED:
        return [_("Revoked: nothing passes. What each site has stays there. To link them again, invite the site anew.")]
    if health.trouble:
        said.append(trouble_in_words(link, health.trouble))
    if health.silent and not health.trouble and link.state == Link.State.OPEN:
        said.append(_("The other site is not heard. See that it runs, and that it may open HTTPS to this one. Nothing is lost: both go on, and catch up afterwards.") if not link.dials  # fmt: skip
                    else _("Nothing passes. See that the agent runs here (`ostoja up`, `ostoja doctor`) and that {where} answers.").format(where=link.url or link.site))  # fmt: skip
    if health.state == "clock" and health.trouble not in CLOCKS:
        said.append(_("The clocks differ by {n} seconds, so that “later” is not certain. Set both by NTP.").format(n=round(abs(skew) / 1000)))  # fmt: skip
    if health.parked:
        said.append(ngettext("{n} change waits for something that has not come yet. It is tried again and blocks nothing; if it stays for an hour, verify.", "{n} changes wait for something that has not come yet. They are tried again and block nothing; if they stay for an hour, verify.", health.parked).format(n=health.parked))  # fmt: skip
    if use.wanted:
        said.append(_("Both sites take new keys at the next exchange."))
    elif health.key_days > LASTS.days + 7:
        said.append(_("The keys are {n} days old; they change by themselves after 90. Change them now.").format(n=health.key_days))  # fmt: skip
    return said


def trouble_in_words(link: Link, code: str) -> str:
    """What went wrong last, and what to do about it."""
    where = link.url or str(link.site)
    return {
        "unreachable": _("{where} does not answer. See that it runs and that this site may open HTTPS to it; nothing is lost meanwhile."),
        "unknown_name": _("The name in {where} is not known here. See that it is written right and that this machine can look names up (DNS); nothing is lost meanwhile."),
        "certificate": _("The certificate of {where} is not valid: it has expired, or its issuer is not known here. Renew it there, or let this machine trust the issuer."),
        "not_signed": _("An answer was not signed by {where}: something in between changes what passes. Let this address pass your proxy without inspection, and compare the fingerprint."),
        "link_closed": _("{where} does not know this link, or not with this key: it was restored from an older backup, or the link was made anew. Revoke the link here and link the site again."),
        "revoked": _("The link was revoked at the other site. Revoke it here as well; to link them again, invite the site anew."),
        "locked": _("The link is locked at {where}. Look at “Sites and links” there; it can be opened again from there."),
        "cloned": _("Two sites use the key of this link. Switch the copy off, then open the link again at {where}."),
        "replayed": _("{where} has seen a request like this before. Once is chance; if it stays, this site was copied or restored: link it anew."),
        "clock_suspect": _("A clock is wrong: the two sites differ by minutes. Set both by NTP; nothing is taken until then, and nothing is lost."),
        "stamps_ahead": _("A clock is wrong: the two sites differ by minutes. Set both by NTP; nothing is taken until then, and nothing is lost."),
        "not_open": _("The other site sent something that may not come here. Wait until both know the same policy; if it stays, bring both to the same version."),
        "unknown_manifest": _("The sites have not agreed yet on what may travel. Until then less is sent, never more. If this stays for minutes, bring both to the same version."),
        "other_protocol": _("The other site is of a version that speaks differently. Update the older of both; nothing passes until then, and nothing is lost."),
        "bad_message": _("A message was damaged on its way and is sent again. If it stays, bring both sites to the same version."),
        "older_copy": _("A copy of a site is older than what the other one knows: it was restored from a backup, or copied. Run `ostoja site renew` there if it is the one that goes on; switch it off if it is a copy."),
        "busy": _("People work on the same records just now. It is tried again in a moment."),
        "fault": _("Something unforeseen happened here: the log of the agent says more. It is tried again."),
    }.get(code, _("{where} had a fault; its log says more. It is tried again.")).format(where=where)  # fmt: skip


def word(state: str) -> tuple[str, str]:
    """The word for a state, and its tone."""
    said, tone = STATES[state]
    return str(said), tone
