"""Lines of the log say what went wrong and where, never with which value: logs are read, kept and shipped by other people."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Mapping

from django.db import InterfaceError, OperationalError

from .errors import OstojaError

ABOUT_CODE = (
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    RecursionError,
)  # their words name what is in the code
CELERYS = {
    "exc": "see below",
    "traceback": "",
    "args": "",
    "kwargs": "",
}  # how Celery spells an error, and its own arguments


class Line(logging.Formatter):
    """Formats a record. An error in it becomes its kind and what is no value; its traceback has no words of others."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, with the traceback below."""
        quiet = copy.copy(record)
        quiet.exc_text = None
        if isinstance(record.args, Mapping):
            quiet.args = {**record.args, **{k: v for k, v in CELERYS.items() if k in record.args}}
        elif record.args:
            quiet.args = tuple(told(one) if isinstance(one, BaseException) else one for one in record.args)
        return super().format(quiet)

    def formatException(self, ei) -> str:
        """The error with those that led to it, the first one on top: where each arose, and what it is."""
        parts: list[str] = []
        error, seen = ei[1], set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            parts.insert(0, "".join([*traceback.format_tb(error.__traceback__), told(error)]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n\nThen:\n\n".join(parts)


def told(error: BaseException) -> str:
    """The kind of an error, and those of its words that hold no value."""
    kind, said = type(error).__qualname__, words(error)
    return f"{kind}: {said}" if said else kind


def words(error: BaseException) -> str:
    """What may be said of an error: sentences for operators, the database's codes and names, what the system says."""
    if isinstance(error, OstojaError):
        return error.message if error.status >= 500 else error.code
    if state := getattr(error, "pgcode", None):
        about = getattr(error, "diag", None)
        return " ".join(filter(None, [state, getattr(about, "constraint_name", ""), getattr(about, "table_name", "")]))
    if isinstance(error, OSError):
        return error.strerror or ""
    if isinstance(error, OperationalError | InterfaceError):
        return "" if getattr(error.__cause__, "pgcode", None) else str(error).strip()
    return str(error) if isinstance(error, ABOUT_CODE) else ""
