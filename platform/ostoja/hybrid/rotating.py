"""Keys of a link as they change: both sites take new ones together, and the first use of the new ones ends the old ones."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused

from . import keys
from .models import Link, LinkUse

LASTS = timedelta(days=90)
WISH = "keys"  # what the site that is dialled adds to its answers when it wants new keys


def use_of(link: Link) -> LinkUse:
    """How a link is used; made when it is first asked for."""
    return LinkUse.objects.get_or_create(link=link, defaults={"since": link.enrolled_at})[0]


def want_new_keys(link: Link) -> None:
    """Both sites take new keys at their next exchange."""
    use = use_of(link)
    use.wanted = True
    use.save(update_fields=["wanted"])


def is_due(use: LinkUse) -> bool:
    """Whether it is time for new keys: they were asked for, or the present ones are 90 days old."""
    return use.wanted or timezone.now() - use.since > LASTS


def propose(link: Link) -> str:
    """The dialling site's new public key; the same one until it was taken."""
    use = use_of(link)
    if not use.next_private_key:
        use.next_private_key, _public = keys.new_pair()
        use.save(update_fields=["next_private_key"])
    return keys.public_of(use.next_private_key)


def take(link: Link, proposed: str) -> str:
    """The other site proposes a new key: note it, and answer with ours. Both count from the first request that they sign."""
    if not keys.is_key(proposed):
        raise Refused(_("This is no key."), code="bad_message")
    with transaction.atomic():
        use = LinkUse.objects.select_for_update().get(link=link)
        use.next_peer_key = proposed
        if not use.next_private_key:
            use.next_private_key, _public = keys.new_pair()
        use.save(update_fields=["next_peer_key", "next_private_key"])
    return keys.public_of(use.next_private_key)


def agree(link: Link, theirs: str) -> None:
    """The other site noted our new key and answered with its own."""
    if not keys.is_key(theirs):
        raise Refused(_("This is no key."), code="bad_message")
    LinkUse.objects.filter(link=link).update(next_peer_key=theirs)


def forget(link: Link) -> None:
    """The other site knows nothing of the new keys: the old ones count, and new ones are proposed again."""
    LinkUse.objects.filter(link=link).update(next_peer_key="", next_private_key="", wanted=True)


def promote(link: Link, use: LinkUse) -> None:
    """The new keys were used: the old ones count no longer."""
    with changing(Actor.system("Keys"), "rotate"):
        Link.objects.filter(pk=link.pk).update(private_key=use.next_private_key, peer_key=use.next_peer_key)
    use.past_peer_key, link.private_key, link.peer_key = link.peer_key, use.next_private_key, use.next_peer_key
    use.generation, use.since, use.wanted = use.generation + 1, timezone.now(), False
    use.next_private_key = use.next_peer_key = ""
    use.save(update_fields=[
        "past_peer_key", "generation", "since", "wanted", "next_private_key", "next_peer_key",
    ])  # fmt: skip


def lock(link: Link, reason: str) -> None:
    """Nothing passes until somebody has looked: the link may be opened again or revoked."""
    with changing(Actor.system("Keys"), "lock"):
        Link.objects.filter(pk=link.pk, state=Link.State.OPEN).update(state=Link.State.LOCKED, reason=reason[:300])
