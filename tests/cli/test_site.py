"""`ostoja site`: what is refused before anything is asked, and when a pair counts as linked."""

import pytest

from ostoja.cli.pairing import linked


@pytest.mark.parametrize("kind", ["public", "private"])
def test_an_installation_in_which_no_agent_would_run_does_not_enrol(ostoja, kind):
    wanted = ("site", "enrol", "--url", "http://office.localhost:9", "--code", "a-b-c-d")
    done = ostoja(*wanted, OSTOJA_INSTALLATION_KIND=kind)
    assert done.returncode == 1
    assert f"This installation is {kind}" in done.stderr and 'kind = "hybrid"' in done.stderr


def test_a_link_that_was_revoked_does_not_keep_the_others_from_being_linked():
    assert linked([{"state": "open"}, {"state": "revoked"}])
    assert not linked([{"state": "open"}, {"state": "first load"}])
    assert not linked([{"state": "revoked"}]) and not linked([])
