"""Where this tenant lives: the site that we are, the links to others, the manifest in force, and the actor that a link is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import connection

from ostoja.kernel.actors import Actor
from ostoja.kernel.data import DataClass
from ostoja.kernel.errors import NotFound
from ostoja.tenancy.context import current_tenant

from .core.epochs import renewed
from .core.terms import Authority, Manifest
from .manifest import Policy, compile_manifest
from .models import Link, PolicyRule, Progress, Site
from .tables import Tables, tables_of

CLOUD = 1


@dataclass(frozen=True)
class Here:
    """This site of the open tenant: its number, kind and incarnation, and what may travel from it."""

    number: int
    kind: str
    epoch: int
    manifest: Manifest
    tables: Tables
    ceiling: int = 1
    name: str = ""
    founded: bool = True
    withdrawn: bool = False
    restored: bool = False
    retired: bool = False

    @property
    def in_cloud(self) -> bool:
        """Whether this is the cloud."""
        return self.kind == Site.Kind.CLOUD

    @property
    def is_owner(self) -> bool:
        """Whether these are the premises: owner of labels, and authority."""
        return self.kind == Site.Kind.PREMISES

    def leads_to(self, link: Link) -> frozenset[str]:
        """The authorities that lie behind a link of ours."""
        if self.kind == Site.Kind.DESKTOP:
            return frozenset([Authority.PREMISES, Authority.CLOUD])
        behind = {Site.Kind.PREMISES: Authority.PREMISES, Site.Kind.CLOUD: Authority.CLOUD}
        return frozenset(a for kind, a in behind.items() if kind == link.site.kind)


def policy_in_force() -> Policy:
    """What the open tenant decided."""
    rules = list(PolicyRule.objects.filter(state=PolicyRule.State.FORCE))
    about = PolicyRule.About
    return Policy(
        classes={DataClass(r.name): r.level for r in rules if r.about == about.CLASS},
        fields={r.name: r.level for r in rules if r.about == about.FIELD},
        closed=frozenset(r.name for r in rules if r.about == about.OBJECT and r.level > 0),
    )


def manifest_in_force() -> Manifest:
    """The manifest of the open tenant under its policy. What the premises decided counts elsewhere, once it was taken over."""
    adopted = Site.objects.filter(here=True).values_list("adopted", flat=True).first()
    return Manifest.from_canonical(adopted.encode()) if adopted else compile_manifest(policy_in_force())


def here() -> Here:
    """The site that this is. Raises NotFound when the open tenant is not hybrid."""
    site = Site.objects.filter(here=True).first()
    if site is None:
        raise NotFound("This tenant lives on one site only: link another with `ostoja site enrol`.")
    adopted = site.adopted.encode()
    manifest = Manifest.from_canonical(adopted) if adopted else compile_manifest(policy_in_force())
    return Here(
        site.number, site.kind, site.epoch, manifest, tables_of(manifest.canonical), site.ceiling, site.name, site.founded, site.withdrawn,
        site.restored, site.retired,
    )  # fmt: skip


def decided() -> tuple:
    """A mark that is another one as soon as something else may travel from this site. One query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM hybrid_policyrule), (SELECT max(updated_at) FROM hybrid_policyrule), "
            "(SELECT md5(adopted) FROM hybrid_site WHERE here)"
        )
        return cursor.fetchone()


def agreed(ours: Manifest, progress: Progress) -> Tables:
    """The tables of what both manifests allow; nothing before the peer's is known."""
    theirs = bytes(progress.peer_manifest)
    both = ours.intersect(Manifest.from_canonical(theirs)) if theirs else Manifest({})
    return tables_of(both.canonical)


def actor_of(link: Link) -> Actor:
    """Who acts when a change from the other site is applied."""
    return Actor(kind="site", id=link.pk, label=str(link.site), superuser=True)


def new_epoch(previous: int = 0) -> int:
    """The number of the incarnation that follows: its ordinal in the upper bits, 32 random bits below."""
    return renewed(previous, secrets.randbits(32))


def head() -> int:
    """Number what is committed; answers the last number of the open tenant's journal."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT journal_sequence()")
        return cursor.fetchone()[0]


def schema() -> str:
    """The schema of the open tenant."""
    return current_tenant().schema_name
