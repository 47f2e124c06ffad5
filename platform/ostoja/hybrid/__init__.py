"""Hybrid: one tenant on its premises and in the cloud; a pure core decides, the rooms around it read, write and carry.

`manifest` compiles what may travel (registry and the tenant's policy); `core` holds the protocol as functions over plain data, which
the harness in ``tests/hybrid/harness`` plays through random histories, and which the store calls, unchanged:

terms       levels, `Manifest`, `ModelTerms`, `FieldTerms`        wire      what lies in stores and travels: cells, rows, operations
hlc         stamps: later than all that the row has seen           sequence  numbers without gaps, and whether an envelope continues them
epochs      incarnations: `greet`, acknowledgements, resync        egress    `plan`: what leaves for these entries, and what the peer holds
merge       two versions become one; conflicts                     refusal   what becomes of what the database does not let be written
apply       `admit` an envelope, `run` its operations              purge     content goes, a marker stays, what is owed is stashed
graves      when a death may be forgotten                          labels    levels of records and their versions

Around it, from the database to the wire:

tables      the travelling tables of a manifest                    install   triggers that keep clocks, roles and views of what may leave
batches     each column of a batch as one array
clocks      clocks as the core sees them                           holding   what a site holds of the records of a batch
sending     journal entries to a batch, read through the views     receiving applies a batch, table by table, in one transaction
writing     rows, many in a statement; refusals found out          taking    rows that go; references that are kept aside
clashes     conflicts, and two that are both kept                  exchange  one exchange of a link: envelopes out, envelopes in
dialling    the lower site's mouth, and `agent`, which never stops and alone may use it (`kernel.outbound`)   views  the upper site's ear
            of a long queue the next batch is read, or asked for, while this one is taken
enrolment, joining   how a site joins                              keys, rotating, recognising, using   who speaks on a link
labels, policing, adopting, withdrawing   what is sensitive, who decides it, and how it goes
sealing     who sees what is sealed, and nobody else
verifying   whether both sites are equal                           renewing, burying, tending   restored sites, graves, from time to time
authors     of what leaves, who wrote it: a key, never a name
files, carrying   bytes of files                                   frames, entering, reaching   the premises inside of the cloud's pages
pages, words      what people and programs see of it

How a record stands in a store: a `Row` (alive), a `Marker` (no content: deleted or withheld) or nothing. In PostgreSQL a row is the
table's row with its `hybrid_clock`; a marker is a clock alone. The outbox is the journal: which key, which fields, by whom; values are
read when sending, never stored in it. What `apply` writes is in the journal too, so that a site in the middle forwards it.

Operations (both directions)
  Fields    some cells of a record that the peer holds; unknown at the receiver -> parked + Want
  Snap      the whole open projection; when the peer does not hold the record, after L, R, or a change of life
  Delete    dead at causal length cl; the larger cl wins, an equal one changes nothing; a concurrent edit becomes a conflict
  Purge     content goes, a withheld Marker stays; sent in the data lane in its turn, and beside it until receipted
  Receipt   answer to Purge                      Withheld  "I hold a marker of this purge", told in a resync upwards
  Want      send this record again as a whole (repair)

Ship rule: open now AND open in the intersected manifest AND in the link's scope. Otherwise nothing, or a Purge when the shipped-set
says that the peer holds the record. A label entry (L) or resync (R) that is open now is a Snap.

Streams: numbers are per site, a stream per pair of incarnation epochs (mine, yours). A new pair starts after `base` with a resync of
everything up to `resync_to`; the premises send no content before they have applied the peer's, and a restored site lets nobody in
until it has applied its peers' (`renewing`). Cursor, rows, clocks, shipped-set, stashes, conflicts, parked operations and entries are
written in one transaction; the acknowledgement is what that transaction left behind.
"""
