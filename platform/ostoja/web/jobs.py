"""The background work that pages start and that belongs to no module: the worker loads its handlers here."""

from ostoja import handover

__all__ = ["handover"]
