"""A program that says what it needs, has its way out closed, and tries to leave: ``leaving.py JSON`` prints what came of each try."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from ostoja.kernel import outbound


def connect(host: str, port: int) -> str:
    """A connection, as libraries open it."""
    with socket.create_connection((host, port), timeout=5):
        return "done"


def raw(host: str, port: int) -> str:
    """A connection of a bare socket."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as line:
        line.settimeout(5)
        return "done" if line.connect_ex((host, port)) == 0 else "nobody"


def datagram(host: str, port: int) -> str:
    """A datagram, in both ways."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"x", (host, port))
        line.sendmsg([b"x"], [], 0, (host, port))
        return "done"


def look_up(host: str, port: int) -> str:
    """An address for a name."""
    socket.getaddrinfo(host, port)
    return "done"


def look_up_as_before(host: str, port: int) -> str:
    """An address for a name, in the old way."""
    socket.gethostbyname(host)
    return "done"


def look_back(host: str, port: int) -> str:
    """A name for an address."""
    socket.getnameinfo((host, port), 0)
    return "done"


def own_name(host: str, port: int) -> str:
    """The name of this machine, as mail says it."""
    return "done" if socket.getfqdn() else "none"


def path(host: str, port: int) -> str:
    """A server on this machine that has no port, such as the embedded database."""
    with socket.socket(socket.AF_UNIX) as line:
        return "done" if line.connect_ex(host) == 0 else "nobody"


def other_program(host: str, port: int) -> str:
    """Another program: no hook of ours is in it."""
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    return "done" if subprocess.run([sys.executable, "-c", code, host, str(port)]).returncode == 0 else "nobody"


def take_away(host: str, port: int) -> str:
    """What later code may try: new lists, the resolver as it was, another gate; then a connection."""
    outbound.begin(outbound.NAMED)
    outbound.close([(host, None)], [(host, None)], [(host, None)])
    outbound.reach([(host, None)])
    socket.getaddrinfo = socket.getaddrinfo.__wrapped__
    sys.addaudithook(lambda *_: None)
    return connect(host, port)


def main() -> None:
    """Do as the orders say."""
    orders = json.loads(sys.argv[1])
    if orders["begin"] is not None:
        outbound.begin(*orders["begin"])
    outbound.close(*([tuple(place) for place in orders[part]] for part in ("services", "mail", "named")))
    for places in orders["reach"]:
        outbound.reach([tuple(place) for place in places])
    told = []
    for way, host, port in orders["tries"]:
        try:
            told.append(globals()[way](host, port))
        except OSError as error:
            told.append(f"{type(error).__name__}: {error}")
    print(json.dumps([outbound.is_closed(), *told]))


if __name__ == "__main__":
    main()
