"""A program that says what it needs, has its way out closed, and tries to leave: ``leaving.py JSON`` prints what came of each try."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request

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


def site(host: str, port: int) -> str:
    """A line to another site, as the agent opens it."""
    import django

    django.setup()
    from ostoja.hybrid.dialling import Line, Unreachable

    try:
        Line(f"https://{host}:{port}").post("/", b"", {})
    except Unreachable as error:
        return f"{error.code}: {error.message}"
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


class Tuple(tuple):
    """An address that says to Python that it is the one that is allowed."""

    def __getitem__(self, _place):
        return ALLOWED[_place]

    def __iter__(self):
        return iter(ALLOWED)


class Text(str):
    """A host that says to Python that it is the one that is allowed."""

    def __str__(self):
        return ALLOWED[0]


class Path(socket.socket):
    """A socket that says to Python that it is a path on this machine."""

    family = socket.AF_UNIX


ALLOWED: tuple = ("127.0.0.3", 1)


def _disguised(address: object, line: type[socket.socket] = socket.socket) -> str:
    with line(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(5)
        made.connect(address)
        return "done"


def as_a_tuple(host: str, port: int) -> str:
    """An address of a class of its own."""
    return _disguised(Tuple((host, port)))


def as_a_text(host: str, port: int) -> str:
    """A host of a class of its own, at a port that is allowed elsewhere."""
    return _disguised((Text(host), port))


def as_a_path(host: str, port: int) -> str:
    """A socket of a class of its own."""
    return _disguised((host, port), Path)


def packets(host: str, port: int) -> str:
    """Frames on the wire, past all connections."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    return "done"


def another_family(host: str, port: int) -> str:
    """Sockets that lead to the machine around this one."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    return "done"


def in_a_thread(host: str, port: int) -> str:
    """A connection in another thread."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return pool.submit(connect, host, port).result()


def in_a_loop(host: str, port: int) -> str:
    """A connection of asyncio."""
    asyncio.run(asyncio.open_connection(host, port))
    return "done"


def in_a_fork(host: str, port: int) -> str:
    """A connection in a copy of this process."""
    child = os.fork()
    if not child:
        try:
            connect(host, port)
        except PermissionError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise outbound.WayClosed(f"This process may not connect to {host}:{port}: outbound.hosts")
    return "done"


def redirected(host: str, port: int) -> str:
    """A page of a host that is allowed, which leads to another."""
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5):
        return "done"


def by_a_proxy(host: str, port: int) -> str:
    """A page by a proxy that the environment names."""
    os.environ["http_proxy"] = f"http://{host}:{port}"
    with urllib.request.urlopen("http://127.0.0.1:9/", timeout=5):
        return "done"


def by_ctypes(host: str, port: int) -> str:
    """A connection of the C library: Python is not told."""
    library = ctypes.CDLL(None)
    line = library.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    place = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    return "done" if library.connect(line, place, len(place)) == 0 else "nobody"


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
        except urllib.error.URLError as error:
            told.append(f"{type(error.reason).__name__}: {error.reason}")
        except OSError as error:
            told.append(f"{type(error).__name__}: {error}")
    print(json.dumps([outbound.is_closed(), *told]))


if __name__ == "__main__":
    main()
