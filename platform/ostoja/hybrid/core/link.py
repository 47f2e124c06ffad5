"""What a decision must know of the site that decides and of the link that it decides for."""

from __future__ import annotations

from typing import NamedTuple

from .labels import floor_of
from .terms import Authority, Manifest


class Site(NamedTuple):
    """The site that decides: its number, its incarnation, whether it is the premises (owner of labels, and authority)."""

    number: int
    epoch: int
    owner: bool = False

    @property
    def floor(self) -> int:
        """The least label version that it hands out; 0 for whoever owns no labels."""
        return floor_of(self.epoch) if self.owner else 0


class LinkTerms(NamedTuple):
    """One link: the peer's number, the ceiling of what may pass, the intersected manifest, and where it leads.

    ``leads_to`` are the authorities that lie behind the peer. Labels, purges and decisions come from where the premises are.
    ``acked`` is how far the peer acknowledged our stream.
    """

    peer: int
    ceiling: int
    manifest: Manifest
    leads_to: frozenset[str] = frozenset()
    acked: int = 0

    @property
    def up(self) -> bool:
        """Whether the premises are behind this link."""
        return Authority.PREMISES in self.leads_to
