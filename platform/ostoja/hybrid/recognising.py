"""Whether a request over a link is the other site's own, made just now and for the first time; a copied site is found out here."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from ostoja.kernel.errors import NotAllowed

from . import keys, rotating
from .models import Link, LinkUse, Progress

SKEW = 600  # seconds that the clocks of two sites may differ before a request is refused
LATER = 2  # seconds by which a request must have been made after another, to be told from one that came late
LANES = {"push": ("pushes", "pushed_at"), "pull": ("pulls", "pulled_at"), "carry": ("carries", "carried_at")}


@dataclass(frozen=True)
class Claim:
    """What a request says of itself: when it was made, in which lane and as which of it, with which keys, by which incarnation."""

    path: str
    moment: int
    lane: str
    counter: int
    generation: int
    epoch: int
    digest: str

    @property
    def parts(self) -> tuple:
        """What is signed."""
        return ("POST", self.path, self.moment, self.lane, self.counter, self.generation, self.epoch, self.digest)

    def headers(self, private_key: str) -> dict[str, str]:
        """The claim with its signature, as headers."""
        return {
            "X-Ostoja-Time": str(self.moment), "X-Ostoja-Lane": self.lane, "X-Ostoja-Counter": str(self.counter),
            "X-Ostoja-Generation": str(self.generation), "X-Ostoja-Epoch": str(self.epoch),
            "X-Ostoja-Signature": keys.sign(private_key, *self.parts),
        }  # fmt: skip

    @classmethod
    def of(cls, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Claim, str]:
        """The claim in these headers, and its signature. Raises NotAllowed when there is none."""
        try:
            numbers = [int(headers[f"X-Ostoja-{n}"]) for n in ("Time", "Counter", "Generation", "Epoch")]
            lane, signature = headers["X-Ostoja-Lane"], headers["X-Ostoja-Signature"]
        except (KeyError, ValueError):
            raise NotAllowed(_("The request is not signed."), code="not_signed") from None
        if lane not in LANES or any(not 0 <= n < 2**63 for n in numbers):
            raise NotAllowed(_("The request is not signed."), code="not_signed")
        moment, counter, generation, epoch = numbers
        return cls(path, moment, lane, counter, generation, epoch, keys.digest(body)), signature


class Copied(Exception):
    """Two holders of one key: the sentence says how it was found out."""


def recognised(key: uuid.UUID, claim: Claim, signature: str) -> Link:
    """The link whose other end made this request. Raises NotAllowed; a key that two sites use locks the link."""
    link = Link.objects.filter(pk=key, dials=False).select_related("site").first()
    if link is None:
        raise _closed()
    rotating.use_of(link)
    try:
        with transaction.atomic():
            return _judged(link, claim, signature)
    except Copied as error:
        rotating.lock(link, str(error))
        raise NotAllowed(str(error), code="cloned") from None


def _closed() -> NotAllowed:
    return NotAllowed(_("This link is not open, or the key is not its own."), code="link_closed")


def _judged(link: Link, claim: Claim, signature: str) -> Link:
    use = LinkUse.objects.select_for_update().get(link=link)
    link.refresh_from_db(fields=["state", "private_key", "peer_key", "reason"])
    fresh = _key(link, use, claim, signature)
    if link.state == Link.State.REVOKED:
        raise NotAllowed(_("This link was revoked at the other site: it stays closed."), code="revoked")
    if link.state == Link.State.LOCKED:
        raise NotAllowed(_("This link is locked: {why}").format(why=link.reason), code="locked")
    if abs(time.time() - claim.moment) > SKEW:
        raise NotAllowed(
            _("The clocks of the two sites differ by more than ten minutes: set both by NTP."), code="clock_suspect"
        )
    column, at = LANES[claim.lane]
    newest = max(use.pushed_at, use.pulled_at, use.carried_at)
    if fresh is None or claim.generation != use.generation + fresh:
        _again(claim.moment > newest + LATER, _("A key that was replaced was used again: two sites hold a copy of it."))
    progress = Progress.objects.get(link=link)
    if use.incarnation and claim.epoch != use.incarnation:
        if claim.epoch in use.past_incarnations:
            _again(claim.moment > newest + LATER, _("The site as it was before it was restored is still running."))
        use.past_incarnations = [*use.past_incarnations, use.incarnation]
        Progress.objects.filter(pk=progress.pk).update(pushes=0, pulls=0, carries=0)
    elif claim.counter <= getattr(progress, column):
        _again(
            claim.moment > getattr(use, at) + LATER, _("Two sites use the same key, and count their requests apart.")
        )
    use.incarnation = claim.epoch
    setattr(use, at, claim.moment)
    use.save(update_fields=["incarnation", "past_incarnations", at])
    Progress.objects.filter(pk=progress.pk).update(**{column: claim.counter})
    if fresh:
        rotating.promote(link, use)
    return Link.objects.select_related("site", "progress", "use").get(pk=link.pk)


def _key(link: Link, use: LinkUse, claim: Claim, signature: str) -> bool | None:
    """Whether the new key signed it; None when it was one that counts no longer. Raises NotAllowed for any other."""
    for public, answer in ((link.peer_key, False), (use.next_peer_key, True), (use.past_peer_key, None)):
        if public and keys.is_signed(public, signature, *claim.parts):
            return answer
    raise _closed()


def _again(later: bool, why: str) -> None:
    """A request that was there before; one that was made later than what followed it comes from a second holder of the key."""
    if later:
        raise Copied(why)
    raise NotAllowed(_("This request was made before: it was played again, or the site was cloned."), code="replayed")
