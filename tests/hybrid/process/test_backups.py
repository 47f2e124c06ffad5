"""A restored backup of the premises hears what it forgot before anybody works there; of a copied site the older falls silent."""

from __future__ import annotations

import shutil
import time

import pytest
from installations import Installation, free_ports, lay, until


@pytest.fixture
def copy(pair):
    """A home beside the premises, for a copy of them."""
    home = pair.home.with_name(f"{pair.home.name}.copy")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o711)
    shutil.copy(pair.premises.home / "ostoja.toml", home / "ostoja.toml")
    made = Installation(home, free_ports(), "premises.localhost")
    yield made
    made.stop()
    shutil.rmtree(home, ignore_errors=True)


def test_a_restored_site_catches_up_behind_a_closed_door_and_its_copy_falls_silent(pair, line, copy):
    premises, cloud = pair.premises, pair.cloud
    shared, local = (one["id"] for one in cloud.call("GET", "/deals?limit=2&state=open")["items"])
    made = premises.call("POST", "/deals", {"title": "Made after the backup"})["id"]
    cloud.call("PATCH", f"/deals/{shared}", {"title": "In the cloud after the backup"})
    premises.call("PATCH", f"/deals/{local}", {"title": "On the premises after the backup"})
    pair.at_rest()
    premises.stop()
    lay(premises.home, copy.home)
    lay(pair.home.with_name(f"{pair.home.name}.backup"), premises.home)

    assert "demo" in premises.command("site", "renew")
    premises.start(wait=False)
    premises.says("Ostoja is up.")
    pair.lead(premises, line.port)
    until(premises.answers, 120, lambda: (premises.log.read_text(), pair.words("p")))
    for key, title in ((made, "Made"), (shared, "In the cloud"), (local, "On the premises")):
        assert premises.get(f"/deals/{key}")["title"] == f"{title} after the backup"
    pair.at_rest()
    pair.equal()

    copy.start()
    until(lambda: cloud.rows("SELECT 1 FROM hybrid_link WHERE state = 'locked'"), 60, cloud.status)
    assert "still running" in pair.words("c")
    until(lambda: copy.rows("SELECT 1 FROM hybrid_linkuse WHERE trouble IN ('cloned', 'locked')"), 60, copy.status)
    assert "open the link again" in " ".join(copy.status()["problems"]) or "is locked at" in " ".join(
        copy.status()["problems"]
    )
    copy.stop()
    cloud.command("site", "reopen", "--tenant", "demo")
    premises.call("PATCH", f"/deals/{shared}", {"source": "after the copy"})
    premises.kill("agent")
    until(lambda: cloud.get(f"/deals/{shared}")["source"] == "after the copy", 60, lambda: pair.words("p"))
    time.sleep(1)
    pair.at_rest()
    pair.equal()
