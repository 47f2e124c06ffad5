"""What has to be done before Ostoja is up: a process of its own that migrates and then is gone, with all its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ostoja.cli.opening import be_loud, opened
from ostoja.kernel.errors import OstojaError

DEMO = "--demo"


class NotPrepared(OstojaError):
    """The database could not be brought to this release."""

    code = "not_prepared"
    status = 500


def prepare_apart(report: Callable[[str], None], log: Path, *, demo: bool = False) -> dict[str, Any]:
    """Prepare the installation in a process of its own, and pass its lines on; what it logs goes to ``log``.

    Answers what ``prepare`` found out. Raises NotPrepared with the last sentence if the database is not fit for use.
    """
    facts: dict[str, Any] = {}
    with log.open("ab") as errors:
        began = log.stat().st_size
        with subprocess.Popen(
            [sys.executable, "-m", "ostoja.cli.preparing", *([DEMO] if demo else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("{"):
                    facts = json.loads(line)
                else:
                    report(line.strip())
    if process.returncode:
        with log.open("rb") as written:
            written.seek(began)
            lines = written.read().decode(errors="replace").strip().splitlines() or ["it ended without a word."]
        sentence = lines[-1].removeprefix("ostoja: ").rstrip(".")
        raise NotPrepared(f"The installation could not be prepared: {sentence}. More is in {log}.")
    return facts


def prepare(report: Callable[[str], None], *, demo: bool = False) -> dict[str, Any]:
    """Bring the installation to this release, and the demo tenant with it if that is wanted.

    Answers ``warning`` (tenants that stayed behind), ``setup_code`` of a private installation that is empty, and ``demo``
    (where it is and how to sign in).
    """
    with opened() as declared:
        from ostoja.onboarding import private
        from ostoja.operations.database import prepare_external
        from ostoja.operations.installation import reach_broker
        from ostoja.tenancy import fleet, install

        if declared.postgres is None:
            prepare_external(declared.owner_dsn, declared.app_dsn)
        if declared.valkey is None:
            reach_broker(declared.broker.url)
        install.prepare(report)
        behind = [head for head in fleet.status() if head.behind]
        facts = {
            "warning": left_behind(behind) if behind else "",
            "setup_code": private.code() if private.is_needed() else "",
        }
        if demo:
            from ostoja.onboarding.demo import ensure_demo

            made = ensure_demo(report)
            facts["demo"] = {"url": made.url, "email": made.email, "password": made.password}
        return facts


def left_behind(heads: list) -> str:
    """A sentence about tenants that are not at this release."""
    first = heads[0]
    reason = first.error or f"it misses {', '.join(first.missing) or 'the finishing statements of this release'}"
    others = f"{len(heads)} tenants are" if len(heads) > 1 else "One tenant is"
    return f"{others} not at this release, such as {first.slug}: {reason} (`ostoja fleet status` shows all)."


def main() -> int:
    """The process of its own: lines of progress on stdout, at last a line of JSON."""
    be_loud()
    try:
        print(json.dumps(prepare(lambda line: print(line, flush=True), demo=DEMO in sys.argv)))
    except OstojaError as error:
        print(f"ostoja: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
