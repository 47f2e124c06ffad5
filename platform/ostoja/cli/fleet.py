"""``ostoja fleet``: all tenants together: their migrations and their state."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from ostoja.cli.opening import Json, answer, console, opened, table
from ostoja.kernel.errors import OstojaError

LEFT_BEHIND = 3

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
        from ostoja.tenancy.fleet import status
        from ostoja.tenancy.install import prepare

        if declared.postgres is None:
            prepare_external(declared.owner_dsn, declared.app_dsn)
        if plain:
            prepare(lambda line: print(line, flush=True), ready=ready)
        else:
            with console().status("Looking at the database …") as progress:
                prepare(progress.update, ready=ready)
        behind = [head for head in status() if head.behind]
    if behind:
        print(_left_behind(behind), file=sys.stderr)
        raise typer.Exit(LEFT_BEHIND)
    if not plain:
        console().print("Everything is at this release.")


@fleet.command("status")
def show_status(as_json: Json = False) -> None:
    """Show which tenants are at this release, and why others are not."""
    with opened():
        from ostoja.tenancy.fleet import status

        heads = [asdict(head) for head in status()]
    answer(heads, as_json, _show)


def _show(heads: list[dict]) -> None:
    rows = [
        [head["slug"], head["state"], "behind" if head["behind"] else "current", head["applied"], ", ".join(head["missing"]), head["error"]]
        for head in heads
    ]
    table(["tenant", "state", "release", "migrations", "missing", "why"], rows, "There is no tenant yet.")


def _left_behind(heads: list) -> str:
    first = heads[0]
    reason = first.error or f"it misses {', '.join(first.missing) or 'the finishing statements of this release'}"
    return f"ostoja: {len(heads)} tenants stayed behind, such as {first.slug}: {reason} (`ostoja fleet status` shows all)."


def prepare_apart(report: Callable[[str], None]) -> str:
    """Run ``fleet migrate`` in a process of its own and pass its lines on.

    Answers a sentence about tenants that stayed behind, else "": they don't keep the others from working. Raises
    NotPrepared with the last sentence if the database is not fit for use.
    """
    command = [sys.executable, "-m", "ostoja", "fleet", "migrate", "--plain"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout and process.stderr
        for line in process.stdout:
            report(line.strip())
        complaints = process.stderr.read().strip().splitlines() or ["it ended without a word."]
    sentence = complaints[-1].removeprefix("ostoja: ")
    if process.returncode == LEFT_BEHIND:
        return sentence
    if process.returncode:
        raise NotPrepared(f"The database could not be prepared: {sentence}")
    return ""


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(fleet, name="fleet")
