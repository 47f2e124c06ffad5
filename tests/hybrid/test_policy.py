"""Owners decide what leaves the premises: what closes counts at once, what opens needs two of them, and each sees first what it does."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from test_database import fill
from two_sites import Pair, do

from ostoja import gate
from ostoja.access.actor_of import actor_of
from ostoja.crm.sales.models import Deal
from ostoja.hybrid import labels, levels, policing, previewing
from ostoja.hybrid.core.terms import NEVER, OPEN
from ostoja.hybrid.manifest import Policy, compile_manifest
from ostoja.hybrid.models import PolicyRule
from ostoja.hybrid.sites import policy_in_force
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.data import DataClass
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_actor, make_user

NOTES = "party.party.notes"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Jobs are executed by the tests, not sent to a broker."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


@pytest.fixture
def pair(lender):
    """A cloud and premises with a customer, two deals and two owners on the premises."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    made = Pair(cloud, premises)
    made.party = party
    made.deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    do(cloud, Deal, "add", {"title": "Two tables", "party": party.pk, "amount": "20.00"})
    made.load()
    made.talk()
    with tenant_context(premises):
        made.olga = actor_of(make_user("Olga Owner", owner=True))
        made.ola = actor_of(make_user("Ola Other", owner=True))
        with changing(made.olga, "change"):
            type(party).objects.filter(pk=party.pk).update(notes="They pay late.")
    return made


@pytest.fixture
def premises(pair):
    """The premises are open."""
    with tenant_context(pair.premises):
        yield pair


def level(path, policy=None):
    """The level of one field under a policy, the one in force unless given."""
    found = levels.objects(policy or policy_in_force(), path.rpartition(".")[0])[0]
    return next(f for f in found.fields if f.path == path)


# --- deciding -------------------------------------------------------------------------------------------------------------


def test_keeping_something_here_counts_at_once(premises):
    rule = policing.propose(premises.olga, "field", "sales.deal.title", 1)
    assert (rule.state, rule.proposed_by_id) == ("force", premises.olga.user_id)
    assert level("sales.deal.title").level == 1
    assert policy_in_force().fields == {"sales.deal.title": 1}


def test_opening_waits_for_a_second_owner(premises):
    rule = policing.propose(premises.olga, "field", NOTES, 0)
    assert rule.state == "proposed" and level(NOTES).level == 1
    with pytest.raises(Refused, match="another owner approves"):
        policing.approve(premises.olga, rule)
    approved = policing.approve(premises.ola, rule)
    assert (approved.state, approved.approved_by_id) == ("force", premises.ola.user_id)
    assert level(NOTES).level == OPEN


def test_the_database_itself_asks_for_two_people(premises):
    rule = policing.propose(premises.olga, "field", NOTES, 0)
    for approver in (None, premises.olga.user_id):
        with pytest.raises(IntegrityError, match="policy_opens_with_two_people"), transaction.atomic():
            with changing(premises.olga, "attack"):
                PolicyRule.objects.filter(pk=rule.pk).update(state="force", approved_by=approver)
    with pytest.raises(IntegrityError, match="policy_opens_with_two_people"), transaction.atomic():
        with changing(premises.olga, "attack"):
            PolicyRule.objects.create(
                about="field", name=NOTES, level=0, state="force", approved_by_id=premises.ola.user_id
            )
    with pytest.raises(IntegrityError, match="policy_stays_as_proposed"), transaction.atomic():
        with changing(premises.olga, "attack"):
            PolicyRule.objects.filter(pk=rule.pk).update(name="sales.deal.notes")


def test_a_proposal_can_be_rejected_and_nothing_changes(premises):
    rule = policing.propose(premises.olga, "class", "confidential", 0)
    assert policing.withdraw(premises.ola, rule).state == "over"
    assert policy_in_force() == Policy()


def test_a_new_decision_ends_the_former_one_on_the_same_thing(premises):
    first = policing.approve(premises.ola, policing.propose(premises.olga, "field", NOTES, 0))
    assert level(NOTES).level == OPEN
    policing.propose(premises.olga, "field", NOTES, 1)
    first.refresh_from_db()
    assert first.state == "over" and level(NOTES).level == 1


@pytest.mark.parametrize("about", [("class", "internal"), ("object", "sales.deal"), ("field", "sales.deal.title")])
def test_only_single_records_are_sealed(premises, about):
    with pytest.raises(Refused) as refused:
        policing.check(*about, 2)
    assert refused.value.fields == {"level": ["Sealing is for single records: mark the record."]}
    with pytest.raises(Refused, match="Sealing is for single records: mark the record") as refused:
        policing.propose(premises.olga, *about, 2)
    assert refused.value.fields.keys() == {"level"} and not PolicyRule.objects.exists()


def test_a_rule_of_before_that_says_sealed_keeps_here(premises):
    row = {"about": "field", "name": "sales.deal.title", "level": 2, "state": "force"}
    with changing(premises.olga, "add"):
        former = PolicyRule.objects.create(**row, proposed_by_id=premises.olga.user_id)
    shown = level("sales.deal.title")
    assert former.get_level_display() == levels.level_label(shown.level) == "Stays here"
    assert levels.shown_level(shown) == "local" and shown.level > OPEN
    policing.propose(premises.olga, "field", "sales.deal.title", 1)
    former.refresh_from_db()
    assert former.state == "over" and level("sales.deal.title").level == 1


def test_withdrawing_what_closes_opens_it_again_when_the_code_has_it_open(premises):
    rule = policing.propose(premises.olga, "object", "sales.deal", 1)
    assert level("sales.deal.title").level == 1
    policing.withdraw(premises.olga, rule)
    assert level("sales.deal.title").level == OPEN


def test_nobody_opens_alone_by_withdrawing_what_closed(premises):
    policing.approve(premises.ola, policing.propose(premises.olga, "class", "confidential", 0))
    rule = policing.propose(premises.olga, "field", NOTES, 1)
    assert level(NOTES).level == 1
    with pytest.raises(Refused, match="Propose to open it instead"):
        policing.withdraw(premises.olga, rule)
    again = policing.propose(premises.olga, "field", NOTES, 0)
    policing.approve(premises.ola, again)
    rule.refresh_from_db()
    assert rule.state == "over" and level(NOTES).level == OPEN


@pytest.mark.parametrize(
    ("about", "name", "value", "field", "words"),
    [
        ("class", "restricted", 0, "level", "never leaves"),
        ("class", "cosmic", 1, "name", "no such data class"),
        ("field", "party.bankaccount.iban", 0, "level", "never leaves"),
        ("field", "access.user.password", 0, "level", "never leaves"),
        ("field", "sales.deal.nothing", 1, "name", "no such field"),
        ("field", "hybrid.site.name", 1, "name", "never leave the site"),
        ("object", "hybrid.site", 1, "name", "no such object"),
        ("planet", "mars", 1, "about", "not one of the available"),
        ("field", "sales.deal.title", 7, "level", "Sealing is for single records"),
    ],
)
def test_what_can_not_be_decided_says_which_field_is_wrong(premises, about, name, value, field, words):
    with pytest.raises(Refused, match=words) as refused:
        policing.propose(premises.olga, about, name, value)
    assert field in refused.value.fields


def test_only_owners_who_are_people_decide_and_only_on_the_premises(pair):
    with tenant_context(pair.premises):
        clerk = make_actor({"*": {"*": "all"}})
        with pytest.raises(NotAllowed, match="Only an owner"):
            policing.propose(clerk, "field", "sales.deal.title", 1)
        with pytest.raises(NotAllowed, match="People decide"):
            policing.propose(Actor.system(), "field", "sales.deal.title", 1)
        rule = policing.propose(pair.olga, "field", NOTES, 0)
        with pytest.raises(NotAllowed, match="Only an owner"):
            gate.perform(clerk, rule, "approve")
    pair.talk()
    with tenant_context(pair.cloud):
        owner = actor_of(pair.olga.user_id)
        with pytest.raises(NotAllowed, match="premises decide"):
            policing.propose(owner, "field", "sales.deal.title", 1)


def test_decisions_are_neither_changed_nor_deleted(premises):
    rule = policing.propose(premises.olga, "field", "sales.deal.title", 1)
    for verb, data in (("change", {"level": 2}), ("delete", {})):
        with pytest.raises(NotAllowed, match="stay as they are"):
            gate.perform(premises.olga, rule, verb, data)
    for statement in ("UPDATE hybrid_policyrule SET level = 2", "DELETE FROM hybrid_policyrule"):
        with pytest.raises(IntegrityError, match="policy_"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_same_is_not_proposed_twice(premises):
    policing.propose(premises.olga, "field", NOTES, 0)
    with pytest.raises(Refused, match="proposed already"):
        policing.propose(premises.ola, "field", NOTES, 0)
    policing.propose(premises.olga, "field", "sales.deal.title", 1)
    with pytest.raises(Refused, match="decided so already"):
        policing.propose(premises.olga, "field", "sales.deal.title", 1)


# --- levels and their reasons ---------------------------------------------------------------------------------------------

POLICIES = [
    Policy(),
    Policy(classes={DataClass.CONFIDENTIAL: 0}),
    Policy(classes={DataClass.INTERNAL: 1}, fields={"sales.deal.title": 0}),
    Policy(fields={NOTES: 0, "sales.deal.title": 2}, closed=frozenset({"party.party"})),
]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_matrix_says_what_the_manifest_says_of_every_field(premises, policy):
    manifest = compile_manifest(policy)
    seen = 0
    for one in levels.objects(policy):
        terms = manifest.models.get(one.label)
        for field in one.fields:
            name = field.path.rpartition(".")[2]
            assert field.why
            if terms is not None:
                assert field.level == terms.fields[name].level, field.path
                seen += 1
            else:
                assert field.level > OPEN, field.path
            if field.fixed:
                assert field.level > OPEN or not one.travels, field.path
    assert seen > 100


def test_what_never_leaves_is_fixed_and_says_why(premises):
    assert level("access.user.password").level == NEVER and "secret" in level("access.user.password").why.lower()
    assert level("party.bankaccount.iban").fixed
    assert not level(NOTES).fixed and level(NOTES).why == "As the code declares it"


def test_reasons_name_the_rule_that_decided(premises):
    policy = Policy(
        classes={DataClass.INTERNAL: 1}, fields={"sales.deal.title": 0}, closed=frozenset({"catalog.product"})
    )
    assert level("sales.deal.title", policy).why == "Rule for this field"
    assert level("sales.deal.amount", policy).why == "Rule for the class “Internal”"
    assert level("catalog.product.name", policy).why == "Rule for the whole object"
    assert "stay on the premises" in level("sales.dealline.product", Policy(closed=frozenset({"catalog.product"}))).why


# --- previews -------------------------------------------------------------------------------------------------------------


def test_the_preview_counts_and_shows_exactly_what_would_leave(premises):
    found = previewing.of_decision("field", NOTES, 0)
    assert found.returns == [] and [p.label for p in found.leaves] == ["party.party"]
    (customers,) = found.leaves
    assert (customers.records, customers.values) == (1, 1)
    assert customers.fields[0]["samples"] == ["They pay late."]
    assert found.said() == ["This 1 value in 1 record will leave the premises."]


def test_the_preview_of_keeping_an_object_here_calls_all_of_it_back(premises):
    found = previewing.of_decision("object", "sales.deal", 1)
    deals = next(p for p in found.returns if p.label == "sales.deal")
    assert deals.whole and deals.records == 2
    titles = next(f for f in deals.fields if f["name"] == "title")
    assert titles["values"] == 2 and set(titles["samples"]) == {"Hundred chairs", "Two tables"}
    assert not found.leaves


def test_records_that_are_marked_do_not_count(premises):
    labels.close(premises.olga, Deal.objects.get(title="Two tables"))
    found = previewing.of_decision("field", "sales.deal.title", 1)
    assert [(p.label, p.records) for p in found.returns] == [("sales.deal", 1)]


def test_the_preview_is_what_really_leaves(pair):
    """The values that the preview of a record counts are those that its snapshot carries."""
    with tenant_context(pair.premises):
        deal = Deal.objects.get(title="Hundred chairs")
        labels.close(pair.olga, deal)
        counted = {p.label: {f["name"] for f in p.fields} for p in previewing.of_record(deal, pair.olga)}
    pair.talk()
    with tenant_context(pair.premises):
        labels.reopen(pair.olga, deal)
        head = pair.exchange(pair.premises)
        ops = [op for e in head.outgoing().envelopes for op in e.ops if str(op.key.id) == str(deal.pk)]
    sent = {name for op in ops for name, cell in op.cells.items() if cell.value not in (None, "")}
    assert sent == counted["sales.deal"]


def test_a_preview_asks_two_queries_for_each_object(premises):
    from django.test.utils import CaptureQueriesContext

    levels.tables_under(Policy())
    with CaptureQueriesContext(connection) as asked:
        found = previewing.of_decision("field", NOTES, 0)
    assert len(asked) <= 3 and len(found.leaves) == 1
