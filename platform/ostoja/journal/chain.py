"""The hash chain: numbers new changes, verifies all of them, and anchors the head outside of the tenant's reach."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import JournalAnchor


@dataclass(frozen=True)
class Verdict:
    """What a verification found; ``head`` is the last number; ``bad`` the first number that is wrong, ``why`` in words."""

    head: int
    bad: int | None
    why: str

    def __bool__(self):
        return self.bad is None


def sequence(tenant) -> int:
    """Give the tenant's committed, unnumbered changes their gapless numbers and hashes; returns the last number."""
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT journal_sequence()")
        return cursor.fetchone()[0]


def anchor(tenant) -> int:
    """Number what is new and keep the head's hash outside of the tenant's schema, where its role can't write."""
    head = sequence(tenant)
    if head:
        with tenant_context(tenant), connection.cursor() as cursor:
            cursor.execute("SELECT encode(digest, 'hex') FROM journal_change WHERE seq = %s", [head])
            digest = cursor.fetchone()[0]
        with platform_context():
            JournalAnchor.objects.get_or_create(tenant=tenant, seq=head, defaults={"digest": digest})
    return head


def verify(tenant) -> Verdict:
    """Recompute the chain. An edit or a hole breaks it; a tail that was cut off is seen by the anchors."""
    with platform_context():
        anchors = list(JournalAnchor.objects.filter(tenant=tenant).order_by("seq").values_list("seq", "digest"))
    sequence(tenant)
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT bad, why, head FROM journal_verify()")
        bad, why, head = cursor.fetchone()
        if bad is not None:
            return Verdict(head, bad, f"Change {bad} is {why}.")
        cursor.execute(
            "SELECT seq, encode(digest, 'hex') FROM journal_change WHERE seq = ANY(%s)",
            [[seq for seq, _digest in anchors]],
        )
        present = dict(cursor.fetchall())
    for seq, digest in anchors:
        if present.get(seq) != digest:
            return Verdict(
                head,
                seq,
                f"Change {seq} is not the one that was anchored: the end of the journal was cut off or rewritten.",
            )
    return Verdict(head, None, "")
