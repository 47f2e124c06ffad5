"""Parties: contacts that look alike, numbers of authorities, merging and separating, consents (PTY-1 to PTY-4)."""

import threading
from datetime import timedelta
from itertools import count

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stdnum.pl import nip

from ostoja import gate
from ostoja.access.policy import visible
from ostoja.crm.sales.models import Deal, Pipeline, Stage
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.party.duplicates import duplicates
from ostoja.party.merging import references
from ostoja.party.models import Address, BankAccount, Consent, ContactPoint, Party, Relation, TaxId
from ostoja.planning.models import Activity
from ostoja.tenancy.context import tenant_context

SYSTEM = Actor.system("Test")
NIP = "5260250995"
IBAN = "PL61109010140000071219812874"
_numbers = count(1)
in_one_tenant = settings(
    deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def add(actor):
    """``add(Model, field=value)``: a record, through the gate."""
    return lambda model, **data: gate.perform(actor, model, "add", {k: getattr(v, "pk", v) for k, v in data.items()})


def party(add, name="", **data):
    return add(Party, name=name or f"Party {next(_numbers)}", **data)


def sql(statement, *params):
    """One statement of somebody who goes around every form."""
    with changing(SYSTEM, "sql"), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.rowcount


# --- PTY-1 ---------------------------------------------------------------------------------------------------------


def test_PTY_1_one_phone_however_it_is_typed(add):
    acme = party(add)
    assert add(ContactPoint, party=acme, type="phone", value="22 695 90 00").value_normalised == "+48226959000"
    for spelling in ("+48 22 695-90-00", "0048226959000", "(22) 6959000"):
        with pytest.raises(Refused, match="this contact point already"):
            add(ContactPoint, party=acme, type="mobile", value=spelling)
    with pytest.raises(IntegrityError, match="contact_point_once_per_party"):
        sql(
            "INSERT INTO party_contactpoint (id, created_at, updated_at, version, party_id, type, value, value_normalised, label,"
            " is_primary) SELECT gen_random_uuid(), now(), now(), 1, party_id, type, value, value_normalised, '', false"
            " FROM party_contactpoint"
        )


def test_PTY_1_the_normal_form_follows_every_change(add, actor):
    point = add(ContactPoint, party=party(add), type="email", value="Anna@Example.COM ")
    assert point.value_normalised == "anna@example.com"
    point = gate.perform(actor, point, "change", {"value": "Ola@example.com"})
    assert point.value_normalised == "ola@example.com"
    with pytest.raises(Refused) as refused:
        gate.perform(actor, point, "change", {"type": "phone"})
    assert "value" in refused.value.fields


def test_PTY_1_duplicates_across_parties_are_flagged_with_the_reason(add, actor):
    acme, same_phone, same_account, same_name, other = (
        party(add, name) for name in ("Acme", "Akme", "ACMEX", "acme", "Zeta")
    )
    add(ContactPoint, party=acme, type="phone", value="22 695 90 00")
    add(ContactPoint, party=same_phone, type="mobile", value="+48226959000")
    add(ContactPoint, party=other, type="phone", value="22 695 90 01")
    add(BankAccount, party=acme, iban=IBAN)
    add(BankAccount, party=same_account, iban=IBAN[2:])
    found = {d.party: d.why for d in duplicates(actor, acme)}
    assert found == {
        same_account: "the same account",
        same_phone: "the same contact",
        same_name: "the same name",
    }
    assert list(found)[0] == same_account, "The surest sign comes first."
    assert {d.party for d in duplicates(actor, same_phone)} == {acme}
    assert duplicates(actor, other) == []


def test_PTY_1_signs_that_one_may_not_see_tell_nothing(add, as_role):
    acme, same_phone = party(add, "Acme"), party(add, "Akme")
    for one in (acme, same_phone):
        add(ContactPoint, party=one, type="email", value="office@acme.example")
    see = {"party.party": {"view": "all"}}
    assert [d.party for d in duplicates(as_role(see), acme)] == [same_phone]
    assert duplicates(as_role(see, classes=("public", "internal")), acme) == []
    assert duplicates(as_role({"party.party": {"view": "own"}}), acme) == []


def test_PTY_1_there_is_one_main_contact_of_a_type(add):
    acme = party(add)
    first = add(ContactPoint, party=acme, type="email", value="a@acme.example", is_primary=True)
    phone = add(ContactPoint, party=acme, type="phone", value="226959000", is_primary=True)
    second = add(ContactPoint, party=acme, type="email", value="b@acme.example", is_primary=True)
    main = ContactPoint.objects.filter(party=acme, is_primary=True)
    assert set(main) == {phone, second} and first not in main


# --- PTY-2 ---------------------------------------------------------------------------------------------------------

INSERT_NIP = """
INSERT INTO party_taxid (id, created_at, updated_at, version, party_id, country, type, value, is_branch)
VALUES (gen_random_uuid(), now(), now(), 1, %s, 'PL', 'nip', %s, true)
"""


@in_one_tenant
@given(st.one_of(st.from_regex(r"\A[0-9]{9,11}\Z"), st.from_regex(r"\A[0-9]{9}\Z").map(lambda t: t + check_digit(t))))
def test_PTY_2_form_and_database_agree_on_every_nip(tenant, text):
    with changing(SYSTEM, "test"):
        acme, _made = Party.objects.get_or_create(name="Acme")
    try:
        sql(INSERT_NIP, acme.pk, text)
        taken = True
    except IntegrityError as error:
        assert "tax_id_is_valid" in str(error) or error.__cause__.diag.constraint_name == "tax_id_is_valid"
        taken = False
    assert taken is nip.is_valid(text)


def check_digit(text: str) -> str:
    return str(sum(w * int(d) for w, d in zip((6, 5, 7, 2, 3, 4, 5, 6, 7), text, strict=True)) % 11 % 10)


def test_PTY_2_a_nip_is_kept_compact_and_one_live_party_has_it(add, actor):
    acme, akme = party(add), party(add)
    assert add(TaxId, party=acme, type="nip", value="526-025-09-95").value == NIP
    with pytest.raises(Refused, match="Another party has this number"):
        add(TaxId, party=akme, type="nip", value=NIP)
    branch = add(TaxId, party=akme, type="nip", value=NIP, is_branch=True)
    with pytest.raises(Refused, match="Another party has this number"):
        gate.perform(actor, branch, "change", {"is_branch": False})
    with pytest.raises(Refused, match="check its digits"):
        add(TaxId, party=acme, type="nip", value="5260250996")
    assert not [o for o in gate.Many(actor, TaxId).add([{"party": akme.pk, "type": "nip", "value": NIP}]) if o.ok]


def test_PTY_2_an_archived_party_frees_its_number_and_takes_it_back_only_if_it_is_free(add, actor):
    acme, akme = party(add), party(add)
    add(TaxId, party=acme, type="nip", value=NIP)
    acme = gate.perform(actor, acme, "archive")
    taken = add(TaxId, party=akme, type="nip", value=NIP)
    with pytest.raises(Refused, match="Another party has this number"):
        gate.perform(actor, acme, "activate")
    assert Party.objects.get(pk=acme.pk).state == "archived"
    gate.perform(actor, taken, "delete")
    assert gate.perform(actor, acme, "activate").state == "active"
    assert TaxId.objects.get(party=acme).live


def test_PTY_2_who_brings_a_number_waits_for_who_wakes_its_party(add, actor, tenant):
    """Two transactions at once: a party comes back while a number is added to it; the number counts as in use."""
    acme = gate.perform(actor, party(add), "archive")
    began = threading.Event()

    def bring():
        with tenant_context(tenant):
            try:
                with changing(SYSTEM, "test"), connection.cursor() as cursor:
                    began.set()
                    cursor.execute(INSERT_NIP.replace("true", "false"), [acme.pk, NIP])
            finally:
                connection.close()

    thread = threading.Thread(target=bring)
    with changing(SYSTEM, "test"):
        Party.objects.filter(pk=acme.pk).update(state="active")
        thread.start()
        began.wait(5)
        thread.join(0.3)
    thread.join(5)
    assert TaxId.objects.get().live


# --- PTY-3 ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stages(add):
    pipeline = add(Pipeline, name="Sales")
    for position, (name, kind, probability) in enumerate(
        [("New", "open", 10), ("Won", "won", 100), ("Lost", "lost", 0)]
    ):
        add(Stage, pipeline=pipeline, name=name, kind=kind, probability=probability, position=position)
    return pipeline


def fill(add, actor, one, other):
    """Something of every kind that points to ``one``; of some of it ``other`` has the same."""
    for value in ("office@acme.example", f"only-{one.pk}@acme.example"):
        add(ContactPoint, party=one, type="email", value=value)
    add(Address, party=one, line1="Prosta 1", city="Warszawa")
    add(TaxId, party=one, type="nip", value=NIP, is_branch=True)
    add(BankAccount, party=one, iban=IBAN)
    add(Relation, party=one, other=other, type="partner_of")
    add(Relation, party=other, other=one, type="referred_by")
    add(Consent, party=one, state="given", source="trade fair")
    party(add, parent=one)
    add(Activity, party=one, subject="A call")
    deal = add(Deal, party=one, title="Open", amount="10")
    won = gate.perform(actor, add(Deal, party=one, title="Won", amount="20"), "win")
    return deal, won


def pointing():
    """Every reference of every business object to a party: {(object, field, key): party}."""
    return {
        (model._meta.label, field.name, key): to
        for model, field in references(Party)
        for key, to in model.objects.values_list("pk", field.attname)
        if to is not None
    }


def test_PTY_3_a_merge_keeps_every_child_and_separating_restores_all(add, actor, stages):
    keep, other = party(add, "Acme"), party(add, "Akme")
    fill(add, actor, keep, other), fill(add, actor, other, keep)
    before = pointing()
    assert {key[0] for key in before} >= {
        "party.ContactPoint", "party.Address", "party.TaxId", "party.BankAccount", "party.Relation", "party.Consent", "party.Party",
        "planning.Activity", "sales.Deal",
    }  # fmt: skip
    merged = gate.perform(actor, other, "merge", {"merged_into": keep.pk})
    after = pointing()
    assert (merged.state, merged.merged_into_id) == ("archived", keep.pk)
    assert after.keys() == before.keys(), "Nothing is lost."
    stayed = {key[:2] for key, to in after.items() if to == other.pk}
    assert stayed == {
        ("party.ContactPoint", "party"),
        ("party.BankAccount", "party"),
        ("party.Relation", "party"),
        ("party.Relation", "other"),
    }
    assert Deal.objects.filter(party=keep).count() == 4 and Deal.objects.filter(party=keep, state="won").count() == 2
    separated = gate.perform(actor, merged, "unmerge")
    assert (separated.state, separated.merged_into_id) == ("active", None)
    assert pointing() == before
    for model in (Deal, Activity, Consent, Address):
        assert set(model.objects.filter(party=keep)).isdisjoint(model.objects.filter(party=other))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_PTY_3_a_chain_of_merges_comes_apart_in_any_order(add, actor, stages, order):
    first, second, third = party(add), party(add), party(add)
    for one in (first, second, third):
        add(Address, party=one, line1=one.name, city="Warszawa")
        add(Deal, party=one, title=one.name, amount="1")
    before = pointing()
    merged = [
        gate.perform(actor, first, "merge", {"merged_into": second.pk}),
        gate.perform(actor, second, "merge", {"merged_into": third.pk}),
    ]
    assert set(pointing().values()) == {third.pk}, "Every reference resolves to the last."
    for index in order:
        gate.perform(actor, merged[index], "unmerge")
    assert pointing() == before


def test_PTY_3_what_was_given_away_after_the_merge_stays_there(add, actor):
    keep, other, third = party(add), party(add), party(add)
    moved = add(Activity, party=other, subject="A call")
    merged = gate.perform(actor, other, "merge", {"merged_into": keep.pk})
    gate.perform(actor, moved, "change", {"party": third.pk})
    gate.perform(actor, merged, "unmerge")
    assert Activity.objects.get().party == third


def test_PTY_3_what_can_not_be_merged_says_why(add, actor, as_role):
    acme, anna, other = party(add, "Acme"), party(add, "Anna Nowak", kind="person"), party(add)
    with pytest.raises(Refused, match="not the same"):
        gate.perform(actor, acme, "merge", {"merged_into": anna.pk})
    for wrong in ({}, {"merged_into": acme.pk}):
        with pytest.raises(Refused) as refused:
            gate.perform(actor, acme, "merge", wrong)
        assert "merged_into" in refused.value.fields
    with pytest.raises(Refused, match="was not merged"):
        gate.perform(actor, gate.perform(actor, acme, "archive"), "unmerge")
    gate.perform(actor, acme, "activate")
    merged = gate.perform(actor, other, "merge", {"merged_into": acme.pk})
    with pytest.raises(Refused, match="Separate them first"):
        gate.perform(actor, merged, "activate")
    with pytest.raises(Refused):
        gate.perform(actor, acme, "merge", {"merged_into": merged.pk})
    reader = as_role({"party.party": {"view": "all", "merge": "own"}})
    with pytest.raises(NotAllowed):
        gate.perform(reader, acme, "merge", {"merged_into": anna.pk})


def test_PTY_3_the_journal_tells_of_every_row_that_a_merge_moved(add, actor, stages):
    from ostoja.journal.models import Change

    keep, other = party(add), party(add)
    fill(add, actor, other, keep)
    last = Change.objects.order_by("-id").first().pk
    gate.perform(actor, other, "merge", {"merged_into": keep.pk})
    told = Change.objects.filter(id__gt=last)
    assert {c.verb for c in told} == {"merge"} and {c.actor for c in told} == {actor.key}
    assert {c.model for c in told} >= {"party.address", "sales.deal", "planning.activity", "party.consent"}
    for change in told.filter(model="sales.deal"):
        assert change.old == {"party_id": str(other.pk)}


# --- PTY-4 ---------------------------------------------------------------------------------------------------------

SAID = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(Consent.Channel.values), st.sampled_from(Consent.State.values)),
    max_size=6,
)


@in_one_tenant
@given(SAID)
def test_PTY_4_the_latest_word_for_purpose_and_channel_counts(tenant, said):
    start = timezone.now() - timedelta(days=10)
    with changing(SYSTEM, "test"):
        acme = Party.objects.create(name="Acme")
        for day, channel, state in said:
            Consent.objects.create(
                party=acme, channel=channel, state=state, at=start + timedelta(days=day), source="a form"
            )
    for channel in Consent.Channel.values:
        for day in range(6):
            words = [(d, i, s) for i, (d, c, s) in enumerate(said) if c == channel and d <= day]
            expected = bool(words) and max(words)[2] == "given"
            assert Consent.holds(acme, "marketing", channel, at=start + timedelta(days=day, hours=1)) is expected
            assert not Consent.holds(acme, "profiling", channel)


def test_PTY_4_a_consent_is_evidence_for_everyone(add, actor):
    consent = add(Consent, party=party(add), state="given", source="trade fair")
    for attack in (
        lambda: gate.perform(actor, consent, "change", {"state": "withdrawn"}),
        lambda: gate.perform(actor, consent, "delete"),
    ):
        with pytest.raises(NotAllowed, match="Add what was said later"):
            attack()
    for attack in (
        lambda: Consent.objects.update(state="withdrawn"),
        lambda: Consent.objects.all().delete(),
        lambda: sql("UPDATE party_consent SET at = at - interval '1 day'"),
        lambda: sql("UPDATE party_consent SET party_id = %s", party(add).pk),
        lambda: sql("DELETE FROM party_consent"),
    ):
        with pytest.raises(IntegrityError), changing(SYSTEM, "test"), transaction.atomic():
            attack()


# --- numbers and circles -------------------------------------------------------------------------------------------


def test_every_way_in_gives_a_number_and_passes_over_those_that_were_brought(add, actor):
    party(add, number="P-000002")
    first = party(add)
    many = [o.record for o in gate.Many(actor, Party).add([{"name": "A"}, {"name": "B"}])]
    numbers = list(Party.objects.order_by("number").values_list("number", flat=True))
    assert numbers == ["P-000001", "P-000002", "P-000003", "P-000004"]
    assert first.number == "P-000001" and {m.number for m in many} == {"P-000003", "P-000004"}


def test_a_circle_of_subsidiaries_is_refused_by_the_form_and_by_the_database(add, actor):
    top = party(add)
    middle = party(add, parent=top)
    bottom = party(add, parent=middle)
    with pytest.raises(Refused, match="subsidiary of itself"):
        gate.perform(actor, top, "change", {"parent": bottom.pk})
    with pytest.raises(IntegrityError):
        sql("UPDATE party_party SET parent_id = %s WHERE id = %s", bottom.pk, top.pk)


# --- K-8 -----------------------------------------------------------------------------------------------------------


def test_K_8_parts_of_a_party_are_seen_exactly_when_the_party_is(add, as_role, actor, stages):
    mine_only = as_role({"party.party": {"view": "own"}})
    mine, theirs = party(add, owner=mine_only.user_id), party(add)
    fill(add, actor, mine, party(add)), fill(add, actor, theirs, party(add))
    parts = [e for e in registry.entries() if e.parent is registry.of(Party)]
    assert len(parts) >= 6
    for part in parts:
        seen = set(visible(mine_only, part.model).values_list("party", flat=True))
        assert (
            seen <= {mine.pk}
            and visible(mine_only, part.model).count() == part.model.objects.filter(party=mine).count()
        )
    for stranger in TaxId.objects.filter(party=theirs):
        with pytest.raises(NotFound):
            gate.perform(mine_only, stranger, "change", {"is_branch": False})
