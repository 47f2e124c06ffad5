"""Rights: what one may not see is absent from list, read, filter, search, sort, pivot, history and every answer."""

import pytest

from ostoja.testing.people import make_user

from .answers import at, items, names, problem

PEOPLE = {"view": "all", "change": "all"}


@pytest.fixture
def blind(as_role, api, people):
    """A program that sees people, but of them only what is public: no name, no e-mail."""
    return api.as_user(as_role({"access.user": PEOPLE, "access.department": {"view": "all"}}, classes=["public"]).user)


def test_a_hidden_field_is_absent_from_every_answer(blind, people):
    ada = people["Ada"].pk
    assert b"ada@" not in blind.get(at("users")).content
    assert set(items(blind.get(at("users")))[0]) == {"id"}
    assert "email" not in blind.get(at("users", ada)).json()
    event = blind.get(at("users", ada, "history")).json()["items"][0]
    assert event["fields"] == []
    changed = blind.patch(at("users", ada), {})
    assert changed.status_code == 200 and "email" not in changed.json()


@pytest.mark.parametrize(
    "query",
    [
        {"fields": "email"},
        {"email": "ada@example.com"},
        {"email__contains": "a"},
        {"email__isnull": "true"},
        {"sort": "email"},
        {"sort": "-name"},
        {"department__name": "Sales"},
    ],
)
def test_a_hidden_field_is_unknown_in_every_question(blind, query):
    said = problem(blind.get(at("users", **query)), 400, "unknown_field")
    unknown = problem(blind.get(at("users", nonsense="1")), 400, "unknown_field")
    assert said["title"] == unknown["title"]


def test_a_hidden_field_is_not_searched_summed_or_grouped_by(blind):
    assert items(blind.get(at("users", search="ada"))) == []
    problem(blind.get(at("users/aggregate", group_by="department")), 400, "unknown_field")
    problem(blind.get(at("users/aggregate", measure="max:email_confirmed_at")), 400, "unknown_field")
    assert items(blind.get(at("users/aggregate"))) == [{"count": 5}]


def test_a_hidden_field_can_not_be_written_and_the_refusal_does_not_tell_that_it_exists(blind, people):
    path = at("users", people["Ada"].pk)
    hidden = problem(blind.patch(path, {"email": "eve@example.com"}), 422)
    absent = problem(blind.patch(path, {"nonsense": "eve@example.com"}), 422)
    assert hidden["errors"]["email"] == absent["errors"]["nonsense"]


def test_rows_outside_of_the_scope_do_not_exist(api, as_role, people, departments):
    reader = as_role(
        {"access.user": {"view": "own", "change": "own"}, "access.department": {"view": "all"}},
        department=departments["Stores"],
    )
    program = api.as_user(reader.user)
    seen = {item["id"] for item in items(program.get(at("users")))}
    assert str(people["Ada"].pk) not in seen
    others = people["Ada"].pk
    absent = problem(program.get(at("users", "01a20bae-7f87-7499-ab7e-534c13c8fc16")), 404)
    for response in (
        program.get(at("users", others)),
        program.get(at("users", others, "history")),
        program.patch(at("users", others), {"name": "x"}),
    ):
        assert problem(response, 404)["detail"] == absent["detail"]
    assert items(program.get(at("users", id=others))) == []
    assert items(program.get(at("users", search="Ada"))) == []
    assert items(program.get(at("users/aggregate"))) == [{"count": len(seen)}]
    row = program.post(at("users/bulk"), [{"verb": "change", "id": str(others), "data": {"name": "x"}}]).json()[
        "results"
    ][0]
    assert row["status"] == 404


def test_the_label_of_a_record_that_one_may_not_see_is_not_told(api, as_role, people):
    reader = as_role({"access.user": {"view": "all"}})
    program = api.as_user(reader.user)
    ada = next(i for i in items(program.get(at("users", fields="name,department"))) if i["name"] == "Ada Nowak")
    assert ada["department"]["id"] and ada["department"]["label"] is None
    problem(program.get(at("users", sort="department")), 400)
    problem(program.get(at("users", department__name__contains="war")), 400)
    [row] = [r for r in items(program.get(at("users/aggregate", group_by="department"))) if r["department"]][:1]
    assert row["department"]["label"] is None


def test_an_object_without_view_is_refused_with_the_reason(api, as_role, departments):
    program = api.as_user(as_role({"access.user": {"view": "all"}}).user)
    said = problem(program.get(at("departments")), 403, "not_allowed")
    assert "view" in said["detail"]
    for path in (
        at("departments", departments["Sales"].pk),
        at("departments/aggregate"),
        at("departments", 1, "history"),
    ):
        problem(program.get(path), 403, "not_allowed")


def test_a_verb_without_the_right_is_refused_with_the_reason(api, as_role, people):
    program = api.as_user(as_role({"access.user": {"view": "all"}}).user)
    for response in (
        program.post(at("users", people["Ada"].pk, "deactivate")),
        program.patch(at("users", people["Ada"].pk), {"name": "x"}),
        program.delete(at("users", people["Ada"].pk)),
        program.post(at("users"), {"name": "x", "email": "x@example.com"}),
    ):
        assert "Your role" in problem(response, 403, "not_allowed")["detail"] or "token" in response.json()["detail"]
    people["Ada"].refresh_from_db()
    assert people["Ada"].is_active and people["Ada"].name == "Ada Nowak"


def test_a_token_does_what_its_scopes_include_and_no_more(api, owner, departments):
    reader = api.as_user(owner, ["*:view"])
    assert names(reader.get(at("departments", sort="name")))[0] == "Gdańsk"
    problem(reader.post(at("departments"), {"name": "x"}), 403, "not_allowed")
    problem(reader.patch(at("departments", departments["Sales"].pk), {"name": "x"}), 403, "not_allowed")
    narrow = api.as_user(owner, ["access.department:view", "access.department:change"])
    assert narrow.patch(at("departments", departments["Sales"].pk), {"name": "y"}).status_code == 200
    problem(narrow.get(at("users")), 403, "not_allowed")
    assert set(narrow.get(at("me")).json()["objects"]) == {"departments"}


def test_me_says_what_one_may(api, as_role):
    reader = as_role({"access.user": {"view": "own"}}, classes=["public", "internal"])
    said = api.as_user(reader.user).get(at("me")).json()
    assert said["objects"]["users"]["rights"] == {"view": "own"}
    assert said["data_classes"] == ["internal", "public"]
    assert said["user"]["email"] == reader.user.email and said["owner"] is False
    assert said["tenant"]["name"]


def test_a_user_who_was_switched_off_is_nobody(api, people):
    other = make_user()
    program = api.as_user(other)
    assert program.get(at("me")).status_code == 200
    api.post(at("users", other.pk, "deactivate"))
    problem(program.get(at("me")), 401)
