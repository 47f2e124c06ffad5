"""``ostoja up``: brings everything up, shows where to go, and takes everything down again on Ctrl-C."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostoja.cli.opening import Home, console, declaration, services, use_home
from ostoja.kernel import outbound

if TYPE_CHECKING:
    from rich.console import Console

    from ostoja.settings.declaration import Declaration

ON_THIS_NAME = ("127.0.0.1", "localhost", "0.0.0.0", "::1", "::")


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Make a tenant `demo` with thousands of real deals, and say how to sign in.")
    ] = False,
    hybrid: Annotated[
        bool,
        typer.Option(
            "--hybrid",
            help="Bring up a second installation, its premises, on the next port, linked for the tenant `demo`.",
        ),
    ] = False,
    port: Annotated[int, typer.Option(help="Port of the web server.", min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(help="Web server processes.", min=1, max=64)] = 2,
    job_workers: Annotated[int, typer.Option(help="Processes for background jobs.", min=1, max=64)] = 2,
    home: Home = None,
) -> None:
    """Bring Ostoja up: database, broker, migrations, web, worker and schedule. Ctrl-C stops all of it.

    Its programs connect to the database, the broker, the mail server and what `outbound.hosts` names, to nothing else.
    The agent of a hybrid installation connects to the other sites of its tenants.
    """
    from ostoja.cli import pairing
    from ostoja.cli.preparing import prepare_apart
    from ostoja.operations.installation import only_one, programs
    from ostoja.operations.supervisor import Supervisor, answering, answers, free_port

    use_home(home)
    os.environ["OSTOJA_UP_PORT"] = str(port)
    out = console()
    outbound.begin(outbound.GIVEN)
    declared = declaration()
    ports = [port, port + 1] if hybrid else [port]
    outbound.reach([(at, one) for at in (host, answering(host)) for one in ports])
    for one in ports:
        free_port(host, one)
    with only_one(declared.home, port):
        with out.status("Starting the database and the broker …") as status, services():
            facts = prepare_apart(status.update, declared.home / "logs" / "prepare.log", demo=demo or hybrid)
            running = Supervisor(
                declared.home,
                [service for service in (declared.postgres, declared.valkey) if service is not None],
                [
                    *programs(host, port, workers, job_workers, dials=declared.installation.kind == "hybrid"),
                    *([pairing.premises(declared.home, host, port + 1)] if hybrid else []),
                ],
                lambda sentence: out.print(sentence, style="yellow", markup=False),
            )
            # Once more: preparing takes a while, and the web server would share a port that another took meanwhile.
            for one in ports:
                free_port(host, one)
            status.update("Starting web, worker and schedule …")

            def announce() -> None:
                status.stop()
                _announce(out, declared, host, port, facts)
                if hybrid:
                    pairing.link_in_background(declared.home, declared.installation.base_domain, host, port, out)

            running.run(ready=lambda: answers(host, port), announce=announce)
        out.print("Ostoja has stopped.")


def _announce(out: Console, declared: Declaration, host: str, port: int, facts: dict[str, Any]) -> None:
    installation = declared.installation
    here = installation.base_domain if host in ON_THIS_NAME else f"[{host}]" if ":" in host else host
    lines = [("Open", f"http://{here}:{port}/")]
    if installation.https:
        lines.append(("Public", f"https://{installation.base_domain}/  (through your proxy)"))
    elif installation.kind != "private":
        lines.append(("Tenants", f"http://<address>.{installation.base_domain}:{port}/"))
    if made := facts.get("demo"):
        lines.append(("Demo", f"{made['url']}/  (sign in as {made['email']} with the password {made['password']})"))
    if facts.get("setup_code"):
        lines.append(("Set-up", f"{facts['setup_code']}  (the code that the first page asks for)"))
    lines += [("State", str(declared.home)), ("Logs", str(declared.home / "logs")), ("Stop", "Ctrl-C")]
    out.print("[bold green]Ostoja is up.[/]")
    for label, value in lines:
        out.print(f"  [dim]{label:<9}[/]", end="")
        out.print(value, markup=False)
    if facts.get("warning"):
        out.print(facts["warning"], style="yellow", markup=False)
    sys.stderr.flush()


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(up)
