"""``ostoja doctor``: looks an installation over and says what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from ostoja.cli.opening import Json, answer, opened, table

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def doctor(
    tenant: Annotated[str | None, typer.Option(metavar="T", help="Look at this tenant only (its address).")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--check", metavar="NAME", help="Make this check only; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the installation; every finding says what to do. Exit status 1 if something fails."""
    with opened() as declared:
        from ostoja.operations.doctor import examine

        findings = examine(declared.home, tenant, only or ())
    answer([finding.as_dict() for finding in findings], as_json, _show)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[dict]) -> None:
    from rich.text import Text

    rows = []
    for finding in findings:
        mark, colour = MARKS[finding["state"]]
        what = Text(finding["what"])
        if finding["advice"]:
            what.append(f"\n{finding['advice']}", style="bold")
        rows.append([Text(mark, style=colour), finding["name"], what])
    table(["", "check", "finding"], rows, "There was nothing to look at.")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(doctor)
