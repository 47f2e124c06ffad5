"""Large batches go to PostgreSQL as one array literal for each column."""

from __future__ import annotations

from collections.abc import Iterable


def array(keys: Iterable[object]) -> str:
    """Keys or numbers as one PostgreSQL array literal: quoting each by itself takes longer than the query."""
    return "{" + ",".join(map(str, keys)) + "}"
