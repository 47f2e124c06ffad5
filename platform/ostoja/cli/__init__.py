"""The ``ostoja`` command: one module for each group of commands, every error one sentence."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and end the process: status 0 for success only, 1 for a refusal, 2 for a wrong command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    from ostoja.cli.command import run

    sys.exit(run(sys.argv[1:]))
