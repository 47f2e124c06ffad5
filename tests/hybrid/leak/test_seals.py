"""Of a sealed record nothing is in the cloud, and nothing of who may see it, whatever its level was before and is afterwards."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from test_database import fill
from test_gates import Watched
from two_sites import SYSTEM, do

from ostoja import gate
from ostoja.access.actor_of import actor_of
from ostoja.crm.sales.models import Deal, DealLine
from ostoja.documents.files import store
from ostoja.hybrid import marking, withdrawing
from ostoja.hybrid.core.terms import LOCAL, SEALED
from ostoja.hybrid.models import Insider
from ostoja.party.models import ContactPoint, Party
from ostoja.planning.models import Activity
from ostoja.tenancy.context import tenant_context
from ostoja.testing.canaries import Canaries
from ostoja.testing.people import make_user


@pytest.fixture
def pair(lender):
    """Both sites; the cloud has let go of what is closed."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    made = Watched(cloud, premises)
    made.party = party
    made.load()
    made.talk()
    with tenant_context(cloud):
        withdrawing.withdraw()
    made.talk()
    with tenant_context(premises):
        made.olga = actor_of(make_user("Olga Owner", owner=True))
        made.piotr = make_user("Piotr Lis")
    return made


def found(pair, canaries, sinks, log) -> tuple[set[str], dict[str, set[str]]]:
    """(what was on the wire, what lies where in the cloud)."""
    told = set().union(*(canaries.found(packed) for packed in pair.down))
    there = sinks(pair.cloud, log)
    return told, {name: seen for name, text in there.items() if (seen := canaries.found(text))}


def fill_in(pair, deal: Deal, canaries: Canaries, when: str) -> None:
    """Everything that people write of a deal: the deal, a line, a file, what was told, and of its customer a contact."""
    do(pair.premises, deal, data={"title": canaries.text(f"a title, {when}")})
    do(pair.premises, DealLine, "add", {"deal": deal.pk, "description": canaries.text(f"a line, {when}"), "quantity": 1, "price": "9"})  # fmt: skip
    with tenant_context(pair.premises):
        words = canaries.text(f"a file, {when}").encode()
        store(SYSTEM, deal, SimpleUploadedFile("f.txt", words), f"{canaries.text(f'a name of a file, {when}')}.txt")
        told = {
            "kind": "call",
            "subject": canaries.text(f"a subject, {when}"),
            "body": canaries.text(f"a text, {when}"),
        }
        gate.perform(SYSTEM, Activity, "add", told | {"deal": deal.pk})


@pytest.mark.parametrize("before", [0, LOCAL], ids=["open before", "kept here before"])
@pytest.mark.parametrize("after", [SEALED, LOCAL], ids=["sealed", "kept here afterwards"])
def test_what_is_written_while_it_is_sealed_never_leaves(pair, listen, sinks, before, after):
    canaries, log = Canaries(), listen(pair.cloud)
    deal = do(pair.premises, Deal, "add", {"title": "Chairs", "party": pair.party.pk, "amount": "5"})
    pair.talk()
    with tenant_context(pair.premises):
        if before:
            marking.mark(pair.olga, deal, before)
            pair.talk()
        marking.mark(pair.olga, deal, SEALED)
    fill_in(pair, deal, canaries, "while it was sealed")
    pair.talk()
    if after != SEALED:
        with tenant_context(pair.premises):
            marking.mark(pair.olga, Deal.objects.get(pk=deal.pk), after)
        fill_in(pair, deal, canaries, "afterwards")
    pair.talk()
    assert found(pair, canaries, sinks, log) == (set(), {})
    with tenant_context(pair.cloud):
        assert not Deal.objects.filter(pk=deal.pk).exists() and not Insider.objects.exists()


def test_when_it_is_opened_again_what_is_there_then_leaves_and_nothing_older(pair, listen, sinks):
    old, new, log = Canaries(), Canaries(), listen(pair.cloud)
    deal = do(pair.premises, Deal, "add", {"title": "Chairs", "party": pair.party.pk, "amount": "5"})
    with tenant_context(pair.premises):
        marking.mark(pair.olga, deal, SEALED)
    pair.talk()
    do(pair.premises, deal, data={"title": old.text("an older title")})
    with tenant_context(pair.premises):
        point = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": old.text("a customer that stays sealed")})
        marking.mark(pair.olga, point, SEALED)
        gate.perform(SYSTEM, ContactPoint, "add", {"party": point.pk, "type": "email", "value": f"{old.text('an address')}@a.example"})  # fmt: skip
    do(pair.premises, deal, data={"party": point.pk, "title": new.text("the title of now")})
    pair.talk()
    with tenant_context(pair.premises):
        marking.open_again(pair.olga, Deal.objects.get(pk=deal.pk))
    pair.talk()
    assert found(pair, old, sinks, log) == (set(), {})
    told, there = found(pair, new, sinks, log)
    assert told == {"the title of now"} and "table sales_deal" in there
    with tenant_context(pair.cloud):
        assert Deal.objects.get(pk=deal.pk).party_id is None


def test_who_may_see_it_is_told_to_nobody(pair, listen, sinks):
    with tenant_context(pair.premises):
        deal = do(pair.premises, Deal, "add", {"title": "Chairs", "party": pair.party.pk, "amount": "5"})
        marking.mark(pair.olga, deal, SEALED)
        keys = [str(one.pk) for one in Insider.objects.all()]
    pair.talk()
    there = sinks(pair.cloud, listen(pair.cloud))
    assert keys and there["table hybrid_insider"] == ""
    for key in keys:
        assert not any(key in text for text in there.values())
        assert not any(key.replace("-", "").encode() in packed.hex().encode() for packed in pair.down)
