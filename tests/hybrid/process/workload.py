"""People at work on both sides, a ledger of what was acknowledged to them, and the judgement of what became of it."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from installations import SIDES, Pair, Refused

FIELDS = {"deals": ("title", "source"), "parties": ("name", "city"), "deal-lines": ("description",)}
TABLES = {"deals": "sales_deal", "parties": "party_party", "deal-lines": "sales_dealline"}
STAMPS = "SELECT id::text, greatest(hlc, top), label_ver, cl FROM hybrid_clock WHERE id = ANY(%s::uuid[])"
CURSORS = "SELECT peer_epoch, own_epoch, applied, acked FROM hybrid_progress"


class Write(NamedTuple):
    """One write as the person saw it: ``known`` when it was acknowledged, otherwise nobody knows whether it counted."""

    side: str
    kind: str
    record: str
    field: str
    value: str
    began: float
    ended: float
    known: bool


class Lost(AssertionError):
    """What was acknowledged is not there, or what is there was never written."""


class Ledger:
    """What people wrote, kept outside of the system."""

    def __init__(self):
        self.writes: list[Write] = []
        self.deletes: list[Write] = []
        self.parts: dict[str, str] = {}  # line -> deal
        self.marked: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.lock = threading.Lock()

    def note(self, write: Write) -> None:
        """A write that counted, or may have."""
        with self.lock:
            (self.deletes if write.field == "" else self.writes).append(write)

    @property
    def known(self) -> int:
        """How many were acknowledged."""
        return sum(w.known for w in (*self.writes, *self.deletes))


class Person(threading.Thread):
    """Somebody who changes, makes and deletes deals, lines and parties of one side until told to stop."""

    ACTS = {"change": 60, "make": 12, "line": 8, "delete": 3, "mark": 2, "open": 2}

    def __init__(self, work: Work, side: str, number: int):
        super().__init__(name=f"person {side}{number}", daemon=True)
        self.work, self.side, self.at = work, side, work.pair.sides[side]
        self.chance = random.Random(f"{work.seed}-{side}-{number}")
        self.word, self.count = f"{side}{number}", 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Work."""
        acts, weights = zip(*self.ACTS.items(), strict=True)
        try:
            while not self.work.stopping.wait(self.chance.uniform(0.3, 1.7) * self.work.pause):
                act = self.chance.choices(acts, weights)[0]
                try:
                    getattr(self, f"act_{act}")()
                except Refused as error:
                    self.work.ledger.refused[f"{self.side} {act} {error.status}"] += 1
                    self.work.samples[f"{act} {error.status}"] = error.said[:200]
        except BaseException as error:
            self.failure = error

    def _token(self) -> str:
        self.count += 1
        return f"{self.work.word}-{self.word}-{self.count}"

    def _write(self, method: str, path: str, data: dict | None, kind: str, record: str, field: str, value: str) -> dict:
        """One write and what the ledger says of it. Raises Refused."""
        began = time.time()
        try:
            answer = self.at.call(method, path, data, timeout=20)
        except Refused as error:
            if error.unknown:
                self.work.ledger.note(Write(self.side, kind, record, field, value, began, time.time(), False))
            raise
        self.work.ledger.note(Write(self.side, kind, record, field, value, began, time.time(), True))
        return answer

    def act_change(self) -> None:
        """One field of one record."""
        kind = self.chance.choices(("deals", "parties", "deal-lines"), (6, 2, 2))[0]
        pool = self.work.pool(kind)
        if pool:
            record, field, value = self.chance.choice(pool), self.chance.choice(FIELDS[kind]), self._token()
            self._write("PATCH", f"/{kind}/{record}", {field: value}, kind, record, field, value)

    def act_make(self) -> None:
        """A new deal."""
        title = self._token()
        self._made("deals", "title", title, {"title": title, "party": self.chance.choice(self.work.pool("parties"))})

    def act_line(self) -> None:
        """A new line of a deal."""
        deal, words = self.chance.choice(self.work.pool("deals")), self._token()
        made = self._made(
            "deal-lines", "description", words, {"deal": deal, "description": words, "quantity": "1", "price": "10"}
        )
        if made:
            self.work.ledger.parts[made] = deal

    def _made(self, kind: str, field: str, value: str, data: dict) -> str:
        """Make a record; asked again with the same key until it is known, so that it is made once."""
        key, began = str(uuid.uuid4()), time.time()
        while True:
            try:
                made = self.at.call("POST", f"/{kind}", data, key=key, timeout=20)["id"]
            except Refused as error:
                if not error.unknown and error.status != 409:
                    raise
                if self.work.stopping.is_set() and time.time() - began > 60:
                    return ""
                time.sleep(0.3)
                continue
            self.work.ledger.note(Write(self.side, kind, made, field, value, began, time.time(), True))
            self.work.add(kind, made)
            return made

    def act_delete(self) -> None:
        """A deal that somebody made goes."""
        pool = self.work.made("deals")
        if pool:
            record = self.chance.choice(pool)
            self._write("DELETE", f"/deals/{record}", None, "deals", record, "", "")
            self.work.drop("deals", record)

    def act_mark(self) -> None:
        """A deal is marked as sensitive, on the premises."""
        pool = self.work.made("deals")
        if self.side == "p" and pool:
            record = self.chance.choice(pool)
            self.at.call("POST", f"/deals/{record}/mark-sensitive", {})

    def act_open(self) -> None:
        """A marked deal is opened again, on the premises."""
        marked = (
            self.at.rows("SELECT id::text FROM hybrid_label WHERE level > 0 AND NOT inherited")
            if self.side == "p"
            else ()
        )
        if marked:
            self.at.call("POST", f"/deals/{self.chance.choice(marked)[0]}/open-again", {})


class Watcher(threading.Thread):
    """Sees that no stamp of a record and no cursor of a link ever goes back."""

    def __init__(self, work: Work):
        super().__init__(name="watcher", daemon=True)
        self.work, self.broken, self.looks = work, [], 0

    def run(self) -> None:
        """Look twice a second."""
        seen: dict[tuple, tuple] = {}
        while not self.work.stopping.wait(0.5):
            for side, at in self.work.pair.sides.items():
                for key, *stamps in at.rows(STAMPS, self.work.everything()):
                    self._later(seen, (side, key), tuple(stamps))
                for *epochs, applied, acked in at.rows(CURSORS):
                    self._later(seen, (side, *epochs), (applied, acked))
                self.looks += 1

    def _later(self, seen: dict, what: tuple, now: tuple) -> None:
        before = seen.get(what)
        if before is not None and any(a < b for a, b in zip(now, before, strict=True)):
            self.broken.append((what, before, now))
        seen[what] = now


class Work:
    """People of both sides at work for a block: ``with Work(pair, seed): …``, then ``judge()``."""

    def __init__(self, pair: Pair, seed: int, people: int = 2, pause: float = 0.12):
        self.pair, self.seed, self.pause = pair, seed, pause
        self.word = f"w{uuid.uuid4().hex[:6]}"
        self.ledger, self.stopping, self.lock = Ledger(), threading.Event(), threading.Lock()
        self.samples: dict[str, str] = {}
        chosen = pair.cloud.call("GET", "/deals?limit=12&state=open")["items"]
        self.given = {
            "deals": [one["id"] for one in chosen],
            "parties": [one["id"] for one in pair.cloud.call("GET", "/parties?limit=6")["items"]],
            "deal-lines": [],
        }
        self.own: dict[str, list[str]] = defaultdict(list)
        self.gone: set[str] = set()
        self.people = [Person(self, side, number) for side in SIDES for number in range(people)]
        self.watcher = Watcher(self)

    def pool(self, kind: str) -> list[str]:
        """The records that people work on."""
        with self.lock:
            return [*self.given[kind], *self.own[kind]]

    def made(self, kind: str) -> list[str]:
        """Those that they made."""
        with self.lock:
            return list(self.own[kind])

    def everything(self) -> list[str]:
        """All keys that were ever in a pool."""
        return [*self.pool("deals"), *self.pool("parties"), *self.pool("deal-lines"), *self.gone]

    def add(self, kind: str, record: str) -> None:
        """A new record."""
        with self.lock:
            self.own[kind].append(record)

    def drop(self, kind: str, record: str) -> None:
        """A record that was deleted."""
        with self.lock:
            self.gone.add(record)
            if record in self.own[kind]:
                self.own[kind].remove(record)

    def __enter__(self) -> Work:
        for one in (*self.people, self.watcher):
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for one in (*self.people, self.watcher):
            one.join(timeout=120)

    # the judgement

    def judge(self, rest: float = 90) -> None:
        """All that must hold once both are at rest. Raises Lost with the seed."""
        for person in self.people:
            if person.failure is not None:
                raise person.failure
        self.pair.at_rest(rest)
        try:
            self._hold(not self.watcher.broken, "goes back", self.watcher.broken[:5])
            self._hold(self.watcher.looks > 0, "nobody looked at the stamps")
            self._nothing_lost()
            self._nothing_doubled()
            self._alike()
        except Lost as error:
            raise Lost(f"seed {self.seed}: {error}") from None
        self.pair.equal()

    @staticmethod
    def _hold(true: object, *told: object) -> None:
        if not true:
            raise Lost(" ".join(map(str, told)))

    def _nothing_lost(self) -> None:
        conflicts = {
            key
            for side in self.pair.sides.values()
            for (key,) in side.rows("SELECT DISTINCT record::text FROM hybrid_conflict")
        }
        parked = {key for (key,) in self.pair.premises.rows("SELECT record::text FROM hybrid_parked")}
        deleted = {d.record for d in self.ledger.deletes}
        known_deleted = {d.record for d in self.ledger.deletes if d.known}
        by_cell: dict[tuple, list[Write]] = defaultdict(list)
        for write in self.ledger.writes:
            by_cell[write.kind, write.record, write.field].append(write)
        for kind, table in TABLES.items():
            cells = {(record, field): w for (k, record, field), w in by_cell.items() if k == kind}
            held = self._held(self.pair.premises, kind, {record for record, _field in cells})
            for (record, field), writes in cells.items():
                whole = self.ledger.parts.get(record, record)
                if record not in held:
                    excused = whole in deleted or record in parked or record in conflicts
                    self._hold(excused or not any(w.known for w in writes), f"{table} {record} is lost:", writes)
                elif record not in conflicts | parked:
                    self._hold(record not in known_deleted, f"{table} {record} is back after it was deleted")
                    self._latest(f"{table} {record} {field}", held[record][field], writes)

    def _latest(self, what: str, value: str, writes: list[Write]) -> None:
        """The value is one that was written, and none that was certainly overwritten."""
        wrote = [w for w in writes if w.value == value]
        known = [w for w in writes if w.known]
        if not wrote:
            self._hold(not known, f"{what} is “{value}”, which nobody wrote:", writes)
            return
        later = [w for w in known if w.began > wrote[0].ended]
        self._hold(not later, f"{what} is “{value}”, and these came later:", later, "than", wrote[0])

    def _nothing_doubled(self) -> None:
        made = Counter(w.value for w in self.ledger.writes if w.kind != "parties")
        for name, side in self.pair.sides.items():
            found = side.rows(
                "SELECT title FROM sales_deal WHERE title LIKE %s UNION ALL SELECT description FROM sales_dealline WHERE description LIKE %s",
                *[f"{self.word}%"] * 2,
            )
            counted = Counter(value for (value,) in found)
            self._hold(not [v for v, n in counted.items() if n > 1], name, "doubled:", counted.most_common(3))
            self._hold(counted.keys() <= made.keys(), name, "never written:", counted.keys() - made.keys())
            numbers = side.rows("SELECT number FROM sales_deal WHERE number <> '' GROUP BY 1 HAVING count(*) > 1")
            self._hold(not numbers, name, "used a number twice:", numbers)

    def _alike(self) -> None:
        """What is not marked as sensitive is the same on both sides, read from the tables themselves."""
        marked = {key for (key,) in self.pair.premises.rows("SELECT id::text FROM hybrid_label WHERE level > 0")}
        for kind, table in TABLES.items():
            keys = {w.record for w in self.ledger.writes if w.kind == kind}
            here, there = (self._held(side, kind, keys) for side in (self.pair.premises, self.pair.cloud))
            closed = {key for key in here if key in marked or self.ledger.parts.get(key) in marked}
            self._hold(
                not closed & there.keys(), table, "marked as sensitive, and in the cloud:", closed & there.keys()
            )
            for key in here.keys() - closed | there.keys():
                self._hold(here.get(key) == there.get(key), table, key, "differs:", here.get(key), there.get(key))

    def _held(self, side, kind: str, keys: Iterable[str]) -> dict[str, dict[str, str]]:
        names = FIELDS[kind]
        found = side.rows(
            f"SELECT id::text, {', '.join(names)} FROM {TABLES[kind]} WHERE id = ANY(%s::uuid[])", list(keys)
        )
        return {key: dict(zip(names, values, strict=True)) for key, *values in found}
