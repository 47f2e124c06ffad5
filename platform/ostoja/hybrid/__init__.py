"""Hybrid: one tenant on its premises and in the cloud; a pure core decides, the rooms around it read, write and carry.

`manifest` compiles what may travel (registry + tenant's policy). `core` holds the protocol as functions over plain data:

terms       levels, `Manifest`, `ModelTerms`, `FieldTerms`; `Manifest.intersect`, `.open(model, ceiling)`, `.hash`
wire        `Key Stamp Cell Row Marker Stash Ship Entry`, the operations, `Envelope`; `encode`, `decode` (Corrupt)
hlc         `after(now_ms, seen, site) -> Stamp`  later than all `seen` (the row's own stamps; no global clock)
            `suspect(stamps, now_ms) -> bool`      a stamp more than 5 minutes ahead: quarantine the link
sequence    `number(entries, last) -> (entries, last)`   the reference of the database's `journal_sequence()`
            `judge(inbound, envelope, own_epoch) -> Verdict`   APPLY, DUPLICATE, GAP, STALE or RESTART (new pair)
epochs      `greet(link, envelope, site) -> Greeting`  reads epochs and ack of any envelope (also of one that is refused)
            `resync_entries(things, stashes) -> [Entry op R]`  everything, after a new pair of incarnations
            `fresh_label_floor(epoch)`, `label_ver_of(thing, floor)`, `next_label_ver(thing, floor)`
egress      `collapse(entries, link) -> [Due]`   one per key: fields or-ed, whole or not, captured level and version
            `decide(due, thing, stash, ship, link) -> (op | None, ship | None)`
            `plan(entries, held, link) -> Plan(ops, shipped)`   a batch; write `shipped` BEFORE bytes leave
merge       `merge(thing, op, terms, link, floor) -> Merged(thing, conflicts, changed, again)`
apply       `apply(envelope, held, site, link, now_ms) -> Outcome`   pure; the store writes the whole Outcome in ONE transaction
purge       `due(shipped, things, link) -> [Purge]` (control lane, until receipted), `strip(thing, pending) -> (Marker, Stash)`,
            `receipted(ship, receipt) -> Ship`
graves      `settled(marks, applied)`, `collectable(marker, seq, settled_of_all_links, parked)`
equality    `leaf`, `bucket`, `root`, `differing`: keyed hashes of the open projection

How a record stands in a store: a `Row` (alive: cells, causal length, level, label_ver), a `Marker` (no content: deleted
and/or withheld) or nothing. In PostgreSQL a row is the table's row plus `sync_clock`; a marker is a `sync_clock` row alone.

The outbox is the journal: an `Entry` says which key, which op (I U D L R), which fields, the record's level and label_ver at
capture, and the site it came from (0: made here). Values are read when sending, never stored in the outbox. Every change
that `apply` makes is an entry too (origin = the peer), so that a site in the middle forwards; it is not echoed to origin.

Operations (both directions)
  Fields    some cells of a record that the peer holds (shipped-set says so); unknown at the receiver -> parked + Want
  Snap      the whole open projection; when the peer does not hold the record, after L, R, or a change of life
  Delete    dead at causal length cl; the larger cl wins, an equal one changes nothing; a concurrent edit becomes a conflict
  Purge     content goes, a withheld Marker stays; sent in the data lane in its turn AND in the control lane until receipted
  Receipt   answer to Purge                      Withheld  "I hold a marker of this purge", told in a resync upwards
  Want      send this record again as a whole (repair)

Ship rule: open at capture AND open now AND open in the intersected manifest AND in the link's scope. Otherwise nothing, or
a Purge when the shipped-set says that the peer holds the record. A label entry (L) or resync (R) that is open now is a Snap.

Streams: numbers are per site, a stream per pair of incarnation epochs (mine, yours). A new pair starts after `base` with a
resync of everything up to `resync_to`; until the owner of labels has applied the peer's resync it sends no content
(`LinkTerms.gated`), and a restored site lets nobody in until it has applied its peers' (restore gate).
Cursor, rows, clocks, shipped, stashes, conflicts, parked and entries are written in one transaction; the ack is what
that transaction left behind.
"""
