"""``ostoja fleet``: all tenants together: their migrations and their state."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ostoja.cli.opening import Json, answer, console, opened, table
from ostoja.cli.preparing import left_behind
from ostoja.kernel.errors import OstojaError

fleet = typer.Typer(no_args_is_help=True, help="All tenants together: migrate them, see where they are.")


class LeftBehind(OstojaError):
    """Tenants could not be brought to this release; the others were."""

    code = "left_behind"
    status = 500


@fleet.command()
def migrate(
    ready: Annotated[int | None, typer.Option(help="How many ready schemas should wait for sign-ups.", min=0)] = None,
) -> None:
    """Bring shared tables, template, all tenants and the pool of ready schemas to this release."""
    with opened() as declared:
        from ostoja.operations.database import prepare_external
        from ostoja.tenancy.fleet import status
        from ostoja.tenancy.install import prepare

        if declared.postgres is None:
            prepare_external(declared.owner_dsn, declared.app_dsn)
        with console().status("Looking at the database …") as progress:
            prepare(progress.update, ready=ready)
        behind = [head for head in status() if head.behind]
    if behind:
        raise LeftBehind(left_behind(behind))
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
        [
            head["slug"],
            head["state"],
            "behind" if head["behind"] else "current",
            head["applied"],
            ", ".join(head["missing"]),
            head["error"],
        ]
        for head in heads
    ]
    table(["tenant", "state", "release", "migrations", "missing", "why"], rows, "There is no tenant yet.")


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(fleet, name="fleet")
