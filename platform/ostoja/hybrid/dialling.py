"""The lower site's mouth: enrols at the upper site, pushes and pulls over HTTPS that it opens itself, and takes new keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson
import urllib3
from django.db.models import F

from ostoja.kernel.errors import OstojaError
from ostoja.kernel.outbound import Place, WayClosed

from . import keys, restamping, rotating, using
from .carrying import packed, unpacked
from .exchange import UNKNOWN_MANIFEST, Ahead, Exchange, Message
from .models import Link, LinkUse, Progress
from .receiving import LinkSuspect
from .recognising import LANES, Claim
from .sites import decided, here

CONNECT, READ = 10, 40  # seconds
UNKNOWN_NAME = "unknown_name"
KEYS = 2.0  # seconds between two looks whether new keys are due


class Unreachable(OstojaError):
    """The other site does not answer, or refuses; the sentence says what it said."""

    code = "unreachable"
    status = 502


AWAY = (Unreachable.code, UNKNOWN_NAME)  # of faults that end when the other site can be reached


def place_of(url: str) -> Place:
    """The host and port to which a line to this address connects. Raises Unreachable for what is no address, or not encrypted."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"“{url}” is no address: write it like https://company.example.com.")
    local = parts.hostname == "localhost" or parts.hostname.endswith(".localhost")
    if parts.scheme == "http" and not local:
        raise Unreachable(f"“{url}” is not encrypted: use https.")
    if parts.scheme == "http":
        return "127.0.0.1", parts.port or 80
    return parts.hostname, parts.port or 443


def places_of(urls: Iterable[str]) -> frozenset[Place]:
    """The places of those of the addresses that can be dialled."""
    found = set()
    for url in urls:
        try:
            found.add(place_of(url))
        except Unreachable:
            continue
    return frozenset(found)


class Line:
    """HTTP to one upper site. Names below ``localhost`` are this machine, whatever its resolver says."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        host, port = place_of(self.url)
        self.host = urlsplit(self.url).netloc
        options = {"timeout": urllib3.Timeout(connect=CONNECT, read=READ), "retries": False, "maxsize": 2}
        encrypted = urlsplit(self.url).scheme == "https"
        self.pool = (urllib3.HTTPSConnectionPool if encrypted else urllib3.HTTPConnectionPool)(host, port, **options)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """POST and answer. Raises Unreachable."""
        try:
            response = self.pool.request("POST", path, body=body, headers={"Host": self.host, **headers})
        except urllib3.exceptions.SSLError as error:
            raise Unreachable(
                f"The certificate of {self.url} is not valid ({error}): renew it there, or trust its issuer here.",
                code="certificate",
            ) from error
        except urllib3.exceptions.HTTPError as error:
            if isinstance(error.__cause__, WayClosed):
                raise error.__cause__ from error
            if isinstance(error, urllib3.exceptions.NameResolutionError):
                raise Unreachable(
                    f"The name in {self.url} is not known: see that it is written right and that this machine can look names up.",
                    code=UNKNOWN_NAME,
                ) from error
            raise Unreachable(
                f"{self.url} does not answer ({type(error).__name__}): see that the other site runs."
            ) from error
        if response.status >= 400:
            raise Unreachable(f"{self.url} refuses: {_words(response)}", code=_code(response))
        return response


def _words(response) -> str:
    try:
        return str(orjson.loads(response.data)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status}."


def _code(response) -> str:
    try:
        return str(orjson.loads(response.data)["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{response.status}"


def enrol(url: str, code: str, name: str, public_key: str, epoch: int, manifest: bytes) -> dict:
    """Bring the code to the upper site; answers what ``enrolment.accept`` gives. Raises Unreachable."""
    asked = {"code": code, "key": public_key, "name": name, "epoch": epoch, "manifest": manifest.decode()}
    response = Line(url).post("/sync/v1/enrol", orjson.dumps(asked), {"Content-Type": "application/json"})
    return orjson.loads(response.data)


class Answered(NamedTuple):
    """An answer of the other site that was checked and not taken yet, and its bytes."""

    answer: Message
    size: int


class Caller:
    """One lane of one link: ``push`` says what is new here, ``pull`` asks what is new there. The tenant must be open."""

    def __init__(self, link: Link, lane: str):
        self.link = link
        self.lane = lane
        self.line = Line(link.url)
        self.decided = decided()
        self.exchange = Exchange(link)
        self.size = 0
        self.looked = -KEYS
        self.ahead: Ahead | None = None
        self.next: Answered | None = None
        self.asks_behind = True

    def call(self, message: Message, meanwhile: Callable[[], None] | None = None) -> Message:
        """Send a message and check that the answer is the other site's; ``meanwhile`` runs here until it comes. Raises Unreachable."""
        answer = self._post("exchange", message.pack(), meanwhile)
        self.size = len(answer)
        return Message.unpack(answer)

    def ask(self, question: Mapping) -> dict:
        """Ask a question of the comparison. Raises Unreachable."""
        return orjson.loads(self._post("verify", orjson.dumps(question)))

    def carry(self, head: Mapping, content: bytes = b"") -> tuple[dict, bytes]:
        """Say or ask something beside the stream, with bytes of a file. Raises Unreachable."""
        return unpacked(self._post("carry", packed(head, content)))

    def rotate(self) -> None:
        """Propose a new key and take the other site's; both count from the next request. Raises Unreachable."""
        proposed = orjson.dumps({"key": rotating.propose(self.link)})
        rotating.agree(self.link, str(orjson.loads(self._post("keys", proposed))["key"]))

    def goodbye(self) -> None:
        """Tell the other site that this one has revoked the link. Raises Unreachable."""
        self._send("close", b"", rotating.use_of(self.link), new=False)

    def _post(self, what: str, body: bytes, meanwhile: Callable[[], None] | None = None) -> bytes:
        use = rotating.use_of(self.link)
        self._check_open()
        new = bool(use.next_private_key and use.next_peer_key)
        try:
            answer = self._send(what, body, use, new=new, meanwhile=meanwhile)
        except Unreachable as error:
            if not new or error.code != "link_closed":
                raise
            rotating.forget(self.link)
            answer = self._send(what, body, use, new=False)
        if using.note(self.link, self.lane, into=len(answer), out=len(body)) != Link.State.OPEN:
            raise Unreachable("This link is not open any more: nothing is taken.", code="revoked")
        return answer

    def _check_open(self) -> None:
        self.link.refresh_from_db(fields=["state", "private_key", "peer_key", "reason"])
        if self.link.state != Link.State.OPEN:
            raise Unreachable("This link is not open any more: nothing is sent or taken.", code=self.link.state)

    def _send(self, what: str, body: bytes, use: LinkUse, *, new: bool, meanwhile=None) -> bytes:
        """One signed request and its checked answer, with the present keys or the new ones."""
        column, _at = LANES[self.lane]
        Progress.objects.filter(link=self.link).update(
            **{column: F(column) + 1, "bytes_out": F("bytes_out") + len(body)}
        )
        counter = Progress.objects.values_list(column, flat=True).get(link=self.link)
        path = f"/sync/v1/{self.link.pk}/{what}"
        generation, epoch = use.generation + new, self.exchange.here.epoch
        claim = Claim(path, int(time.time()), self.lane, counter, generation, epoch, keys.digest(body))
        headers = claim.headers(use.next_private_key if new else self.link.private_key)
        headers["Content-Type"] = "application/octet-stream"
        if meanwhile is None:
            response = self.line.post(path, body, headers)
        else:
            with ThreadPoolExecutor(1, "post") as other:
                coming = other.submit(self.line.post, path, body, headers)
                meanwhile()
                response = coming.result()
        self._checked(response, headers["X-Ostoja-Signature"], use, new)
        return response.data

    def _checked(self, response, signature: str, use: LinkUse, new: bool) -> None:
        """The answer is the other site's; what it wishes is noted, and new keys that were used take the place of the old."""
        wish, said = response.headers.get("X-Ostoja-Wish", ""), response.headers.get("X-Ostoja-Signature", "")
        public = use.next_peer_key if new else self.link.peer_key
        if not keys.is_signed(public, said, "answer", signature, wish, keys.digest(response.data)):
            raise Unreachable("The answer is not signed by the other site: somebody is in between.", code="not_signed")
        if new:
            rotating.promote(self.link, use)
        elif wish == rotating.WISH and not use.wanted:
            LinkUse.objects.filter(pk=use.pk, generation=use.generation).update(wanted=True)

    def _as_decided(self) -> None:
        """Speak by what may travel now: it may have been decided anew since the last exchange."""
        if (mark := decided()) != self.decided:
            self.exchange.here, self.decided = here(), mark

    def push(self) -> bool:
        """Say what is new here, if anything is, and take new keys when they are due; answers whether there was anything."""
        if time.monotonic() - self.looked > KEYS:
            self.looked = time.monotonic()
            use = rotating.use_of(self.link)
            if rotating.is_due(use) and not use.next_peer_key:
                self.rotate()
                self.exchange.progress.refresh_from_db()
                self.call(self.exchange.outgoing(silent=True))
        self.exchange.progress.refresh_from_db()
        if not self.exchange.waiting() and self.exchange.progress.problem != UNKNOWN_MANIFEST:
            return False
        self._as_decided()
        message, self.ahead = self.exchange.outgoing(ahead=self.ahead), None
        try:
            answer = self.call(message, partial(self._read_ahead, message) if self.exchange.is_far(message) else None)
        except Unreachable as error:
            if error.code == LinkSuspect.code:
                restamping.put_right()
            raise
        self.exchange.said(message)
        self.exchange.incoming(answer, self.size)
        return True

    def _read_ahead(self, message: Message) -> None:
        self.ahead = self.exchange.ahead(message)

    def pull(self) -> int:
        """Ask what is new there, and take it; answers how many rows were written.

        Of a long queue what comes behind is asked for while this is taken: it is the next that is taken, if this could be.
        """
        self._as_decided()
        came, self.next = self.next or self._ask_for(0), None
        if self.asks_behind and self.exchange.is_far(came.answer):
            counts = []
            last = came.answer.envelopes[-1].seq_to
            behind = self._ask_for(last, lambda: counts.append(self.exchange.incoming(*came)))
            if behind.answer.envelopes[-1].seq_from == last + 1:
                self.next = behind if self.exchange.progress.applied >= last else None
            elif self.exchange.is_far(behind.answer):
                self.asks_behind = False  # an older site, which tells the same again
        else:
            self._check_open()
            counts = [self.exchange.incoming(*came)]
        return sum(c.written + c.deleted + c.purged for c in counts)

    def _ask_for(self, behind: int, meanwhile: Callable[[], None] | None = None) -> Answered:
        message = self.exchange.outgoing(silent=True)
        message.behind = behind
        use = rotating.use_of(self.link)
        if (use.trouble, use.trouble_lane) == (LinkSuspect.code, self.lane):
            message.refused = use.trouble
        return Answered(self.call(message, meanwhile), self.size)
