"""Lists: fields, filters, search, sort and cursors answer what was asked, or name what is wrong."""

import base64
import datetime
import json

import pytest

from ostoja.access.models import Department
from ostoja.gate import perform

from .answers import at, items, names, problem


def test_a_list_says_what_every_record_may_show(api, departments):
    page = api.get(at("departments")).json()
    assert set(page) == {"items", "next"} and page["next"] is None
    one = next(i for i in page["items"] if i["name"] == "Warsaw")
    assert set(one) == {"id", "name", "parent", "created_at", "updated_at", "version"}
    assert one["parent"] == {"id": str(departments["Sales"].pk), "label": "Sales"}
    assert datetime.datetime.fromisoformat(one["created_at"]).utcoffset() == datetime.timedelta(0)


def test_a_slash_at_the_end_makes_no_difference(api, departments):
    key = departments["Sales"].pk
    for path in ("departments", f"departments/{key}", f"departments/{key}/history", "departments/aggregate", "me"):
        assert api.get(at(path)).json() == api.get(at(path) + "/").json()


def test_only_the_fields_that_are_asked_for_and_the_id(api, departments):
    assert set(items(api.get(at("departments", fields="name")))[0]) == {"id", "name"}
    assert list(items(api.get(at("departments", fields="parent,id")))[0]) == ["parent", "id"]
    assert "nonsense" in problem(api.get(at("departments", fields="name,nonsense")), 400, "unknown_field")["errors"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "Sales"}, ["Sales"]),
        ({"name": ["Sales", "Stores"]}, ["Sales", "Stores"]),
        ({"name__in": "Sales,Stores"}, ["Sales", "Stores"]),
        ({"name__not": "Sales"}, ["Gdańsk", "Stores", "Warsaw"]),
        ({"name__contains": "gDAŃ"}, ["Gdańsk"]),
        ({"name__contains": "%"}, []),
        ({"name__contains": "_"}, []),
        ({"name__contains": "\\"}, []),
        ({"name__gte": "Sales", "name__lt": "Stores"}, ["Sales"]),
        ({"parent__isnull": "true"}, ["Sales", "Stores"]),
        ({"parent__isnull": "false"}, ["Gdańsk", "Warsaw"]),
        ({"parent__name": "Sales"}, ["Gdańsk", "Warsaw"]),
        ({"parent__name__contains": "sal"}, ["Gdańsk", "Warsaw"]),
        ({"parent__name__not": "Sales"}, ["Sales", "Stores"]),
        ({"version": "1"}, ["Gdańsk", "Sales", "Stores", "Warsaw"]),
        ({"version__gt": "1"}, []),
        ({"created_at__lt": "2000-01-01"}, []),
        ({"created_at__gt": "2000-01-01T00:00:00+02:00"}, ["Gdańsk", "Sales", "Stores", "Warsaw"]),
        ({"search": "war"}, ["Warsaw"]),
        ({"search": "war zzz"}, []),
        ({"search": "   "}, ["Gdańsk", "Sales", "Stores", "Warsaw"]),
    ],
)
def test_filters(api, departments, query, found):
    assert names(api.get(at("departments", sort="name", **query))) == found


def test_a_relation_is_filtered_by_id_and_an_unknown_one_finds_nothing(api, departments):
    assert names(api.get(at("departments", parent=departments["Sales"].pk, sort="name"))) == ["Gdańsk", "Warsaw"]
    assert names(api.get(at("departments", parent="01a20bae-7f87-7499-ab7e-534c13c8fc16"))) == []
    assert names(api.get(at("departments", parent__not=departments["Sales"].pk, sort="name"))) == ["Sales", "Stores"]


def test_search_needs_every_word_in_some_field(api, people):
    assert names(api.get(at("users", search="nowak", sort="name"))) == ["Ada Nowak", "Cyd Nowak"]
    assert names(api.get(at("users", search="nowak ada@"))) == ["Ada Nowak"]


def test_a_search_is_compiled_once_for_all_words(api, departments, actor):
    for name in ("100% steel", "A_B", "back\\slash", "ue000 \ue000a", "\ue000"):
        perform(actor, Department, "add", {"name": name})
    for text, found in (
        ("war", ["Warsaw"]), ("GDAŃ", ["Gdańsk"]), ("%", ["100% steel"]), ("_", ["A_B"]), ("\\", ["back\\slash"]),
        ("steel 100%", ["100% steel"]), ("a_", ["A_B"]), ("sa le", ["Sales"]), ("\ue000a", ["ue000 \ue000a"]),
        ("\ue000", ["ue000 \ue000a", "\ue000"]), ("le \ue000a", []), ("war war", ["Warsaw"]),
    ):  # fmt: skip
        assert names(api.get(at("departments", search=text, sort="name"))) == found, text
        page = api.get(at("departments", search=text, sort="name", count=1)).json()
        assert page["count"] == len(found), text


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"nonsense": "1"}, "nonsense"),
        ({"name__nonsense": "1"}, "name__nonsense"),
        ({"name__parent__name": "1"}, "name__parent__name"),
        ({"parent__nonsense": "1"}, "parent__nonsense"),
        ({"parent__parent__name": "1"}, "parent__parent__name"),
        ({"parent": "1"}, "parent"),
        ({"parent": "{01a20bae-7f87-7499-ab7e-534c13c8fc16}"}, "parent"),
        ({"parent__isnull": "perhaps"}, "parent__isnull"),
        ({"version": "9999999999999"}, "version"),
        ({"version": "1.5"}, "version"),
        ({"version": "１"}, "version"),
        ({"version__in": "1,x"}, "version__in"),
        ({"created_at__gt": "yesterday"}, "created_at__gt"),
        ({"created_at__gt": "2026-13-01"}, "created_at__gt"),
        ({"created_at__gt": "0001-01-01T00:00:00+14:00"}, "created_at__gt"),
        ({"name": "a\x00b"}, "name"),
        ({"search": "a\x00b"}, "search"),
        ({"search": "x" * 201}, "search"),
        ({"sort": "nonsense"}, "nonsense"),
        ({"sort": "name,-nonsense"}, "nonsense"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"count": "maybe"}, "count"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"id__in": ",".join(["01a20bae-7f87-7499-ab7e-534c13c8fc16"] * 501)}, "id__in"),
    ],
)
def test_what_can_not_be_understood_is_named(api, departments, query, named):
    assert named in problem(api.get(at("departments", **query)), 400)["errors"]


def test_a_column_of_secrets_is_no_field_in_any_place(api, owner):
    for query in ({"fields": "password"}, {"password": "x"}, {"password__contains": "argon"}, {"sort": "password"}):
        problem(api.get(at("users", **query)), 400, "unknown_field")
    problem(api.get(at("users/aggregate", group_by="password")), 400)
    assert b"argon2" not in api.get(at("users", owner.pk)).content + api.get(at("users")).content
    assert b"argon2" not in api.get(at("users", owner.pk, "history")).content


@pytest.mark.parametrize(
    "sort", ["name", "-name", "parent", "-parent", "parent,-name", "created_at", "-created_at,name", None]
)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_walk_yields_every_record_once_whatever_comes_between(api, departments, actor, sort, limit):
    for number in range(9):
        parent = departments[("Sales", "Stores", None)[number % 3]] if number % 3 < 2 else None
        perform(actor, Department, "add", {"name": f"Room {number}", "parent": parent})
    query = {"limit": limit} | ({"sort": sort} if sort else {})
    there = names(api.get(at("departments", **{**query, "limit": 500})), "id")
    assert len(there) == 13
    seen, cursor, rounds = [], None, 0
    while True:
        page = api.get(at("departments", **query, **({"cursor": cursor} if cursor else {}))).json()
        seen += [item["id"] for item in page["items"]]
        if rounds < 6:
            perform(actor, Department, "add", {"name": f"New {rounds}", "parent": departments["Sales"]})
        rounds += 1
        cursor = page["next"]
        if cursor is None or rounds > 60:
            break
    assert len(seen) == len(set(seen))
    assert [key for key in seen if key in there] == there


def test_a_cursor_is_of_its_list_alone(api, departments, people):
    cursor = api.get(at("departments", sort="name", limit=1)).json()["next"]
    assert names(api.get(at("departments", sort="name", limit=1, cursor=cursor))) == ["Sales"]
    for path, query in (
        ("departments", {"sort": "-name"}),
        ("departments", {"sort": "-id"}),
        ("users", {"sort": "name"}),
    ):
        problem(api.get(at(path, cursor=cursor, **query)), 400, "bad_cursor")


def test_a_forged_cursor_is_refused_or_harmless(api, departments):
    cursor = api.get(at("departments", sort="name", limit=1)).json()["next"]
    stamp, _name, key = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    for forged in (
        [stamp], [stamp, None, key], [stamp, 5, key], [stamp, "x", "no id"], [stamp, "a\x00", key], [stamp, {"a": 1}, key],
        {"a": 1}, 7, [stamp, "x", key, "more"],
    ):  # fmt: skip
        text = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode()
        problem(api.get(at("departments", sort="name", cursor=text)), 400, "bad_cursor")
    for text in ("=", "ż", "a" * 5000, "%00"):
        problem(api.get(at("departments", sort="name", cursor=text)), 400, "bad_cursor")


def test_the_next_page_is_linked(api, departments):
    response = api.get(at("departments", sort="name", limit=2))
    link = response["Link"]
    assert link.endswith('; rel="next"')
    assert names(api.get(link.partition(">")[0].lstrip("<"))) == ["Stores", "Warsaw"]
    assert "Link" not in api.get(at("departments"))


def test_counts(api, departments):
    for query in ({"count": "1"}, {"count": "exact"}):
        page = api.get(at("departments", limit=1, **query)).json()
        assert (page["count"], page["count_is_exact"]) == (4, True)
    assert api.get(at("departments", count="1", parent__isnull="true", limit=1)).json()["count"] == 2
    assert "count" not in api.get(at("departments")).json()


def test_count_stops_where_it_said(api, departments, monkeypatch):
    monkeypatch.setattr("ostoja.api.records.COUNTED", 3)
    page = api.get(at("departments", count="1")).json()
    assert (page["count"], page["count_is_exact"]) == (3, False)
    assert api.get(at("departments", count="exact")).json()["count"] == 4
