"""Large batches go to PostgreSQL as one array literal for each column."""

from __future__ import annotations

from collections.abc import Iterable


def array(keys: Iterable[object]) -> str:
    """Keys or numbers as one PostgreSQL array literal: quoting each by itself takes longer than the query."""
    return "{" + ",".join(map(str, keys)) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Texts as one PostgreSQL array literal: a list would be as many expressions for it to parse."""
    said = ['"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' if v is not None else "NULL" for v in values]
    return "{" + ",".join(said) + "}"
