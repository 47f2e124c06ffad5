"""The keeper is the parent of one embedded server: it starts it, and stops it when the last process that uses it is gone.

It is a program of its own (``python -I -S keeper.py '<json>'``) and knows only the standard library. Two lock files
carry all the state, so that nothing is left over after ``kill -9`` or a power cut:

``<name>.users``
    every process that uses the server holds a shared lock; the keeper waits for the exclusive one, and then stops the server.
``<name>.alive``
    the keeper locks it and the server and all its children inherit the lock: it is free exactly when all of them are gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: int, parent: int) -> None:
    """Ask the kernel to send signal ``number`` to this process when its parent dies (Linux; elsewhere nothing happens)."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def enter_namespace(uid: int, gid: int) -> None:
    """Become ``uid``/``gid`` in a user namespace of our own; outside, files still belong to the user who started us.

    Raises OSError where the machine does not allow user namespaces.
    """
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if _libc is None or _libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not available")
    for name, text in (("uid_map", f"{uid} {outer_uid} 1"), ("setgroups", "deny"), ("gid_map", f"{gid} {outer_gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def spawn_arguments(account: dict, death_signal: int | None) -> dict:
    """Arguments for ``subprocess`` that start a program under ``account`` (uid, gid, namespace)."""
    parent = os.getpid()

    def prepare() -> None:  # runs after setuid, which would forget the death signal
        if account.get("namespace"):
            enter_namespace(account["uid"], account["gid"])
        if death_signal is not None:
            die_with_parent(death_signal, parent)

    arguments: dict = {"preexec_fn": prepare, "cwd": "/"}
    if account.get("switch"):
        arguments |= {"user": account["uid"], "group": account["gid"], "extra_groups": []}
    return arguments


def lock(path: str, kind: int, patience: float = 0) -> int | None:
    """Open ``path`` and lock it; answer the descriptor, or None if that did not work within ``patience`` seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(0.01)
        else:
            return descriptor


def keep(orders: dict) -> int:
    """Start the server, wait until it ends by itself or until nobody uses it; answer its exit status."""
    alive = lock(orders["alive"], fcntl.LOCK_EX | fcntl.LOCK_NB, patience=2)
    if alive is None:
        return 75
    soft, hard = orders["stop_signals"]
    log = os.open(orders["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = subprocess.Popen(
        orders["command"],
        env=orders["environment"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[alive],
        **spawn_arguments(orders["account"], soft),
    )
    stopping = threading.Event()

    def stop() -> None:
        if stopping.is_set():
            return
        stopping.set()
        for number, seconds in ((soft, orders["patience"]), (hard, 5), (signal.SIGKILL, 5)):
            if server.poll() is None:
                server.send_signal(number)
                try:
                    server.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
            return

    def stop_when_unused() -> None:
        lock(orders["users"], fcntl.LOCK_EX)
        stop()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop, daemon=True).start())
    threading.Thread(target=stop_when_unused, daemon=True).start()
    while server.poll() is None:
        try:
            server.wait(3600)
        except subprocess.TimeoutExpired:
            continue
    return server.returncode


if __name__ == "__main__":
    os._exit(keep(json.loads(sys.argv[1])) & 0xFF)
