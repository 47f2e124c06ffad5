"""The tree of commands, and how each of them ends."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from ostoja import __version__
from ostoja.cli import blueprint, doctor, exchange, fleet, manage, site, tenant, token, up
from ostoja.cli.opening import Home, be_loud, use_home
from ostoja.kernel.errors import OstojaError

app = typer.Typer(
    name="ostoja",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="CRM and ERP in one: as a public cloud, a private installation, or a hybrid of the two.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
up.register(app)
tenant.register(app)
exchange.register(app)
token.register(app)
blueprint.register(app)
doctor.register(app)
fleet.register(app)
site.register(app)
manage.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ostoja {__version__}")
        raise typer.Exit


@app.callback()
def common(
    home: Home = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What is common to all commands."""
    use_home(home)
    if debug:
        be_loud()


def run(arguments: list[str]) -> int:
    """Run one command line and answer the exit status; an error is told in one sentence on stderr."""
    debug = "--debug" in arguments
    try:
        return app(arguments, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OstojaError as error:
        if debug:
            traceback.print_exc()
        print(f"ostoja: {error.message}", file=sys.stderr)
        return 1
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # what Typer says of a wrong command line
            error.show()
            return error.exit_code
        if debug:
            traceback.print_exc()
        else:
            words = " ".join(str(error).split()) or type(error).__name__
            print(f"ostoja: This should not happen: {words} (`ostoja --debug …` shows where).", file=sys.stderr)
        return 1
