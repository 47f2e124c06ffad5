"""``ostoja up --hybrid``: a second installation on this machine as the premises of the demo tenant, linked with the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostoja.kernel.errors import OstojaError
from ostoja.operations.supervisor import Program, answers

if TYPE_CHECKING:
    from rich.console import Console

TENANT = "demo"
PATIENCE = 600  # seconds for the premises' first start, with a schema to build
FINISH = "finish"


class NotPaired(OstojaError):
    """The two installations could not be linked; the message says what the command said."""

    code = "not_paired"
    status = 500


def home_of(cloud: Path) -> Path:
    """The home of the premises below that of the cloud."""
    return cloud / "premises"


def environment(cloud: Path) -> dict[str, str]:
    """The premises' own declaration: nothing of the cloud's is read there."""
    home = home_of(cloud)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    config = home / "ostoja.toml"
    if not config.exists():
        config.write_text(
            '# The premises of the demo tenant, made by `ostoja up --hybrid`.\n[installation]\nkind = "hybrid"\nname = "Premises"\n'
            'base_domain = "premises.localhost"\nstorage = "internal"\nsignup = "closed"\n'
        )
    return {"OSTOJA_HOME": str(home), "OSTOJA_CONFIG": str(config)}


def premises(cloud: Path, host: str, port: int) -> Program:
    """The premises as a program of the cloud's supervisor."""
    command = [
        sys.executable,
        "-m",
        "ostoja",
        "up",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        "--job-workers",
        "1",
    ]
    return Program("premises", command, environment(cloud))


def link_in_background(cloud: Path, domain: str, host: str, port: int, out: Console) -> None:
    """Link both as soon as the premises answer, while the supervisor goes on; then say where they are."""

    def work() -> None:
        try:
            place = _link(cloud, domain, host, port)
        except OstojaError as error:
            out.print(error.message, style="yellow", markup=False)
            return
        out.print(
            "[bold green]The premises are up and linked.[/] What is changed in one is in the other within a second."
        )
        for label, value in (("Cloud", f"http://{TENANT}.{domain}:{port}/"), ("Premises", place)):
            out.print(f"  [dim]{label:<9}[/]", end="")
            out.print(value, markup=False)

    threading.Thread(target=work, name="pairing", daemon=True).start()


def _link(cloud: Path, domain: str, host: str, port: int) -> str:
    until = time.monotonic() + PATIENCE
    while not answers(host, port + 1):
        if time.monotonic() > until:
            raise NotPaired(
                f"The premises do not answer on port {port + 1}: {cloud / 'logs' / 'premises.log'} says why."
            )
        time.sleep(0.5)
    there = environment(cloud)
    if not _said(there, "site", "status", "--json"):
        code = _said({}, "site", "invite", "--tenant", TENANT, "--json")["code"]
        url = f"http://{TENANT}.{domain}:{port}"
        _said(there, "site", "enrol", "--url", url, "--code", code, "--name", "Head office", "--json")
    while not linked(_said(there, "site", "status", "--json")):
        if time.monotonic() > until:
            raise NotPaired("The premises wait for the cloud's rows: `ostoja site status` there says how far they are.")
        time.sleep(1)
    return _run(there, [sys.executable, "-m", "ostoja.cli.pairing", FINISH, str(port + 1)])


def linked(links: list[dict[str, Any]]) -> bool:
    """Whether everything has come over the links that these lines of `site status` tell of; what was revoked counts no more."""
    return {line["state"] for line in links} - {"revoked"} == {"open"}


def _said(changes: dict[str, str], *arguments: str) -> Any:
    return json.loads(_run(changes, [sys.executable, "-m", "ostoja", *arguments]))


def _run(changes: dict[str, str], command: list[str]) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        sentence = (done.stderr.strip().splitlines() or ["it ended without a word."])[-1]
        raise NotPaired(f"The two sites could not be linked: {sentence.removeprefix('ostoja: ')}")
    return done.stdout.strip()


def finish(port: int) -> str:
    """On the premises: passwords do not travel, so the demo's owner gets hers here too. Answers where to sign in."""
    from ostoja.cli.opening import opened

    with opened() as declared:
        from ostoja.access.models import User
        from ostoja.access.passwords import hashed
        from ostoja.hybrid.reaching import set_address
        from ostoja.journal.context import changing
        from ostoja.kernel.actors import Actor
        from ostoja.onboarding.demo import EMAIL, PASSWORD
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        here = f"http://{TENANT}.{declared.installation.base_domain}:{port}"
        with tenant_context(find(TENANT)):
            set_address(Actor.system("Demo"), here)
        with tenant_context(find(TENANT)), changing(Actor.system("Demo"), "change"):
            if declared.installation.development:
                User.objects.filter(email=EMAIL, password="").update(password=hashed(PASSWORD))
        return f"{here}/  (sign in as {EMAIL} with the password {PASSWORD})"


if __name__ == "__main__":
    print(finish(int(sys.argv[2])))
