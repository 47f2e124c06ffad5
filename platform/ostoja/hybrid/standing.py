"""Where this site of the open tenant stands, as every page asks: premises, cloud or alone; and what may travel from here."""

from __future__ import annotations

from functools import lru_cache

from django.db import connection
from django.utils.translation import gettext as _

from ostoja.access.narrowing import keep_elsewhere
from ostoja.kernel import registry
from ostoja.kernel.data import Sync
from ostoja.kernel.registry import Entry
from ostoja.tenancy.context import opening

from .core.terms import Manifest
from .install import KEPT, PREMISES_DECIDE
from .levels import tables_under
from .models import Link, Site
from .sites import manifest_in_force, policy_in_force
from .tables import Tables, tables_of


def kind_here(request=None) -> str:
    """``cloud``, ``premises``, ``desktop``, or nothing where the tenant lives on one site. One query for a request."""
    if opening() is None or opening().tenant is None:
        return ""
    found = getattr(request, "hybrid_kind", None)
    if found is None:
        found = Site.objects.filter(here=True).values_list("kind", flat=True).first() or ""
        if request is not None:
            request.hybrid_kind = found
    return found


def is_hybrid() -> bool:
    """Whether the open tenant lives on several sites."""
    return kind_here() != ""


def is_cloud() -> bool:
    """Whether this site of the open tenant is the cloud's."""
    return kind_here() == Site.Kind.CLOUD


@lru_cache(maxsize=1)
def _decided_elsewhere() -> str:
    """The objects of which the database of this kind of site takes nothing but from the site that decides (``install``)."""
    kept = {by: [e.label for e in registry.entries() if e.model.sync == by] for by in (Sync.PREMISES, Sync.CLOUD)}
    away = {
        Site.Kind.CLOUD: kept[Sync.PREMISES],
        Site.Kind.PREMISES: kept[Sync.CLOUD],
        Site.Kind.DESKTOP: [*kept[Sync.PREMISES], *kept[Sync.CLOUD]],
    }
    cases = " ".join(f"WHEN '{kind}' THEN '{{{','.join(labels)}}}'" for kind, labels in away.items())
    return f"SELECT CASE kind {cases} END FROM hybrid_site WHERE here AND (kind <> 'cloud' OR {PREMISES_DECIDE})"


def _why(entry: Entry) -> str:
    return _(KEPT[by]) if (by := str(entry.model.sync)) in KEPT else ""


keep_elsewhere(_decided_elsewhere, _why)


def travelling(kind: str) -> Tables:
    """What may travel: on the premises by the policy in force, elsewhere by what the premises agreed to."""
    return tables_under(policy_in_force()) if kind == Site.Kind.PREMISES else agreed_tables()


def agreed_tables() -> Tables:
    """What this site and the premises both let travel; with several links, what all of them do."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.link_id, md5(p.peer_manifest) FROM hybrid_progress p JOIN hybrid_link l ON l.id = p.link_id "
            "WHERE l.state = %s AND length(p.peer_manifest) > 0 ORDER BY l.enrolled_at, l.id",
            [Link.State.OPEN],
        )
        told = cursor.fetchall()
    own = manifest_in_force().canonical
    return _agreed(own, tuple((str(link), digest) for link, digest in told))


@lru_cache(maxsize=32)
def _agreed(own: bytes, told: tuple[tuple[str, str], ...]) -> Tables:
    """The tables of an agreement; the digests of the others' manifests stand for them."""
    both = Manifest.from_canonical(own)
    for link, _digest in told:
        with connection.cursor() as cursor:
            cursor.execute("SELECT peer_manifest FROM hybrid_progress WHERE link_id = %s", [link])
            both = both.intersect(Manifest.from_canonical(bytes(cursor.fetchone()[0])))
    return tables_of(both.canonical)
