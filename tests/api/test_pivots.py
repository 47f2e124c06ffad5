"""Pivots: counts and sums by groups, with the list's filters, and nothing that the list would not show."""

from datetime import datetime

import pytest

from .answers import at, items, problem


def test_groups_and_counts(api, departments):
    found = items(api.get(at("departments/aggregate", group_by="parent")))
    assert found == [
        {"parent": {"id": str(departments["Sales"].pk), "label": "Sales"}, "count": 2},
        {"parent": None, "count": 2},
    ]
    assert items(api.get(at("departments/aggregate"))) == [{"count": 4}]
    assert items(api.get(at("departments/aggregate", parent__isnull="true"))) == [{"count": 2}]
    assert items(api.get(at("departments/aggregate", search="war"))) == [{"count": 1}]


def test_measures_and_spans(api, departments):
    [found] = items(api.get(at("departments/aggregate", measure="count,sum:version,avg:version,max:created_at")))
    assert (found["count"], found["sum:version"], found["avg:version"]) == (4, 4, "1.00")
    latest = max(datetime.fromisoformat(d["created_at"]) for d in items(api.get(at("departments"))))
    assert datetime.fromisoformat(found["max:created_at"]) == latest
    [month] = items(api.get(at("departments/aggregate", group_by="created_at:month")))
    assert month["created_at:month"].endswith("-01") and month["count"] == 4


def test_order_and_limit(api, people):
    by_size = items(api.get(at("users/aggregate", group_by="department", sort="-count")))
    assert [row["count"] for row in by_size] == [2, 1, 1]
    page = api.get(at("users/aggregate", group_by="department", sort="-count", limit=1)).json()
    assert page["truncated"] is True and len(page["items"]) == 1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"group_by": "nonsense"}, "group_by"),
        ({"group_by": "id"}, "group_by"),
        ({"group_by": "name:month"}, "group_by"),
        ({"group_by": "created_at:decade"}, "group_by"),
        ({"group_by": "name,parent,version,created_at,updated_at"}, "group_by"),
        ({"measure": "sum:name"}, "measure"),
        ({"measure": "sum:nonsense"}, "measure"),
        ({"measure": "count:name"}, "measure"),
        ({"measure": "median:version"}, "measure"),
        ({"sort": "name"}, "sort"),
        ({"limit": "0"}, "limit"),
        ({"nonsense": "1"}, "nonsense"),
        ({"fields": "name"}, "fields"),
    ],
)
def test_what_can_not_be_understood_is_named(api, departments, query, named):
    assert named in problem(api.get(at("departments/aggregate", **query)), 400)["errors"]
