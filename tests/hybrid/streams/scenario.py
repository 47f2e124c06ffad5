"""What two sites do in a recorded conversation: acts by name, told in an order. Recordings name them, so an act never changes; add others."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import connection, transaction

from ostoja.crm.sales.models import Deal, DealLine, Pipeline, Stage
from ostoja.gate import perform
from ostoja.hybrid import labels
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context

ACTOR = Actor.system("Recording")
SEEN = {
    "sales.deal": (Deal, ("title", "source", "amount", "currency", "party_id", "stage_id", "state")),
    "sales.dealline": (DealLine, ("deal_id", "description", "quantity", "price", "net")),
    "sales.stage": (Stage, ("name", "kind", "probability")),
    "party.party": (Party, ("name", "city")),
}


def key(number: int) -> UUID:
    """A key that is the same in every recording and replay."""
    return UUID(f"019a0000-0000-7000-8000-{number:012x}")


def add(model: type, number: int, **values) -> None:
    """A new record under a known key."""
    with changing(ACTOR, "add"), transaction.atomic():
        model(pk=key(number), **values).save(force_insert=True)


def change(model: type, number: int, **values) -> None:
    """New values of a record."""
    perform(ACTOR, model.objects.get(pk=key(number)), "change", values)


def delete(model: type, number: int) -> None:
    """A record goes."""
    perform(ACTOR, model.objects.get(pk=key(number)), "delete")


def first_things() -> None:
    add(Pipeline, 1, name="Sales", position=0)
    for number, name, kind, percent in ((2, "Talk", "open", 10), (3, "Won", "won", 100), (4, "Lost", "lost", 0)):
        add(Stage, number, pipeline_id=key(1), name=name, kind=kind, position=number, probability=percent)
    add(Party, 5, kind="org", name="Acme", is_customer=True)
    for number, title in ((10, "Hundred chairs"), (11, "Tables"), (12, "Lamps"), (13, "Carpets")):
        add(
            Deal,
            number,
            title=title,
            party_id=key(5),
            pipeline_id=key(1),
            stage_id=key(2),
            amount="100.00",
            currency="PLN",
        )
    add(DealLine, 20, deal_id=key(11), description="Table, oak", quantity="3", price="450.00")


def other_fields_here() -> None:
    change(Deal, 10, title="Two hundred chairs")


def other_fields_there() -> None:
    change(Deal, 10, source="Fair")


def same_field_here() -> None:
    change(Deal, 10, title="From the premises")


def same_field_there() -> None:
    change(Deal, 10, title="Z chmury: „krzesła” 🪑")


def new_in_the_cloud() -> None:
    add(Deal, 14, title="Made in the cloud", party_id=key(5), pipeline_id=key(1), stage_id=key(2), amount="7.50", currency="PLN")  # fmt: skip
    add(DealLine, 21, deal_id=key(11), description="Chair, beech", quantity="12", price="99.90")


def new_on_the_premises() -> None:
    add(Party, 6, kind="person", name="Zofia Żółć", city="Łódź", notes="Stays here")
    add(Deal, 15, title="Made on the premises", party_id=key(6), pipeline_id=key(1), stage_id=key(2), amount="1.00", currency="PLN")  # fmt: skip


def priced_here() -> None:
    change(DealLine, 20, quantity="4", price="400.00")


def marked() -> None:
    labels.close(ACTOR, Deal.objects.get(pk=key(12)))


def changed_while_marked() -> None:
    change(Deal, 12, title="Lamps, quietly")
    change(Deal, 12, title="Lamps, opened again")


def opened() -> None:
    labels.reopen(ACTOR, Deal.objects.get(pk=key(12)))


def deleted_here() -> None:
    delete(Deal, 13)


def deleted_there() -> None:
    delete(DealLine, 21)


def won_here() -> None:
    perform(ACTOR, Deal.objects.get(pk=key(14)), "win")


ACTS: dict[str, Callable[[], None]] = {
    act.__name__: act
    for act in (
        first_things, other_fields_here, other_fields_there, same_field_here, same_field_there, new_in_the_cloud,
        new_on_the_premises, priced_here, marked, changed_while_marked, opened, deleted_here, deleted_there, won_here,
    )
}  # fmt: skip

# Before anything is loaded; then rounds of acts, after each of which both talk until they are at rest.
BEFORE = ("first_things",)
ROUNDS = (
    (("premises", "other_fields_here"), ("cloud", "other_fields_there")),
    (("premises", "same_field_here"), ("cloud", "same_field_there")),
    (("cloud", "new_in_the_cloud"), ("premises", "new_on_the_premises")),
    (("premises", "priced_here"), ("premises", "marked")),
    (("premises", "changed_while_marked"), ("cloud", "deleted_there")),
    (("premises", "opened"), ("premises", "deleted_here"), ("premises", "won_here")),
)

# What must have come of it on both sides, said by hand and not by the recording.
TOLD = {
    ("sales.deal", 10, "title"): "Z chmury: „krzesła” 🪑",
    ("sales.deal", 10, "source"): "Fair",
    ("sales.deal", 12, "title"): "Lamps, opened again",
    ("sales.deal", 14, "state"): "won",
    ("sales.deal", 15, "title"): "Made on the premises",
    ("sales.dealline", 20, "net"): "1600.00",
    ("party.party", 6, "city"): "Łódź",
}
GONE = (("sales.deal", 13), ("sales.dealline", 21))
NEVER_LEAVES = ("Stays here", "Lamps, quietly")


def act(tenant, name: str) -> None:
    """One act at one site."""
    with tenant_context(tenant):
        ACTS[name]()


def seen(tenant) -> dict[str, dict[str, dict[str, str]]]:
    """What a site holds of the things that the acts are about: {model: {key: {field: text}}}."""
    found = {}
    with tenant_context(tenant), connection.cursor() as cursor:
        for label, (model, names) in SEEN.items():
            columns = ", ".join(f'"{name}"::text' for name in names)
            cursor.execute(f'SELECT id::text, {columns} FROM "{model._meta.db_table}" ORDER BY id')
            found[label] = {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}
    return found
