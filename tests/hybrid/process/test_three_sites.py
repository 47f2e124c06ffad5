"""A laptop joins the premises of the pair: three whole installations of one tenant, and every change reaches every one that may have it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal

import pytest
from installations import OWNER, Installation, Refused, at_rest, dump, free_ports, until
from proxy import Proxy

DECLARED = '[installation]\nkind = "hybrid"\nname = "Laptop"\nbase_domain = "laptop.localhost"\nsignup = "closed"\n'
LOADED = "SELECT started AND applied >= resync_to FROM hybrid_progress"


class Three:
    """The cloud, the premises and a laptop that joined there, over a line that can be cut.

    Its first load is under way and stands before the deals when this is made; ``loaded`` lets it go on.
    """

    def __init__(self, pair, laptop: Installation):
        self.pair, self.cloud, self.premises, self.laptop = pair, pair.cloud, pair.premises, laptop
        self.sides = {"cloud": pair.cloud, "premises": pair.premises, "laptop": laptop}
        laptop.start()
        self.line = Proxy(pair.premises.port)
        (agent,) = until(lambda: laptop.processes("agent"), 30, laptop.log.read_text)
        os.kill(agent, signal.SIGSTOP)  # so that the load does not begin before its way is barred
        code = pair.premises.command("site", "invite", "--tenant", "demo", "--kind", "desktop")
        url = f"http://demo.premises.localhost:{self.line.port}"
        laptop.command("site", "enrol", "--url", url, "--code", code, "--name", "Laptop")
        self.bar = laptop.connect()
        self.bar.autocommit = False
        with self.bar.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0; LOCK TABLE sales_deal IN SHARE MODE; SELECT pg_backend_pid()")
            self.barring = cursor.fetchone()[0]
        os.kill(agent, signal.SIGCONT)

    def stands(self) -> bool:
        """Whether the load stands before the bar."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)) LIMIT 1"
        return bool(self.laptop.rows(waiting, self.barring))

    def loaded(self) -> Three:
        """Let the first load go on, and wait until all three are at rest."""
        self.bar.close()
        if not self.laptop.token:
            until(lambda: self.laptop.rows(LOADED) == [(True,)], 90, self.laptop.links)
            self.laptop.token = self.laptop.command("token", "create", "--tenant", "demo", "--user", OWNER)
        at_rest(self.sides.values())
        return self

    def equal(self) -> None:
        """Both links hold the same at both ends, as the product says."""
        for side in (self.laptop, self.premises):
            assert side.command("site", "verify") == "equal"

    def stop(self) -> None:
        """The laptop goes; the pair has its one link again."""
        self.bar.close()
        self.line.up()
        if self.laptop.process is not None:
            self.laptop.stop()
        self.premises.command("site", "revoke", "--tenant", "demo", "--link", "Laptop")
        self.line.close()


@pytest.fixture(scope="module")
def joined(both):
    """All three, the laptop in the middle of its first load."""
    both.go_on()
    both.at_rest()
    home = both.home.with_name(f"{both.home.name}.laptop")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o711)
    (home / "ostoja.toml").write_text(DECLARED)
    laptop = Installation(home, free_ports(), "laptop.localhost")
    made = None
    try:
        made = Three(both, laptop)
        yield made
    finally:
        made.stop() if made is not None else laptop.stop()
        shutil.rmtree(home, ignore_errors=True)
    both.at_rest()


@pytest.fixture
def three(joined):
    """All three, at rest."""
    return joined.loaded()


@pytest.fixture
def deal(three):
    """A deal that is on all three sites, for one test."""
    made = three.premises.call("POST", "/deals", {"title": f"Three {secrets.token_hex(4)}", "amount": "3"})["id"]
    for side in three.sides.values():
        until(lambda side=side: side.get(f"/deals/{made}"), 30, side.links)
    yield made
    three.premises.call("DELETE", f"/deals/{made}")
    at_rest(three.sides.values())


def test_a_first_load_that_is_killed_in_its_middle_goes_on_and_ends_equal(joined):
    laptop, counted = joined.laptop, "SELECT count(*) FROM hybrid_clock"
    until(joined.stands, 60, laptop.links)
    assert laptop.rows(LOADED) == [(False,)]
    assert laptop.kill("agent") == 1
    joined.bar.close()
    until(lambda: laptop.rows(counted)[0][0] > 0, 60, laptop.links)
    assert laptop.kill("agent") == 1
    assert laptop.rows(LOADED) == [(False,)]
    joined.loaded()
    joined.equal()


def test_a_change_on_any_of_the_three_is_on_the_other_two_without_anybody_asking(three, deal):
    for here in three.sides.values():
        word = secrets.token_hex(4)
        here.call("PATCH", f"/deals/{deal}", {"source": word})
        for there in three.sides.values():
            until(lambda there=there, word=word: there.has(f"/deals/{deal}", "source", word), 30, three.premises.links)


def test_all_three_converge_after_the_laptop_was_off_while_everybody_worked(three, deal):
    cloud, premises, laptop = three.sides.values()
    mine = laptop.call("POST", "/deals", {"title": "Made on the way", "amount": "1"})["id"]
    at_rest(three.sides.values())
    three.line.down()
    laptop.call("PATCH", f"/deals/{deal}", {"title": "Laptop's title", "notes": "Laptop's notes"})
    laptop.call("PATCH", f"/deals/{mine}", {"source": "laptop"})
    alone = laptop.call("POST", "/deals", {"title": "Made without a line", "amount": "2"})["id"]
    laptop.switch_off()
    cloud.call("PATCH", f"/deals/{deal}", {"source": "cloud"})
    cloud.call("PATCH", f"/deals/{mine}", {"title": "Cloud's title"})
    until(lambda: premises.get(f"/deals/{deal}")["source"] == "cloud", 30, premises.links)
    premises.call("PATCH", f"/deals/{deal}", {"title": "Premises' title"})
    until(lambda: cloud.get(f"/deals/{deal}")["title"] == "Premises' title", 30, premises.links)
    assert cloud.get(f"/deals/{alone}") is None
    three.line.up()
    laptop.start()
    at_rest(three.sides.values(), 90)
    three.equal()
    for side in three.sides.values():
        found = side.get(f"/deals/{deal}")
        assert (found["title"], found["source"]) == ("Premises' title", "cloud")
        found = side.get(f"/deals/{mine}")
        assert (found["title"], found["source"]) == ("Cloud's title", "laptop")
        assert side.get(f"/deals/{alone}")["title"] == "Made without a line"
    assert {s.get(f"/deals/{deal}")["notes"] for s in (premises, laptop)} == {"Laptop's notes"}
    assert "notes" not in cloud.get(f"/deals/{deal}") or not cloud.get(f"/deals/{deal}")["notes"]
    for side in (premises, laptop):
        listed = [c for c in side.call("GET", "/conflicts?limit=100")["items"] if c["record"] == deal]
        assert [(c["field"], c["state"]) for c in listed] == [("title", "open")], (side.domain, listed)
    for key in (mine, alone):
        premises.call("DELETE", f"/deals/{key}")
    at_rest(three.sides.values())


def test_what_stays_on_the_premises_is_on_the_laptop_and_not_in_the_cloud(three, deal):
    cloud, premises, laptop = three.sides.values()
    with pytest.raises(Refused) as refused:
        laptop.call("POST", f"/deals/{deal}/mark-sensitive", {})
    assert refused.value.status == 422 and "mark it there" in refused.value.said
    premises.call("POST", f"/deals/{deal}/mark-sensitive", {})
    until(lambda: cloud.get(f"/deals/{deal}") is None, 30, premises.links)
    at_rest(three.sides.values())
    assert laptop.call("GET", f"/deals/{deal}/sharing")["state"] == "stays"
    for here, there in ((laptop, premises), (premises, laptop)):
        word = f"stays {secrets.token_hex(8)}"
        here.call("PATCH", f"/deals/{deal}", {"source": word})
        until(lambda there=there, word=word: there.get(f"/deals/{deal}")["source"] == word, 30, premises.links)
        at_rest(three.sides.values())
        assert word.encode() in dump(laptop) and word.encode() not in dump(cloud)
    three.equal()
    premises.call("POST", f"/deals/{deal}/open-again", {})
    until(lambda: (cloud.get(f"/deals/{deal}") or {}).get("source") == word, 30, premises.links)


def test_what_is_sealed_leaves_the_laptop_too_also_when_it_was_off(three, deal):
    cloud, premises, laptop = three.sides.values()
    word = f"sealed {secrets.token_hex(8)}"
    three.line.down()
    premises.call("POST", f"/deals/{deal}/mark-sensitive", {"level": 2})
    premises.call("PATCH", f"/deals/{deal}", {"source": word})
    until(lambda: cloud.get(f"/deals/{deal}") is None, 30, premises.links)
    assert laptop.get(f"/deals/{deal}") is not None
    three.line.up()
    until(lambda: laptop.get(f"/deals/{deal}") is None, 30, laptop.links)
    at_rest(three.sides.values())
    assert premises.get(f"/deals/{deal}")["source"] == word
    for side in (laptop, cloud):
        assert word.encode() not in dump(side)
    three.equal()
    premises.call("POST", f"/deals/{deal}/open-again", {})
    for side in (laptop, cloud):
        until(lambda side=side: (side.get(f"/deals/{deal}") or {}).get("source") == word, 30, premises.links)
