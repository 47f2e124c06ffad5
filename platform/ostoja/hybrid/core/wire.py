"""What lies in the stores and travels on the wire: cells, rows, markers, outbox entries, operations and envelopes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

PROTO = 1
DATA, CONTROL = "data", "control"


class Corrupt(ValueError):
    """These bytes are not an envelope that a peer sealed: cut short, altered, or of another protocol."""


class OtherProtocol(Corrupt):
    """A peer speaks another version of the protocol; ``number`` says which."""

    def __init__(self, number: object):
        super().__init__(f"Protocol {number} is not spoken here; this site speaks {PROTO}.")
        self.number = number


class Key(NamedTuple):
    """Which record: stable model label and primary key as text."""

    model: str
    id: str


class Stamp(NamedTuple):
    """When and where a value was written: hybrid logical clock (48 bits of ms, 16 bits counter) and the site's number."""

    hlc: int
    site: int


ZERO = Stamp(0, 0)


class Cell(NamedTuple):
    """A value with its stamp; ``base`` is the stamp of the value that its writer saw and replaced.

    A run of writes by one site keeps the base of its first: what that site last saw of others.
    """

    value: Any
    stamp: Stamp
    base: Stamp = ZERO


class Row(NamedTuple):
    """A living record: its cells by field, causal length (odd: alive), and its label.

    ``level`` is the record's own; ``label_ver`` orders labels: the epoch of the site that owns labels in the upper bits.
    """

    cells: Mapping[str, Cell]
    cl: int = 1
    level: int = 0
    label_ver: int = 0


class Marker(NamedTuple):
    """What stays of a record without any content: deleted (``cl`` even), or withheld by the site above (``withheld``).

    A restored owner of labels keeps a withheld one for what it forgot altogether and is told to have closed.
    ``stamp`` is the largest stamp that the record had, so that a restored one writes later ones.
    """

    cl: int
    level: int = 0
    label_ver: int = 0
    stamp: Stamp = ZERO
    withheld: bool = False


Thing = Row | Marker


class Stash(NamedTuple):
    """What a site still owes of a withheld record: its own unacknowledged cells (and life), until they are acknowledged."""

    cells: Mapping[str, Cell]
    cl: int
    label_ver: int


class Ship(NamedTuple):
    """What the peer of a link holds of a record: content of ``label_ver``, or, once deleted or purged, nothing.

    ``seq`` ends the batch in which it went first as a whole; until that is acknowledged it goes as a whole again.
    """

    held: bool
    label_ver: int = 0
    seq: int = 0


class Entry(NamedTuple):
    """One row of the outbox (journal): which record changed and which fields; never a value.

    ``op``: ``I`` made, ``U`` fields changed, ``D`` deleted, ``L`` its label changed, ``R`` to be sent again as a whole.
    ``level`` and ``label_ver`` are the record's when it was captured; ``origin`` is the site that it came from (0: made
    here), to which it is not echoed; ``seq`` is None until numbered.
    """

    id: int
    tx: int
    key: Key
    op: str
    fields: frozenset[str] = frozenset()
    level: int = 0
    label_ver: int = 0
    origin: int = 0
    seq: int | None = None


class Fields(NamedTuple):
    """Some fields of a record that the peer holds, with their cells; ``by`` is who wrote last, as far as known (``authors``)."""

    key: Key
    cl: int
    label_ver: int
    cells: Mapping[str, Cell]
    by: str = ""


class Snap(NamedTuple):
    """A whole record as far as it may pass: for one that the peer does not hold, or holds wrongly."""

    key: Key
    cl: int
    label_ver: int
    level: int
    cells: Mapping[str, Cell]
    by: str = ""


class Delete(NamedTuple):
    """The record is dead at this causal length."""

    key: Key
    cl: int
    label_ver: int
    stamp: Stamp
    by: str = ""


class Purge(NamedTuple):
    """The record may no longer be held: its content goes, a marker stays."""

    key: Key
    cl: int
    label_ver: int


class Receipt(NamedTuple):
    """Answer to a purge: no content of this record is held here any more."""

    key: Key
    label_ver: int


class Withheld(NamedTuple):
    """Told in a resync: I hold a marker of a purge of this version. An owner of labels who knows less takes it over."""

    key: Key
    cl: int
    label_ver: int


class Want(NamedTuple):
    """Send me this record again as a whole."""

    key: Key


Op = Fields | Snap | Delete | Purge | Receipt | Withheld | Want
TOLD = (Fields, Snap)  # what brings values; as tuples, for a union is made anew wherever it stands
CONTENT = (Fields, Snap, Delete)
_OPS = {"F": Fields, "S": Snap, "D": Delete, "P": Purge, "R": Receipt, "H": Withheld, "W": Want}
_CODES = {cls: code for code, cls in _OPS.items()}


class Ack(NamedTuple):
    """What I applied of your stream: your epoch, your number, and my own last number then."""

    epoch: int
    seq: int
    high: int


class Envelope(NamedTuple):
    """One message on a link.

    A stream belongs to the pair (``epoch`` of the sender, ``peer_epoch`` of the receiver; 0 when not known yet). It
    starts after ``base`` and carries numbers ``seq_from``..``seq_to`` of ``high_water``; its resync ends at ``resync_to``.
    In lane ``control`` the numbers mean nothing and the operations may come in any order, any number of times.
    """

    link: str
    sender: int
    epoch: int
    peer_epoch: int
    lane: str
    manifest: str
    base: int
    resync_to: int
    seq_from: int
    seq_to: int
    high_water: int
    ack: Ack
    hlc_now: int
    ops: tuple[Op, ...] = ()


def op_data(op: Op) -> list:
    """An operation as plain data."""
    told = isinstance(op, CONTENT)
    out = [_CODES[type(op)], op.key.model, op.key.id, *(op[1:-1] if told else op[1:])]
    if isinstance(op, TOLD):
        out[-1] = {
            name: [c.value, *c.stamp] if c.base == ZERO else [c.value, *c.stamp, *c.base]
            for name, c in op.cells.items()
        }
    elif isinstance(op, Delete):
        out[-1] = list(op.stamp)
    return [*out, op.by] if told and op.by else out


def op_from(data: list) -> Op:
    """The operation that plain data says. Raises KeyError, TypeError or ValueError when it says none."""
    code, model, id, *rest = data
    cls, key = _OPS[code], Key(str(model), str(id))
    by = [rest.pop()] if cls in CONTENT and rest and isinstance(rest[-1], str) else []
    if cls in TOLD:
        cells = rest.pop()
        rest = [*map(_whole, rest), {name: _cell(*said) for name, said in cells.items()}]
    elif cls is Delete:
        rest = [*map(_whole, rest[:-1]), _stamp(rest[-1])]
    else:
        rest = list(map(_whole, rest))
    return cls(key, *rest, *by)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("Not a number.")
    return value


def _stamp(pair) -> Stamp:
    hlc, site = pair
    return Stamp(_whole(hlc), _whole(site))


def _cell(value: object, *numbers: int) -> Cell:
    for number in numbers:
        if type(number) is not int or number < 0:
            raise ValueError("Not a number.")
    if len(numbers) == 2:
        return Cell(value, Stamp(*numbers))
    hlc, site, base_hlc, base_site = numbers
    return Cell(value, Stamp(hlc, site), Stamp(base_hlc, base_site))


def encode(envelope: Envelope) -> bytes:
    """Canonical JSON preceded by its SHA-256; compression and signature are laid around it by the link."""
    *head, ops = envelope
    head = [list(part) if isinstance(part, tuple) else part for part in head]
    body = orjson.dumps([PROTO, *head, [op_data(op) for op in ops]], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).digest() + body


def decode(sealed: bytes) -> Envelope:
    """The envelope in these bytes. Raises Corrupt."""
    digest, body = sealed[:32], sealed[32:]
    if hashlib.sha256(body).digest() != digest:
        raise Corrupt("The digest does not fit the body.")
    try:
        proto, *head, ops = orjson.loads(body)
        if proto != PROTO:
            raise OtherProtocol(proto)
        envelope = Envelope(*head, ops=tuple(op_from(op) for op in ops))
        numbers = (*envelope[1:4], *envelope[6:11], *envelope.ack, envelope.hlc_now)
        if envelope.lane not in (DATA, CONTROL) or any(_whole(n) < 0 for n in numbers):
            raise Corrupt("The head of the envelope is not one.")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise error if isinstance(error, Corrupt) else Corrupt("The body is no envelope.") from error
    return envelope._replace(ack=Ack(*envelope.ack))
