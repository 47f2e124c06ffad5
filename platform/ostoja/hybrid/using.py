"""What a link carries in a day, since when it is behind, and what is wrong with it: noted with each exchange."""

from __future__ import annotations

from django.db import connection
from django.utils import timezone

from ostoja.kernel.errors import OstojaError

from .models import Link, LinkUse

LONGEST = 300

NOTE = """
UPDATE hybrid_linkuse u SET
  day = current_date, day_in = %(into)s + CASE WHEN u.day = current_date THEN u.day_in ELSE 0 END,
  day_out = %(out)s + CASE WHEN u.day = current_date THEN u.day_out ELSE 0 END,
  behind_since = CASE WHEN p.peer_high > p.applied THEN coalesce(u.behind_since, now()) END,
  trouble = CASE WHEN u.trouble_lane IN ('', %(lane)s) THEN '' ELSE u.trouble END,
  trouble_at = CASE WHEN u.trouble_lane IN ('', %(lane)s) THEN NULL ELSE u.trouble_at END
FROM hybrid_link l, hybrid_progress p WHERE l.id = %(link)s AND u.link_id = l.id AND p.link_id = l.id RETURNING l.state
"""


def note(link: Link, lane: str, *, into: int, out: int) -> str:
    """An exchange went well: so many bytes came and went, and what was wrong with this lane is so no more.

    Answers the state of the link as it is now.
    """
    with connection.cursor() as cursor:
        cursor.execute(NOTE, {"link": link.pk, "lane": lane, "into": into, "out": out})
        row = cursor.fetchone()
    return row[0] if row else ""


def trouble(link_id, error: Exception, lane: str = "") -> None:
    """Something is wrong with a lane of a link: keep what, until that lane works, so that people read it in words."""
    known = isinstance(error, OstojaError)
    LinkUse.objects.filter(link_id=link_id).update(
        trouble=error.code[:40] if known else "fault", trouble_words=(str(error.message) if known else "")[:LONGEST],
        trouble_lane=lane, trouble_at=timezone.now(),
    )  # fmt: skip
