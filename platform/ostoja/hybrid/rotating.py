"""Keys of a link as they change: both sites take new ones together, and an old key that comes back locks the link."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from .models import Link, LinkUse

LASTS = timedelta(days=90)


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
