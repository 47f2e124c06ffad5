"""A clock that tests move: ``clocks.py FILE up …`` is ``ostoja``, whose database and programs are ahead by what the file says."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
FORMAT = "q"  # seconds, as clock.c reads them


def made(place: Path) -> Path | None:
    """A file that moves clocks, in this directory; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(place / "clock.so"), str(SOURCE), "-ldl"], check=True
    )
    file = place / "ahead"
    file.write_bytes(struct.pack(FORMAT, 0))
    for one in (file, place / "clock.so"):
        one.chmod(0o755)
    return file


def ahead(file: Path, seconds: int) -> None:
    """Let the clock be so many seconds ahead from now on."""
    with file.open("r+b") as place:
        place.write(struct.pack(FORMAT, seconds))


def main() -> None:
    """Run ``ostoja`` with the rest of the arguments; also the embedded services, whose environment is clean otherwise."""
    changes = {"TEST_CLOCK": sys.argv[1], "LD_PRELOAD": str(Path(sys.argv[1]).with_name("clock.so"))}
    if os.environ.get("LD_PRELOAD") != changes["LD_PRELOAD"]:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **changes})
    sys.path.pop(0)
    from ostoja.cli import main as command
    from ostoja.operations.embedded.service import EmbeddedService

    clean = EmbeddedService.environment
    EmbeddedService.environment = staticmethod(lambda: {**clean(), **changes})
    sys.argv = ["ostoja", *sys.argv[2:]]
    command()


if __name__ == "__main__":
    main()
