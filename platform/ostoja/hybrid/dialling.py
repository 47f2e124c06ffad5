"""The lower site's mouth: enrols at the upper site, and pushes and pulls over HTTPS that it opens itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson
import urllib3
from django.db.models import F

from ostoja.kernel.errors import OstojaError

from . import keys
from .exchange import Exchange, Message
from .models import Link, Progress

CONNECT, READ = 10, 40  # seconds


class Unreachable(OstojaError):
    """The other site does not answer, or refuses; the sentence says what it said."""

    code = "unreachable"
    status = 502


class Line:
    """HTTP to one upper site. Names below ``localhost`` are this machine, whatever its resolver says."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"“{url}” is no address: write it like https://company.example.com.")
        self.host = parts.netloc
        local = parts.hostname == "localhost" or parts.hostname.endswith(".localhost")
        if parts.scheme == "http" and not local:
            raise Unreachable(f"“{url}” is not encrypted: use https.")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        options = {"timeout": urllib3.Timeout(connect=CONNECT, read=READ), "retries": False, "maxsize": 2}
        if parts.scheme == "https":
            self.pool = urllib3.HTTPSConnectionPool(parts.hostname, port, **options)
        else:
            self.pool = urllib3.HTTPConnectionPool("127.0.0.1", port, **options)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """POST and answer. Raises Unreachable."""
        try:
            response = self.pool.request("POST", path, body=body, headers={"Host": self.host, **headers})
        except urllib3.exceptions.HTTPError as error:
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


class Caller:
    """One lane of one link: ``push`` says what is new here, ``pull`` asks what is new there. The tenant must be open."""

    def __init__(self, link: Link, lane: str):
        self.link = link
        self.lane = lane
        self.line = Line(link.url)
        self.exchange = Exchange(link)

    def call(self, message: Message) -> Message:
        """Send a message and check that the answer is the other site's. Raises Unreachable."""
        answer = self._post("exchange", message.pack())
        self.size = len(answer)
        return Message.unpack(answer)

    def ask(self, question: Mapping) -> dict:
        """Ask a question of the comparison. Raises Unreachable."""
        return orjson.loads(self._post("verify", orjson.dumps(question)))

    def _post(self, what: str, body: bytes) -> bytes:
        column = "pushes" if self.lane == "push" else "pulls"
        Progress.objects.filter(link=self.link).update(
            **{column: F(column) + 1, "bytes_out": F("bytes_out") + len(body)}
        )
        counter = Progress.objects.values_list(column, flat=True).get(link=self.link)
        path, moment = f"/sync/v1/{self.link.pk}/{what}", int(time.time())
        signature = keys.sign(self.link.private_key, "POST", path, moment, self.lane, counter, keys.digest(body))
        response = self.line.post(path, body, {
            "Content-Type": "application/octet-stream", "X-Ostoja-Time": str(moment), "X-Ostoja-Lane": self.lane,
            "X-Ostoja-Counter": str(counter), "X-Ostoja-Signature": signature,
        })  # fmt: skip
        said = response.headers.get("X-Ostoja-Signature", "")
        if not keys.is_signed(self.link.peer_key, said, "answer", signature, keys.digest(response.data)):
            raise Unreachable("The answer is not signed by the other site: somebody is in between.", code="not_signed")
        return response.data

    def push(self) -> bool:
        """Say what is new here, if anything is; answers whether there was."""
        self.exchange.progress.refresh_from_db()
        if not self.exchange.waiting():
            return False
        message = self.exchange.outgoing()
        answer = self.call(message)
        self.exchange.said(message)
        self.exchange.incoming(answer, self.size)
        return True

    def pull(self) -> int:
        """Ask what is new there; answers how many rows were written."""
        message = self.exchange.outgoing(silent=True)
        answer = self.call(message)
        counts = self.exchange.incoming(answer, self.size)
        return counts.written + counts.deleted + counts.purged
