"""What the commands share: the home they work in, an opened installation, and answers for people or machines."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ostoja.settings.declaration import Declaration

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Where the state lives. [default: $OSTOJA_HOME or .ostoja]", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


_loud = False


def be_loud() -> None:
    """Show on the terminal what is logged."""
    global _loud
    _loud = True


def use_home(home: Path | None) -> None:
    """Work in this home from now on, and so do all programs that are started."""
    if home is not None:
        os.environ["OSTOJA_HOME"] = str(home.expanduser().absolute())


def declaration() -> Declaration:
    """The declaration of the installation. Raises DeclarationError."""
    know_the_port()
    from ostoja.settings import DECLARATION

    return DECLARATION


def console() -> Console:
    """The terminal for progress and sentences; answers go to stdout, this goes to stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def know_the_port() -> None:
    """Let links name the port at which Ostoja is up in this home."""
    from ostoja.operations.installation import home_of, port_of

    if "OSTOJA_UP_PORT" not in os.environ and (port := port_of(home_of(os.environ))) is not None:
        os.environ["OSTOJA_UP_PORT"] = str(port)


@contextmanager
def services() -> Iterator[Declaration]:
    """The installation with its database and broker running, for the block; those that run already are shared."""
    declared = declaration()
    with ExitStack() as stack:
        for service in (declared.postgres, declared.valkey):
            if service is not None:
                stack.enter_context(service)
        yield declared


@contextmanager
def opened() -> Iterator[Declaration]:
    """The installation with its services and with Django set up, for the block."""
    with services() as declared:
        import django

        django.setup()
        if not _loud:
            logging.disable(logging.CRITICAL)  # a command ends with one sentence
        try:
            yield declared
        finally:
            from django.db import connections

            connections.close_all()
            logging.disable(logging.NOTSET)


def answer(data: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print ``data`` as JSON, or let ``show`` print it for a person."""
    if as_json:
        json.dump(data, sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        show(data)


def table(columns: list[str], rows: list[list[Any]], empty: str) -> None:
    """Print a plain table on stdout, or the sentence ``empty`` when there is no row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    if not rows:
        out.print(Text(empty))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row))
    out.print(shown)
