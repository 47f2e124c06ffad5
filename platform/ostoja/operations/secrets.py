"""The secrets of an installation: random words in files that only their owner can read (``$OSTOJA_HOME/secrets``, 0600)."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from ostoja.kernel.errors import OstojaError


class SecretUnreadable(OstojaError):
    """A secret of the installation is there but this user may not read it, or it is empty."""

    code = "secret_unreadable"
    status = 500


def secret(home: Path, name: str) -> str:
    """The secret ``name`` of the installation in ``home``; made the first time that it is asked for.

    Two processes that ask at the same moment get the same answer. Raises SecretUnreadable.
    """
    path = home / "secrets" / name
    try:
        word = path.read_text().strip()
    except FileNotFoundError:
        _make(path)
        word = path.read_text().strip()
    except PermissionError:
        raise SecretUnreadable(
            f"{path} may not be read by this user: run ostoja as the user who started it first."
        ) from None
    if not word:
        raise SecretUnreadable(f"{path} is empty: put the secret back from your backup.")
    return word


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(36) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        os.unlink(draft)
