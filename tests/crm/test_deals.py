"""What is true of every deal, whoever changes it and however (CRM-2 to CRM-5, K-7)."""

import threading
from decimal import ROUND_HALF_UP, Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ostoja import gate
from ostoja.crm.sales.figures import standing_still, weighted
from ostoja.crm.sales.models import Deal, DealLine, Pipeline, Stage, StageChange
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context

SYSTEM = Actor.system("Test")
CENT = Decimal("0.01")
EDGES = {("open", "won"), ("open", "lost"), ("won", "open"), ("lost", "open")}
many = settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

money = st.decimals(0, 100_000, places=2)
line = st.fixed_dictionaries(
    {
        "quantity": st.decimals(Decimal("0.000001"), 1000, places=6),
        "price": st.decimals(0, 1000, places=8),
        "discount": st.decimals(0, 100, places=2),
    }
)


def net(row) -> Decimal:
    """A line's net: rounded first, half up."""
    exact = row["quantity"] * row["price"] * (1 - row["discount"] / 100)
    return exact.quantize(CENT, ROUND_HALF_UP)


def raw(statement, *params):
    """One statement of somebody who goes around every form; the number of rows that it changed."""
    with changing(SYSTEM, "sql"), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.rowcount


INSERT_LINE = """
INSERT INTO sales_dealline (id, created_at, updated_at, version, deal_id, position, description, quantity, price, discount, net)
VALUES (gen_random_uuid(), now(), now(), 1, %s, 0, '', %s, %s, %s, 999)
"""


@many
@given(rows=st.lists(line, min_size=1, max_size=4), more=line)
def test_CRM_2_the_amount_is_the_sum_of_rounded_lines(pipeline, actor, rows, more):
    expected = sum(map(net, rows))
    given_rows = [{k: str(v) for k, v in row.items()} for row in rows]
    alone = gate.perform(actor, Deal, "add", {"title": "x", "amount": "7", "lines": given_rows})
    assert alone.amount == expected == alone.lines.aggregate(s=Sum("net"))["s"]
    [outcome] = gate.Many(actor, Deal).add([{"title": "x", "lines": given_rows}])
    together = Deal.objects.get(pk=outcome.record.pk)
    assert together.amount == expected
    raw(INSERT_LINE, alone.pk, more["quantity"], more["price"], more["discount"])
    alone.refresh_from_db()
    assert alone.amount == expected + net(more)
    raw("UPDATE sales_dealline SET deal_id = %s WHERE deal_id = %s AND net = %s", together.pk, alone.pk, net(more))
    for deal in Deal.objects.filter(lines__isnull=False).distinct():
        assert deal.amount == deal.lines.aggregate(s=Sum("net"))["s"]
    with changing(SYSTEM, "test"):
        DealLine.objects.all().delete()


def test_CRM_2_no_other_amount_can_be_typed(pipeline, actor):
    deal = gate.perform(actor, Deal, "add", {"title": "x", "lines": [{"price": "10"}]})
    with pytest.raises(Refused, match="sum of its lines"):
        gate.perform(actor, deal, "change", {"amount": "11"})
    with pytest.raises(IntegrityError):
        raw("UPDATE sales_deal SET amount = 11")
    assert gate.perform(actor, deal, "change", {"lines": []}).amount == 10, "Without lines it keeps what it had."
    assert gate.perform(actor, deal, "change", {"amount": "11"}).amount == 11


def test_CRM_2_lines_added_at_once_are_all_counted(pipeline, actor, tenant):
    deal = gate.perform(actor, Deal, "add", {"title": "x"})
    told = at_once(
        tenant,
        *[lambda: gate.perform(actor, DealLine, "add", {"deal": deal.pk, "price": "1"}) for _ in range(3)],
        *[lambda: gate.perform(actor, deal, "change", {"source": "fair"})],
        *[lambda: raw(INSERT_LINE, deal.pk, 1, 1, 0) for _ in range(3)],
    )
    assert told == []
    deal.refresh_from_db()
    assert deal.amount == deal.lines.count() == 6


def test_CRM_2_editing_a_line_and_its_deal_at_once_stops_nobody(pipeline, actor, tenant):
    deal = gate.perform(actor, Deal, "add", {"title": "x", "lines": [{"price": "1"}, {"price": "2"}]})
    first, second = deal.lines.all()

    def by_line(line):
        return lambda: [gate.perform(actor, line, "change", {"price": str(n)}) for n in range(1, 13)]

    def by_deal():
        for n in range(1, 13):
            rows = [{"id": str(first.pk), "price": str(100 + n)}, {"id": str(second.pk), "price": str(100 + n)}]
            gate.perform(actor, deal, "change", {"lines": rows})

    assert at_once(tenant, by_line(first), by_line(second), by_deal) == []
    deal.refresh_from_db()
    assert deal.amount == deal.lines.aggregate(s=Sum("net"))["s"]


def test_a_line_waits_for_who_is_winning_its_deal(pipeline, actor, tenant):
    deal = gate.perform(actor, Deal, "add", {"title": "x", "amount": "5"})
    told = []
    with changing(SYSTEM, "test"):
        Deal.objects.update(state="won")
        late = threading.Thread(target=lambda: told.extend(at_once(tenant, lambda: raw(INSERT_LINE, deal.pk, 1, 5, 0))))
        late.start()
        late.join(0.3)
    late.join(10)
    assert len(told) == 1 and "frozen" in told[0] and not deal.lines.exists()


def test_a_line_can_not_be_moved_into_a_won_deal(pipeline, actor):
    won = gate.perform(actor, gate.perform(actor, Deal, "add", {"title": "x", "lines": [{"price": "5"}]}), "win")
    free = gate.perform(actor, Deal, "add", {"title": "y", "lines": [{"price": "0"}]})
    with pytest.raises(IntegrityError, match="frozen"):
        raw("UPDATE sales_dealline SET deal_id = %s WHERE deal_id = %s", won.pk, free.pk)
    with pytest.raises(IntegrityError, match="frozen"):
        raw("UPDATE sales_dealline SET deal_id = %s WHERE deal_id = %s", free.pk, won.pk)


def at_once(tenant, *acts) -> list[str]:
    """Each act in a thread and a connection of its own, begun together; what went wrong."""
    told, ready = [], threading.Barrier(len(acts))

    def run(act):
        with tenant_context(tenant):
            try:
                ready.wait(10)
                act()
            except Exception as error:
                told.append(f"{type(error).__name__}: {error}")
            finally:
                connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return told


def test_CRM_3_closed_at_is_there_when_it_is_won_or_lost_and_only_then(pipeline, actor, reason):
    deal = gate.perform(actor, Deal, "add", {"title": "x", "amount": "1"})
    assert deal.closed_at is None
    for verb, data in [("win", {}), ("reopen", {"reopened_because": "y"}), ("lose", {"lost_reason": reason.pk})]:
        deal = gate.perform(actor, deal, verb, data)
        assert (deal.closed_at is None) is (deal.state == "open")
        assert (deal.lost_reason is None) is (deal.state != "lost")
    raw("UPDATE sales_deal SET state = 'open', closed_at = now()")
    assert Deal.objects.get().closed_at is None
    raw("UPDATE sales_deal SET state = 'lost', closed_at = NULL")
    assert Deal.objects.get().closed_at is not None
    raw("UPDATE sales_deal SET closed_at = NULL")
    assert Deal.objects.get().closed_at is not None


def test_CRM_4_a_stage_that_is_left_was_entered_and_the_first_begins_with_the_deal(pipeline, actor):
    deal = gate.perform(actor, Deal, "add", {"title": "x", "amount": "1"})
    engaging = pipeline.stages.get(name="Engaging")
    gate.perform(actor, deal, "change", {"stage": engaging.pk})
    gate.perform(actor, deal, "win")
    steps = list(StageChange.objects.order_by("entered_at"))
    assert [(s.from_stage and s.from_stage.name, s.stage.name) for s in steps] == [
        (None, "Prospecting"),
        ("Prospecting", "Engaging"),
        ("Engaging", "Won"),
    ]
    assert steps[0].entered_at == deal.created_at and {s.actor for s in steps} == {actor.key}
    with pytest.raises(Exception, match="nobody changes them"):
        gate.perform(actor, steps[0], "delete")


@many
@given(st.lists(st.tuples(st.sampled_from(["Prospecting", "Engaging", "Won", "Lost"]), money), max_size=6))
def test_CRM_5_the_weighted_forecast_counts_won_in_full_and_lost_as_nothing(pipeline, actor, deals):
    stages = {s.name: s for s in pipeline.stages.all()}
    deals = [(name, amount + (amount == 0)) for name, amount in deals]
    rows = [{"title": "x", "stage": stages[name].pk, "amount": str(amount), "source": "this"} for name, amount in deals]
    made = [o.record.pk for o in gate.Many(actor, Deal, history=True).add(rows)]
    share = {"Prospecting": Decimal("0.10"), "Engaging": Decimal("0.40"), "Won": Decimal(1), "Lost": Decimal(0)}
    expected = sum((amount * share[name] for name, amount in deals), Decimal(0))
    figures = weighted(Deal.objects.filter(pk__in=made))
    assert figures == ({"PLN": expected.quantize(CENT, ROUND_HALF_UP)} if deals else {})


def test_deals_that_stand_longer_than_their_stage_allows_are_stale(pipeline, actor):
    engaging = pipeline.stages.get(name="Engaging")
    gate.perform(actor, engaging, "change", {"max_age": "14"})
    old, fresh, elsewhere = (gate.perform(actor, Deal, "add", {"title": t, "amount": "1"}) for t in "abc")
    for deal in (old, fresh):
        gate.perform(actor, deal, "change", {"stage": engaging.pk})
    raw(
        "UPDATE sales_stagechange SET entered_at = entered_at - interval '15 days' WHERE deal_id = %s AND left_at IS NULL",
        old.pk,
    )
    assert list(standing_still(Deal.objects.all())) == [old]
    gate.perform(actor, old, "win")
    assert not standing_still(Deal.objects.all()).exists()


def test_K_7_no_order_of_commands_leaves_the_table_of_states(pipeline, actor, reason):
    other = gate.perform(actor, Pipeline, "add", {"name": "Other"})
    for name, kind, probability in [("One", "open", 50), ("Two", "won", 100), ("Three", "lost", 0)]:
        values = {"name": name, "kind": kind, "probability": probability}
        gate.perform(actor, Stage, "add", {"pipeline": other.pk, **values})
    stages = list(Stage.objects.order_by("pipeline__name", "position", "name"))

    class Machine(RuleBasedStateMachine):
        """One deal, changed through the gate and around it."""

        def __init__(self):
            super().__init__()
            self.deal = gate.perform(actor, Deal, "add", {"title": "x", "amount": "5"})
            self.was = "open"

        def attempt(self, act):
            try:
                with transaction.atomic():
                    act()
            except (Refused, IntegrityError):
                self.refused = True
            now = Deal.objects.get(pk=self.deal.pk)
            assert now.state == self.was or (self.was, now.state) in EDGES
            self.was, self.deal = now.state, now

        @rule(verb=st.sampled_from(["win", "lose", "reopen"]), said=st.booleans())
        def verb(self, verb, said):
            asked = {"lose": {"lost_reason": reason.pk}, "reopen": {"reopened_because": "they called"}}
            self.attempt(lambda: gate.perform(actor, self.deal, verb, asked.get(verb, {}) if said else {}))

        @rule(stage=st.sampled_from(stages))
        def move(self, stage):
            self.attempt(lambda: gate.perform(actor, self.deal, "change", {"stage": stage.pk}))

        @rule(stage=st.sampled_from(stages))
        def move_around_the_gate(self, stage):
            self.attempt(lambda: raw("UPDATE sales_deal SET stage_id = %s WHERE id = %s", stage.pk, self.deal.pk))

        @rule(state=st.sampled_from(["open", "won", "lost", "gone"]))
        def set_state_around_the_gate(self, state):
            self.attempt(lambda: raw("UPDATE sales_deal SET state = %s WHERE id = %s", state, self.deal.pk))

        @rule(state=st.sampled_from(["open", "won", "lost"]), stage=st.sampled_from(stages))
        def set_both_around_the_gate(self, state, stage):
            statement = "UPDATE sales_deal SET state = %s, stage_id = %s WHERE id = %s"
            self.attempt(lambda: raw(statement, state, stage.pk, self.deal.pk))

        @rule(price=st.sampled_from(["0", "0.005", "10"]))
        def add_a_line(self, price):
            self.attempt(lambda: gate.perform(actor, DealLine, "add", {"deal": self.deal.pk, "price": price}))

        @rule()
        def add_a_line_around_the_gate(self):
            self.attempt(lambda: raw(INSERT_LINE, self.deal.pk, 3, "0.335", 0))

        @precondition(lambda self: self.was != "won")
        @rule()
        def drop_the_lines(self):
            self.attempt(lambda: gate.perform(actor, self.deal, "change", {"lines": []}))

        @rule(amount=st.sampled_from(["0", "3.33"]))
        def type_an_amount(self, amount):
            self.attempt(lambda: gate.perform(actor, self.deal, "change", {"amount": amount}))

        @invariant()
        def state_and_stage_are_one(self):
            deal = Deal.objects.select_related("stage").get(pk=self.deal.pk)
            assert deal.state == deal.stage.kind and deal.pipeline_id == deal.stage.pipeline_id
            assert (deal.closed_at is None) is (deal.state == "open")
            assert deal.state != "won" or deal.amount > 0
            total = deal.lines.aggregate(s=Sum("net"))["s"]
            assert total is None or total == deal.amount

        @invariant()
        def the_history_of_stages_has_no_gap(self):
            steps = list(StageChange.objects.filter(deal=self.deal.pk).order_by("entered_at", "id"))
            deal = Deal.objects.get(pk=self.deal.pk)
            assert steps[0].entered_at == deal.created_at and steps[0].from_stage_id is None
            assert [s.left_at for s in steps] == [s.entered_at for s in steps[1:]] + [None]
            assert [s.from_stage_id for s in steps[1:]] == [s.stage_id for s in steps[:-1]]
            assert steps[-1].stage_id == deal.stage_id

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=40, stateful_step_count=15, deadline=None, derandomize=True)
    )
