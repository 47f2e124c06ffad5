"""The way out of a process: closed when the settings are read, and from then on only places that were named can be reached.

A crash shipper, an update check or a support bundle would carry values of the premises past everything that the sync looks
after. So each process of every installation refuses to connect, to send a datagram and to look a name up, but for its own
database and broker and what its kind needs (``begin``). What is refused is told in the log, by host and port, never by content.

The gate is an audit hook of the interpreter: nothing that is imported later can take it away, and its list is a frozen one.
Python tells a hook of what Python's own sockets do. It is not told of: libraries that connect in C (libpq, which goes to the
database, that is named anyhow; whatever is called by ``ctypes``), other programs that a process starts, connections that such a
program hands over, and the look-up in ``connect`` and ``sendto`` when they are given a name instead of an address (they are refused
after it). Nor does it stop who comes in to a port that a process opens, what goes to a host that is named, or code that was written
to rewrite the gate itself inside of the interpreter. For those there is the firewall in front of the machine.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Iterable

from .errors import OstojaError

log = logging.getLogger(__name__)

Place = tuple[str, int | None]  # a host and a port; None is any port
SETTING = "outbound.hosts"
NAMED, MAIL, GIVEN = "named", "mail", "given"  # hosts of the setting, the mail server, what the process says itself
MOST_TOLD = 200
LONGEST_LABEL = 20
LOCAL_FAMILIES = {getattr(socket, name, None) for name in ("AF_UNIX", "AF_NETLINK")}
UNSAID = -1  # the family of a socket that is made of a number: its own
FAMILIES = frozenset(
    {UNSAID, socket.AF_INET, socket.AF_INET6, *LOCAL_FAMILIES} - {None}
)  # all others go out past the judges
NOBODY = ("192.0.2.1", 9)  # an address for documentation: nothing is there


class WayClosed(OstojaError, PermissionError):
    """This process may not connect there; the message names the place, and the setting by which it is opened."""

    code = "way_closed"
    status = 502


_needs = frozenset({NAMED, MAIL})
_reach: Callable[[Iterable[Place]], None] | None = None


def begin(*needs: str) -> None:
    """Say what this process needs beside the database and the broker: NAMED, MAIL, GIVEN. Before the settings are read.

    Who says nothing needs NAMED and MAIL. When the way is closed already, nothing changes.
    """
    global _needs
    if _reach is None:
        _needs = frozenset(needs)


def close(services: Iterable[Place], mail: Iterable[Place], named: Iterable[Place]) -> None:
    """Close the way for the rest of this process's life; the settings do it, and only the first call counts."""
    global _reach
    if _reach is None:
        parts = {MAIL: mail, NAMED: named}
        needed = [place for need in _needs & parts.keys() for place in parts[need]]
        _reach = _closed(_plainly([*services, *needed]), GIVEN in _needs)


def reach(places: Iterable[Place]) -> None:
    """Give the places of a process that began with GIVEN: once, they can't be changed after. Elsewhere nothing is added."""
    if _reach is not None:
        _reach(places)


def is_closed() -> bool:
    """Whether the way is closed, as a try shows that sends nothing."""
    try:
        sys.audit("socket.connect", None, NOBODY)
    except WayClosed:
        return True
    return False


def plain(host: object) -> str:
    """A host as it is compared: an address in its shortest form, a name in lower case without the dot at its end."""
    text = bytes.decode(host, "ascii", "replace") if isinstance(host, bytes) else _text(host)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:
            return text.rstrip(".").lower().encode("idna").decode()
        except UnicodeError:
            return text.lower()
    return str(getattr(address, "ipv4_mapped", None) or address)


def _text(host: object) -> str:
    """The text as the socket takes it, whatever a class of it says that it is."""
    return str.__str__(host) if isinstance(host, str) else str(host)


def _family(line: object) -> int | None:
    """The family of a socket itself, whatever its class says."""
    return socket.SocketType.family.__get__(line) if isinstance(line, socket.SocketType) else None


def _plainly(places: Iterable[Place]) -> frozenset[Place]:
    return frozenset((plain(host), port) for host, port in places)


def _closed(allowed: frozenset[Place], waits: bool) -> Callable[[Iterable[Place]], None]:
    """Install the gate; answers what gives it the places that it waits for. All that it knows is out of reach in here."""
    answers: dict[str, set[str]] = {}  # address -> the names in the list for which the resolver gave it
    own = {"", "localhost", plain(socket.gethostname())}
    told: set[Place] = set()

    def reach(places: Iterable[Place]) -> None:
        nonlocal allowed, waits
        if waits:
            allowed, waits = allowed | _plainly(places), False

    def refused(host: str, port: int | None) -> WayClosed:
        error = WayClosed(_sentence(host, port))
        if (host, port) not in told and len(told) < MOST_TOLD and (host, port) != NOBODY:
            told.add((host, port))
            log.warning("%s", error.message)
        return error

    def connects(args: tuple) -> None:
        line, address = args[0], args[1]
        if not isinstance(address, tuple) or _family(line) in LOCAL_FAMILIES:
            return  # a path on this machine, or no address: it is connected
        parts = tuple(tuple.__iter__(address))
        host, port = plain(parts[0]), parts[1] if len(parts) > 1 else None
        for known in (host, *answers.get(host, ())):
            if (known, port) in allowed or (known, None) in allowed:
                return
        raise refused(host, port)

    def makes(args: tuple) -> None:
        if args[1] not in FAMILIES:
            raise refused(_family_name(args[1]), None)

    def looks_up(args: tuple) -> None:
        host = plain(args[0] or "")
        if host not in own and not _is_address(host) and not any(host == name for name, _port in allowed):
            raise refused(host, None)

    def looks_back(args: tuple) -> None:
        host = plain(args[0][0] if isinstance(args[0], tuple) else args[0])
        known = {host, *answers.get(host, ())}
        if not known & own and not _is_loopback(host) and not any(name in known for name, _port in allowed):
            raise refused(host, None)

    judges = {
        "socket.__new__": makes,
        "socket.connect": connects,
        "socket.sendto": connects,
        "socket.sendmsg": connects,
        "socket.getaddrinfo": looks_up,
        "socket.gethostbyname": looks_up,
        "socket.gethostbyaddr": looks_back,
        "socket.getnameinfo": looks_back,
    }

    def hook(event: str, args: tuple, judge_of=judges.get) -> None:
        judge = judge_of(event)
        if judge is not None:
            judge(args)

    resolve = socket.getaddrinfo

    @functools.wraps(resolve)
    def noting(host, *args, **options):
        """The resolver's answer; the addresses of names in the list are kept, since connecting is told by address."""
        found = resolve(host, *args, **options)
        name = plain(host or "")
        if any(name == one for one, _port in allowed):
            for *_kind, address in found:
                answers.setdefault(plain(address[0]), set()).add(name)
        return found

    socket.getaddrinfo = noting
    sys.addaudithook(hook)
    return reach


def _sentence(host: str, port: int | None) -> str:
    """What is said of a refusal. A name may hold a value where it is long: it is not told whole."""
    labels = [label if len(label) <= LONGEST_LABEL or _is_address(host) else "…" for label in host.split(".")[-4:]]
    place = ".".join(labels) if port is None else f"{'.'.join(labels)}:{port}"
    return (
        f"This process may not connect to {place}: if it should, name it with its port in {SETTING} of ostoja.toml; "
        "other sites of a tenant are reached by the agent alone."
    )


def _family_name(family: int) -> str:
    try:
        return socket.AddressFamily(family).name
    except ValueError:
        return f"AF_{family}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
