"""``ostoja manage``: Django's own management commands, for developers, with the database and broker running."""

from __future__ import annotations

import typer

from ostoja.cli.opening import services


def manage(context: typer.Context) -> None:
    """Run a Django management command: `ostoja manage makemigrations sales`."""
    with services():
        from django.core.management import execute_from_command_line

        execute_from_command_line(["ostoja manage", *context.args])


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})(
        manage
    )
