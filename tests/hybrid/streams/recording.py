"""A recorded conversation of two sites of one release, and a site of today that takes one part in it."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path

import orjson
import scenario
import skew
import zstandard
from django.db import connections
from two_sites import SYSTEM, Pair

from ostoja import __version__
from ostoja.hybrid import enrolment, keys
from ostoja.hybrid.core.wire import PROTO
from ostoja.hybrid.exchange import MOST_BYTES, Exchange, Message
from ostoja.hybrid.models import Conflict, Link, Parked, Site
from ostoja.hybrid.sites import manifest_in_force
from ostoja.tenancy.context import schema_context, tenant_context

FOLDER = Path(__file__).parent
SITES = ("cloud", "premises")
# Where the head of an envelope of protocol 1 has what belongs to one installation; behind them all are its operations.
LINK, SENDER, EPOCH, PEER_EPOCH, LANE, MANIFEST, BASE, SEQ_TO, ACK, OPS = 1, 2, 3, 4, 5, 6, 7, 10, 12, 14


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def opened(packed: bytes) -> tuple[dict, list[list]]:
    """The head of a message and its envelopes as plain data, without any code of today."""
    raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MOST_BYTES)
    length = int.from_bytes(raw[:4], "big")
    head = orjson.loads(raw[4 : 4 + length])
    at, envelopes = 4 + length, []
    for size in head["parts"]:
        envelopes.append(orjson.loads(raw[at + 32 : at + size]))
        at += size
    return head, envelopes


def closed(head: dict, envelopes: list[list]) -> bytes:
    """The message that such plain data is."""
    parts = []
    for envelope in envelopes:
        body = orjson.dumps(envelope, option=orjson.OPT_SORT_KEYS)
        parts.append(hashlib.sha256(body).digest() + body)
    said = orjson.dumps({**head, "parts": [len(part) for part in parts]})
    return zstandard.ZstdCompressor().compress(len(said).to_bytes(4, "big") + said + b"".join(parts))


class Recorder(Pair):
    """Two sites of today that act and talk while everything that passes is noted."""

    def __init__(self, cloud, premises):
        self.steps: list[dict] = []
        for name in scenario.BEFORE:
            self._act("cloud", cloud, name)
        super().__init__(cloud, premises)

    def record(self) -> dict:
        """The whole scenario; answers the recording."""
        self.load()
        self.talk()
        for acts in scenario.ROUNDS:
            for site, name in acts:
                self._act(site, getattr(self, site), name)
            self.talk()
        made = {"release": __version__, "protocol": PROTO, "epochs": {}, "manifests": {}, "seen": {}, "conflicts": {}}
        for site in SITES:
            with tenant_context(getattr(self, site)):
                made["epochs"][site] = Site.objects.get(here=True).epoch
                made["manifests"][site] = manifest_in_force().canonical.decode()
                made["conflicts"][site] = Conflict.objects.count()
            made["seen"][site] = scenario.seen(getattr(self, site))
        return made | {"steps": self.steps}

    def _act(self, site: str, tenant, name: str) -> None:
        time.sleep(0.01)
        self.steps.append({"at": now(), "site": site, "act": name})
        scenario.act(tenant, name)

    def send(self, source, target, line=None) -> int:
        """One message, noted."""
        self.steps.append({"at": now(), "site": "cloud" if source is self.cloud else "premises"})
        passed = len(self.wire)
        counted = super().send(source, target, line)
        self.steps[-1]["packed"] = base64.b64encode(self.wire[passed]).decode()
        return counted


def write(recording: dict) -> Path:
    """Keep a recording under the name of its release."""
    place = FOLDER / f"{recording['release']}.json"
    place.write_bytes(orjson.dumps(recording, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    return place


class Replay:
    """One site of today takes its part in a recorded conversation; the other one's words are those of the recording.

    The site's clock stands still where the recording's stood at each step, so that what is later is later. Of a recorded message only what
    belongs to one installation is put right: the link, the incarnation, and our numbers in its acknowledgements.
    """

    def __init__(self, recording: dict, part: str, tenant):
        self.recording, self.part, self.tenant = recording, part, tenant
        self.other = next(site for site in SITES if site != part)
        self.numbers: dict[int, int] = {}
        self.wire: list[bytes] = []

    def run(self) -> None:
        """The whole conversation."""
        joined = False
        for step in self.recording["steps"]:
            skew.stop(self.tenant, step["at"])
            if "packed" in step and not joined:
                joined = True
                self._join(step["at"])
            if "act" in step:
                if step["site"] == self.part:
                    scenario.act(self.tenant, step["act"])
            elif step["site"] == self.part:
                self._speak(base64.b64decode(step["packed"]))
            else:
                self._hear(base64.b64decode(step["packed"]))

    def _join(self, at: int) -> None:
        theirs, epoch = self.recording["manifests"][self.other], self.recording["epochs"][self.other]
        private, public = keys.new_pair()
        if self.part == "cloud":
            with tenant_context(self.tenant):
                enrolment.accept(enrolment.invite(SYSTEM), public, "Warsaw", epoch, theirs.encode())
        else:
            answer = {
                "link": str(scenario.key(99)), "manifest": theirs,
                "you": {"number": 2, "name": "Warsaw", "kind": Site.Kind.PREMISES},
                "we": {"number": 1, "name": "Cloud", "kind": Site.Kind.CLOUD, "epoch": epoch, "key": public},
            }  # fmt: skip
            enrolment.note(
                self.tenant, answer, private, public, self.recording["epochs"]["premises"], "http://cloud.example"
            )
        with tenant_context(self.tenant):
            self._as_then(at)
            self.here = Site.objects.get(here=True).epoch
            self.link = str(Link.objects.get().pk)

    def _as_then(self, at: int) -> None:
        """What was there before they were linked is as old as in the recording."""
        ahead = (at - now()) << 16
        schema = self.tenant.schema_name
        with schema_context(schema), connections["owner"].cursor() as cursor:
            cursor.execute(f'UPDATE "{schema}".hybrid_clock SET hlc = hlc + %s, top = top + %s', [ahead, ahead])

    def _exchange(self) -> Exchange:
        return Exchange(Link.objects.select_related("site", "progress").get())

    def _speak(self, recorded: bytes) -> None:
        """We say what we have to say; the recording's other side took as much as it took then."""
        with tenant_context(self.tenant):
            exchange = self._exchange()
            message = exchange.outgoing()
            self.wire.append(message.pack())
            exchange.said(Message.unpack(self.wire[-1]))
        then = [e for e in opened(recorded)[1] if e[LANE] == "data"]
        for was, ours in zip(then, [e for e in message.envelopes if e.lane == "data"], strict=True):
            self.numbers |= {was[BASE]: ours.base, was[SEQ_TO]: ours.seq_to}

    def _hear(self, recorded: bytes) -> None:
        head, envelopes = opened(recorded)
        with tenant_context(self.tenant):
            exchange = self._exchange()
            agreed = exchange.tables.manifest
            for envelope in envelopes:
                self._to_us(envelope, agreed)
            head["knows"] = exchange.here.manifest.hash if head["knows"] else ""
            exchange.incoming(Message.unpack(closed(head, envelopes)))

    def _to_us(self, envelope: list, agreed) -> None:
        was = self.recording["epochs"][self.part]
        envelope[LINK] = self.link
        envelope[PEER_EPOCH] = self.here if envelope[PEER_EPOCH] == was else envelope[PEER_EPOCH]
        epoch, seq, high = envelope[ACK]
        if epoch == was:
            known = [n for n in self.numbers if n <= seq]
            envelope[ACK] = [self.here, self.numbers[max(known)] if known else 0, high]
        if envelope[MANIFEST] != agreed.hash and agreed.models:
            # That release would have learnt our manifest, and sent by what both allow.
            envelope[MANIFEST] = agreed.hash
            kept = [op for op in envelope[OPS] if op[1] in agreed.models]
            for op in kept:
                if op[0] in "FS":
                    allowed = agreed.models[op[1]].open_at(0)
                    op[-1] = {name: cell for name, cell in op[-1].items() if name in allowed}
            envelope[OPS] = kept

    def left(self) -> tuple[int, int]:
        """How many conflicts are told, and how many operations wait."""
        with tenant_context(self.tenant):
            return Conflict.objects.count(), Parked.objects.count()
