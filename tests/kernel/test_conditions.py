"""A Q is evaluated in Python as PostgreSQL would evaluate it, or not at all."""

from types import SimpleNamespace

import pytest
from django.db.models import F, Q

from ostoja.kernel.conditions import Unknown, holds


class Row:
    """A stand-in for a record: its fields are its attributes."""

    def __init__(self, **values):
        self.__dict__.update(values)
        self._meta = SimpleNamespace(get_field=lambda name: SimpleNamespace(attname=values and name))


@pytest.mark.parametrize(
    ("condition", "values", "result"),
    [
        (Q(state="won"), {"state": "won"}, True),
        (Q(state="won"), {"state": None}, None),
        (~Q(state="won"), {"state": None}, None),
        (~Q(state="won") | Q(amount__gt=0), {"state": "won", "amount": 0}, False),
        (~Q(state="won") | Q(amount__gt=0), {"state": "won", "amount": None}, None),
        (~Q(state="won") | Q(amount__gt=0), {"state": "open", "amount": None}, True),
        (Q(start__lte=F("end")), {"start": 2, "end": 1}, False),
        (Q(kind__in=["a", "b"]), {"kind": "c"}, False),
        (Q(closed__isnull=True), {"closed": None}, True),
        (Q(a=1) & Q(b=2), {"a": 1, "b": 3}, False),
    ],
)
def test_three_valued_logic(condition, values, result):
    assert holds(condition, Row(**values)) is result


def test_what_only_the_database_can_tell_is_unknown():
    with pytest.raises(Unknown):
        holds(Q(name__regex="^a"), Row(name="abc"))
