"""A scene: a world in which a test says by name who does what, instead of letting a string of bytes choose."""

from __future__ import annotations

from ostoja.hybrid.core.wire import Key, Row

from .node import Node, Tx
from .world import STEPS, P, World


class Scene(World):
    """A world of sites that have met, and whose people act one after another."""

    def __init__(self, sites: int = 2, node_class: type[Node] | None = None):
        super().__init__(sites, node_class)
        self.meet()

    # people

    def does(self, at: int, tx: Tx | None) -> Key:
        """Commit what somebody did; the record that it was about."""
        assert tx is not None, "nobody could do that"
        key = next(reversed(tx.puts))
        self.now += 1
        self.end(at, tx)
        return key

    def place(self, at: int, key: Key) -> int:
        """The number under which a site's people find a record."""
        return self.alive(self.nodes[at], key.model).index(key)

    def makes(self, at: int, same_code: bool = False) -> Key:
        """Somebody makes a deal."""
        return self.does(at, self.create(at, same_code))

    def sets(self, at: int, key: Key, name: str = "note", j: int = 0) -> str:
        """Somebody writes a field; the new value."""
        self.does(at, self.edit(at, self.place(at, key), name, j))
        return self.value(at, key, name)

    def steps(self, at: int, key: Key, state: str) -> str:
        """Somebody moves a deal to another state."""
        return self.sets(at, key, "state", STEPS[self.value(at, key, "state")].index(state))

    def books(self, at: int, key: Key, qty: int = 2) -> Key:
        """Somebody books a move for a deal."""
        return self.does(at, self.move(at, self.place(at, key), qty))

    def erases(self, at: int, key: Key) -> None:
        """Somebody deletes a deal."""
        self.does(at, self.delete(at, self.place(at, key)))

    def revives(self, at: int, key: Key) -> None:
        """Somebody restores a deleted deal."""
        self.does(at, self.undelete(at, self.dead(self.nodes[at], key.model).index(key)))

    def hides(self, key: Key) -> None:
        """Somebody on the premises marks a deal as confidential."""
        self.does(P, self.relabel(self.place(P, key), 1))

    def shows(self, key: Key) -> None:
        """Somebody on the premises opens it again."""
        self.does(P, self.relabel(self.place(P, key), 0))

    # the network

    def sends(self, at: int, to: int, most: int = 200) -> list:
        """A site says what it has to say; the messages are on their way."""
        before = len(self.net)
        self.send(at, to, most)
        return self.net[before:]

    def arrive(self, messages: list, act: str = "ok") -> None:
        """These messages arrive (or what else ``act`` says)."""
        for message in messages:
            self.network(next(i for i, m in enumerate(self.net) if m is message), act)

    def tells(self, at: int, to: int) -> None:
        """One site tells another all that it has to say."""
        self.arrive(self.sends(at, to))

    def meet(self, rounds: int = 4) -> None:
        """All sites tell each other what they have, until they have heard it back."""
        for _round in range(rounds):
            for at, node in self.nodes.items():
                for to in node.links:
                    self.tells(at, to)

    # what is where

    def thing(self, at: int, key: Key):
        """What a site holds of a record."""
        return self.nodes[at].things.get(key)

    def value(self, at: int, key: Key, name: str = "note"):
        """A value at a site; None when it is not there."""
        thing = self.thing(at, key)
        return thing.cells[name].value if isinstance(thing, Row) and name in thing.cells else None

    def everywhere(self, key: Key, name: str = "note") -> set:
        """The values that the sites have of a field."""
        return {self.value(at, key, name) for at in self.nodes}

    def lost_to(self, at: int, rule: str) -> list[str]:
        """The values that a site lost to a rule, and keeps as conflicts."""
        return [c.lost.value for c in self.nodes[at].conflicts if c.rule == rule and c.lost is not None]
