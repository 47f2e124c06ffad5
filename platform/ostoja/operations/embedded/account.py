"""The account is the operating-system user that an embedded server runs as; PostgreSQL refuses to be root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ostoja.kernel.errors import OstojaError
from ostoja.operations.embedded import keeper


class CannotStart(OstojaError):
    """A service of this machine could not be started; the message says why and what helps."""

    code = "cannot_start"
    status = 503


@dataclass(frozen=True)
class Account:
    """Who runs the server: we ourselves, another user (``switch``), or we as another user of a namespace (``namespace``)."""

    uid: int
    gid: int
    switch: bool = False
    namespace: bool = False

    @classmethod
    def choose(cls, home: Path, data: Path) -> Account:
        """The account for the server whose files are in ``data``.

        Who is not root runs the server as themselves. Root leaves the privileges behind: the files' owner runs it, for
        new files ``nobody``, and where ``nobody`` could not reach the home a user namespace. Raises CannotStart.
        """
        owner = data.stat() if data.exists() else None
        if os.geteuid() != 0:
            if owner and owner.st_uid != os.geteuid():
                raise CannotStart(
                    f"{data} belongs to {name_of(owner.st_uid)} and you are {name_of(os.geteuid())}: "
                    f"run ostoja as root or as {name_of(owner.st_uid)}, or choose another OSTOJA_HOME."
                )
            return cls(os.geteuid(), os.getegid())
        nobody = _nobody()
        if owner and owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, switch=True)
        if not owner and nobody and can_reach(home, nobody.pw_uid, nobody.pw_gid):
            return cls(nobody.pw_uid, nobody.pw_gid, switch=True)
        if nobody and namespaces_work():
            return cls(nobody.pw_uid, nobody.pw_gid, namespace=True)
        raise CannotStart(
            f"PostgreSQL does not run as root, and no other user can reach {home}: "
            "run ostoja as an ordinary user, or set OSTOJA_HOME to a directory such as /var/lib/ostoja."
        )

    def as_dict(self) -> dict:
        """The account as the keeper reads it."""
        return {"uid": self.uid, "gid": self.gid, "switch": self.switch, "namespace": self.namespace}

    def give(self, path: Path) -> None:
        """Make the account the owner of ``path``."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def directory(self, path: Path) -> Path:
        """Make the directory ``path`` for this account alone (mode 0700) unless it is there; answer it."""
        if not path.is_dir():
            path.mkdir(mode=0o700)
            self.give(path)
        return path

    def run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
        """Run ``command`` as this account and answer its output; the caller looks at the exit status."""
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            **keeper.spawn_arguments(self.as_dict(), None),
        )

    def reachable_copy(self, programs: Path, home: Path, name: str) -> Path:
        """``programs`` itself if this account can reach it, else a copy of that directory in the home."""
        if not self.switch or can_reach(programs, self.uid, self.gid):
            return programs
        copy = home / "programs" / name
        if not copy.exists():
            building = copy.with_name(f"{name}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.parent.mkdir(mode=0o755, exist_ok=True)
            shutil.copytree(programs, building, symlinks=True, copy_function=_link_or_copy)
            building.rename(copy)
        return copy


def can_reach(path: Path, uid: int, gid: int) -> bool:
    """Whether that user may pass through every directory from the root down to ``path``, as far as it exists."""
    for directory in (path, *path.parents):
        try:
            status = directory.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            continue
        need = stat.S_IXUSR if status.st_uid == uid else stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH
        if not status.st_mode & need:
            return False
    return True


@lru_cache(maxsize=1)
def namespaces_work() -> bool:
    """Whether this machine lets us make a user namespace."""
    nobody = _nobody()
    if nobody is None:
        return False
    account = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "namespace": True}
    try:
        return subprocess.run(["true"], **keeper.spawn_arguments(account, None)).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _nobody() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return None


def name_of(uid: int) -> str:
    """The name of an operating-system user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
