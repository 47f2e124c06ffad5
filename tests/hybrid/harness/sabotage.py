"""The sabotage list: mistakes that real projects made, each built in on purpose, to prove that the harness sees it."""

from __future__ import annotations

from collections.abc import Callable

from ostoja.hybrid.core import apply as applying
from ostoja.hybrid.core import egress, epochs, graves, hlc, labels, merge, purge, refusal, sequence
from ostoja.hybrid.core.sequence import Verdict
from ostoja.hybrid.core.wire import DATA, Corrupt, Key, Marker, Purge, Row, Snap, Stamp, decode

from . import node as nodes
from .node import Node
from .world import World

# name -> what breaks the core through pytest's monkeypatch, and may return other classes of node and world
LIST: dict[str, Callable] = {}


def sabotage(function):
    """Put a mistake on the list."""
    LIST[function.__name__] = function
    return function


# the fifteen of the design's section 3.4


@sabotage
def naive_id_cursor(patch):
    """``id > last``: what commits late with a small id is never sent."""

    class Naive(Node):
        def number_outbox(self):
            last = max((e.id for e in self.outbox if e.seq is not None), default=0)
            self.outbox = [e for e in self.outbox if e.seq is not None or e.id > last]
            super().number_outbox()

    return Naive, World


@sabotage
def label_at_capture_only(patch):
    """The label is looked at when the change is captured, not when it is sent."""
    patch.setattr(egress, "hidden", lambda thing, ceiling, in_scope=True: False)


@sabotage
def no_purge(patch):
    """A record that becomes confidential is no longer sent, and stays where it is."""
    original = egress.decide

    def decide(*args, **kwargs):
        ops, ship = original(*args, **kwargs)
        return [op for op in ops if not isinstance(op, Purge)], ship

    patch.setattr(egress, "decide", decide)
    patch.setattr(purge, "due", lambda *args: [])


@sabotage
def moves_without_their_own_id(patch):
    """A delta is booked whenever it arrives."""
    original, count = applying._Application._content, [0]

    def content(self, op):
        if isinstance(op, Snap) and op.key.model == "move" and op.key in self.things:
            count[0] += 1
            op = op._replace(key=Key("move", f"{op.key.id}again{count[0]}"))
        original(self, op)

    patch.setattr(applying._Application, "_content", content)


@sabotage
def delete_against_clocks_the_peer_cannot_see(patch):
    """A delete loses against a later edit, be it of a local field."""
    original = merge._deleted

    def deleted(thing, op, terms, pending, decided=False, owner=False):
        if isinstance(thing, Row) and any(c.stamp > op.stamp for c in thing.cells.values()):
            return merge.Merged(thing)
        return original(thing, op, terms, pending, decided, owner)

    patch.setattr(merge, "_deleted", deleted)


@sabotage
def wall_clock_wins(patch):
    """The latest by the clock on the wall."""
    patch.setattr(hlc, "after", lambda now_ms, seen, site: Stamp(now_ms << 16, site))


@sabotage
def no_backfill(patch):
    """Opening a record sends nothing; only what changes afterwards goes."""
    original = egress.collapse
    patch.setattr(egress, "collapse", lambda entries, link: original((e for e in entries if e.op != "L"), link))


@sabotage
def restore_without_a_new_epoch(patch):
    """A restored copy goes on counting where its backup was."""
    original = epochs.greet
    patch.setattr(epochs, "greet", lambda *args: original(*args)._replace(rolled_back=False))

    class Same(World):
        def reborn(self, node, previous):
            pass

    return Node, Same


@sabotage
def ack_before_commit(patch):
    """The cursor is kept, the data is not."""

    class Hasty(Node):
        def receive(self, envelope, now_ms, crash=False):
            if crash:
                state = self.links[envelope.sender]
                if envelope.lane == DATA and sequence.judge(state.inbound, envelope, self.epoch) == Verdict.APPLY:
                    state.inbound = sequence.advance(state.inbound, envelope)
            return super().receive(envelope, now_ms, crash)

    return Hasty, World


@sabotage
def gap_accepted(patch):
    """What is missing in between will surely come."""
    original = sequence.judge

    def judge(*args):
        verdict = original(*args)
        return Verdict.APPLY if verdict == Verdict.GAP else verdict

    patch.setattr(applying, "judge", judge)


@sabotage
def graves_collected_on_ack(patch):
    """The peer has acknowledged the death: forget it."""

    class Forgetful(Node):
        def collectable(self, thing, seq, settled, key):
            acked = [s.outbound.acked for s in self.links.values()]
            return graves.collectable(thing, seq, acked, False, key in self.stashes)

    return Forgetful, World


@sabotage
def no_snap_for_the_unaware(patch):
    """Who wrote without knowing of a relabel is not told what the record is now."""
    patch.setattr(applying._Application, "_unaware", lambda self, op, thing: False)


@sabotage
def child_dropped_without_its_parent(patch):
    """A reference to what is not here refuses the row."""
    original = applying._Application._content

    def content(self, op):
        for name in ("parent", "deal"):
            cell = getattr(op, "cells", {}).get(name)
            if cell is not None and not isinstance(self.things.get(Key("deal", cell.value)), Row):
                return
        original(self, op)

    patch.setattr(applying._Application, "_content", content)


@sabotage
def captured_values_shipped(patch):
    """The outbox keeps values, and a later open label lets them all out."""

    class Hoarder(Node):
        def capture(self, tx, key, op, thing, fields=frozenset(), before=None):
            super().capture(tx, key, op, thing, fields, before)
            self.__dict__.setdefault("hoard", {})[self.last_id] = thing

        def batch(self, peer, now_ms, most=4, pipelined=False):
            state, real = self.links[peer], self.things
            self.number_outbox()
            base = max(state.outbound.acked, state.sent) if pipelined else state.outbound.acked
            self.things = dict(real)
            for entry in self.select(state, base, most):
                then, now = self.__dict__.get("hoard", {}).get(entry.id), real.get(entry.key)
                if isinstance(then, Row) and isinstance(now, Row):
                    self.things[entry.key] = then._replace(level=now.level, label_ver=now.label_ver)
            try:
                return super().batch(peer, now_ms, most, pipelined)
            finally:
                self.things = real

    original = egress.collapse
    patch.setattr(egress, "collapse", lambda entries, link: original((e._replace(level=0) for e in entries), link))
    return Hoarder, World


@sabotage
def purge_forgets_a_death(patch):
    """A purge takes the tombstone with it."""
    original = purge.strip

    def strip(thing, order, pending):
        marker, stash = original(thing, order, pending)
        return marker._replace(cl=1), stash

    patch.setattr(applying, "strip", strip)


# and those that this harness met on its way, or that the design names elsewhere


@sabotage
def half_of_a_group(patch):
    """An amount from here, its currency from there."""
    patch.setattr(merge, "with_groups", lambda fields, group_of: frozenset(fields))
    patch.setattr(egress, "with_groups", lambda fields, group_of: frozenset(fields))


@sabotage
def states_by_the_clock(patch):
    """The later state wins, whether or not it may follow."""
    patch.setattr(merge, "_refused_steps", lambda *args: frozenset())


@sabotage
def anybody_has_authority(patch):
    """Whoever writes last has written."""
    patch.setattr(merge, "may_write", lambda terms, link: True)
    patch.setattr(merge, "_decided", lambda row, op, site, link, retold: merge.Merged(row))


@sabotage
def purged_content_comes_back(patch):
    """Content that is older than its purge is taken."""
    original = merge._made

    def made(thing, op, site):
        if isinstance(thing, Marker) and thing.withheld:
            thing = thing._replace(withheld=False)
        return original(thing, op, site)

    patch.setattr(merge, "_made", made)


@sabotage
def purge_takes_what_is_owed(patch):
    """A purge also takes what the site above has not got yet."""
    original = purge.strip
    patch.setattr(applying, "strip", lambda *args: (original(*args)[0], None))


@sabotage
def a_late_order_takes_a_grave_back(patch):
    """An order to purge that the opening and the death of its record have overtaken gives the grave its old label again."""
    original = applying._Application._purge

    def purge(self, op):
        thing = self.things.get(op.key)
        if self.link.up and isinstance(thing, Marker) and not thing.withheld and op.label_ver < thing.label_ver:
            self._put(op.key, thing._replace(label_ver=op.label_ver))
        original(self, op)

    patch.setattr(applying._Application, "_purge", purge)


@sabotage
def first_word_continues_a_stream(patch):
    """A restored site claims to know its peer before it met it."""
    patch.setattr(epochs, "peer_epoch", lambda outbound, own_epoch: outbound.epoch)


@sabotage
def owner_speaks_before_it_listens(patch):
    """A restored owner of labels sends before it heard which of them it forgot."""
    patch.setattr(
        epochs,
        "may_send",
        lambda inbound, outbound, own, owner, others=(): outbound.own == own and outbound.epoch == inbound.epoch != 0,
    )


@sabotage
def parts_keep_their_own_label(patch):
    """What belongs to a confidential record is open."""
    patch.setattr(labels, "inherited", lambda row, terms, things: row.level)


@sabotage
def long_absence_forgiven(patch):
    """A site that missed deaths may tell of the dead."""
    patch.setattr(graves, "expired", lambda peer_knew, collected_to: False)


@sabotage
def closed_fields_pass(patch):
    """The list of open fields is a matter of routing."""
    original = egress.plan

    def plan(entries, things, stashes, ships, site, link, seq_to, outside=frozenset()):
        planned = original(entries, things, stashes, ships, site, link, seq_to, outside)
        ops = [
            o._replace(cells=things[o.key].cells) if isinstance(o, Snap) and o.key in things else o for o in planned.ops
        ]
        return planned._replace(ops=tuple(ops))

    patch.setattr(egress, "plan", plan)


@sabotage
def damaged_envelopes_taken(patch):
    """What can be parsed is taken."""

    def lenient(sealed):
        try:
            return decode(sealed)
        except Corrupt:
            import hashlib

            return decode(hashlib.sha256(sealed[32:]).digest() + sealed[32:])

    patch.setattr(nodes, "decode", lenient)


@sabotage
def poison_is_logged_and_dropped(patch):
    """What the database refuses is a line in a log."""
    original = applying._Application.run

    def run(self, ops):
        out = original(self, ops)
        out.parked = [p for p in out.parked if p.key not in self.held.refused]
        return out

    patch.setattr(applying._Application, "run", run)


@sabotage
def sent_is_held(patch):
    """The shipped-set is written when a receipt comes, not before bytes leave: the peer holds what nobody knows of."""
    original = egress.plan

    def plan(*args, **kwargs):
        planned = original(*args, **kwargs)
        new = {op.key for op in planned.ops if isinstance(op, Snap)}
        return replace_ships(planned, {k: s for k, s in planned.ships.items() if k not in new})

    patch.setattr(egress, "plan", plan)


def replace_ships(planned, ships):
    """A plan that says less of what the peer holds."""
    return planned._replace(ships=ships)


@sabotage
def half_of_the_outbox(patch):
    """Every second change is lost on its way out."""

    class LosesHalf(Node):
        def select(self, state, base, most):
            return super().select(state, base, most)[::2]

    return LosesHalf, World


@sabotage
def restored_as_if_nothing_were(patch):
    """A restored copy keeps its epoch, and its peers notice."""

    class AsIfNothing(Node):
        def reborn(self, previous, chance):
            pass

    return AsIfNothing, World


@sabotage
def no_resync(patch):
    """A new incarnation of the peer is met, and not told everything again."""

    class NeverResyncs(Node):
        def resync(self, state, greeting):
            pass

    return NeverResyncs, World


@sabotage
def graves_collected_at_once(patch):
    """Tombstones are collected without asking whether every peer has seen them."""

    class ForgetsAtOnce(Node):
        def collectable(self, thing, seq, settled, key):
            return isinstance(thing, Marker) and thing.cl % 2 == 0 and seq is not None

    return ForgetsAtOnce, World


@sabotage
def stashes_kept_for_ever(patch):
    """What was stashed for a peer is not let go of when the peer has it."""

    class KeepsStashes(Node):
        def release(self, state):
            pass

    return KeepsStashes, World


@sabotage
def graves_forget_labels(patch):
    """The grave of a record that was closed is collected, and who restores it opens it."""

    class Forgetful(Node):
        def collectable(self, thing, seq, settled, key):
            parked = any(p.key == key for p in self.parked)
            return graves.collectable(thing, seq, settled, parked, key in self.stashes)

    return Forgetful, World


@sabotage
def restored_authority_believed(patch):
    """What a restored authority tells again is taken for its last word."""
    patch.setattr(merge, "_said_before", lambda mine, theirs: False)


@sabotage
def longer_life_outweighs_authority(patch):
    """Who may not restore a record is told that it is dead, and counts lives instead."""
    original = merge._deleted
    patch.setattr(
        merge,
        "_deleted",
        lambda thing, op, terms, pending, decided=False, owner=False: original(thing, op, terms, pending),
    )


@sabotage
def closed_fields_go_at_once(patch):
    """A field that closes goes, though the site above has not yet got what was written in it."""

    class Obedient(Node):
        def pending(self, peer):
            return {} if self.adopting else super().pending(peer)

        def adopt(self, manifest):
            self.adopting = True
            try:
                return super().adopt(manifest)
            finally:
                self.adopting = False

        adopting = False

    return Obedient, World


@sabotage
def owner_lets_a_refused_update_wait(patch):
    """What the owner's database refuses waits there for ever, and the sites differ."""
    patch.setattr(refusal, "decides", lambda *args: False)


@sabotage
def the_last_that_waits_is_all_that_waits(patch):
    """What waits is replaced by what comes later, as if that said everything."""
    patch.setattr(refusal, "joined", lambda one, other: other)


@sabotage
def refused_word_is_dropped(patch):
    """The owner keeps its values and does not tell anybody what it refused."""
    original = refusal.kept

    def kept(*args):
        merged = original(*args)
        return merged._replace(conflicts=tuple(c for c in merged.conflicts if c.rule != "refused"))

    patch.setattr(refusal, "kept", kept)


@sabotage
def refused_word_keeps_its_stamp(patch):
    """The owner keeps its values under their old stamps, and the others keep theirs."""

    def kept(before, merged, op, terms, site, now_ms, reason):
        return merged._replace(thing=merged.thing._replace(cells=before.cells), changed=frozenset())

    patch.setattr(refusal, "kept", kept)


def sites_of(name: str, patch) -> tuple[type[Node], type[World]]:
    """Build a mistake in; the classes of node and world that have it."""
    return LIST[name](patch) or (Node, World)


__all__ = ["LIST", "sites_of"]
