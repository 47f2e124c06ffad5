"""``ostoja fleet``: all tenants together: their migrations and their state."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ostoja.cli.opening import console, opened
from ostoja.kernel.errors import OstojaError

fleet = typer.Typer(no_args_is_help=True, help="All tenants together: migrate them, see where they are.")


class NotPrepared(OstojaError):
    """The database could not be brought to this release."""

    code = "not_prepared"
    status = 500


@fleet.command()
def migrate(
    ready: Annotated[int | None, typer.Option(help="How many ready schemas should wait for sign-ups.", min=0)] = None,
    plain: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Bring shared tables, template, all tenants and the pool of ready schemas to this release."""
    with opened() as declared:
        from ostoja.operations.database import prepare_external
        from ostoja.tenancy.install import prepare

        if declared.postgres is None:
            prepare_external(declared.owner_dsn, declared.app_dsn)
        if plain:
            prepare(lambda line: print(line, flush=True), ready=ready)
            return
        out = console()
        with out.status("Looking at the database …") as status:
            prepare(lambda line: status.update(line), ready=ready)
        out.print("Everything is at this release.")


def prepare_apart(report: Callable[[str], None]) -> None:
    """Run ``fleet migrate`` in a process of its own and pass its lines on. Raises NotPrepared with its last sentence."""
    command = [sys.executable, "-m", "ostoja", "fleet", "migrate", "--plain"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout and process.stderr
        for line in process.stdout:
            report(line.strip())
        complaint = process.stderr.read().strip()
    if process.returncode:
        sentence = complaint.splitlines()[-1].removeprefix("ostoja: ") if complaint else "it ended without a word."
        raise NotPrepared(f"The database could not be prepared: {sentence}")


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(fleet, name="fleet")
