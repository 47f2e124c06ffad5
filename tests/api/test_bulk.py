"""Many at once: every row is answered by itself, in its order; or all are done or none."""

from ostoja.access.models import Department

from .answers import at, problem, queries


def test_rows_are_answered_one_by_one_in_their_order(api, departments):
    keys = {name: str(d.pk) for name, d in departments.items()}
    rows = [
        {"verb": "add", "data": {"name": "New"}},
        {"verb": "change", "id": keys["Stores"], "data": {"name": "Stocks"}, "version": 1},
        {"verb": "add", "data": {"name": ""}},
        {"verb": "change", "id": keys["Sales"], "data": {"name": "x"}, "version": 7},
        {"verb": "delete", "id": keys["Warsaw"]},
        {"verb": "delete", "id": keys["Sales"]},
        {"verb": "change", "id": "01a20bae-7f87-7499-ab7e-534c13c8fc16", "data": {"name": "x"}},
        {"verb": "add", "data": {"name": "Last", "parent": keys["Sales"]}},
    ]
    said = api.post(at("departments/bulk"), rows).json()
    assert [r["status"] for r in said["results"]] == [201, 200, 422, 412, 204, 422, 404, 201]
    assert [r["index"] for r in said["results"]] == list(range(8))
    assert (said["done"], said["failed"]) == (4, 4)
    assert said["results"][2]["errors"]["name"]
    assert said["results"][1]["version"] == 2
    assert set(Department.objects.values_list("name", flat=True)) == {"Sales", "Gdańsk", "Stocks", "New", "Last"}


def test_all_or_none(api, departments):
    rows = [{"verb": "add", "data": {"name": "New"}}, {"verb": "add", "data": {"name": "sales"}}]
    response = api.post(at("departments/bulk", atomic=1), rows)
    said = response.json()
    assert response.status_code == 422 and (said["done"], said["failed"]) == (0, 1)
    assert said["results"][1]["detail"] == "There is a department of this name."
    assert Department.objects.count() == 4
    assert api.post(at("departments/bulk", atomic=1), rows[:1]).json()["done"] == 1


def test_verbs_in_bulk(api, people):
    rows = [{"verb": "deactivate", "id": str(u.pk)} for u in people.values()]
    assert {r["status"] for r in api.post(at("users/bulk"), rows).json()["results"]} == {200}
    assert {u["is_active"] for u in api.get(at("users", name__in="Ada Nowak,Ben Kowal,Cyd Nowak")).json()["items"]} == {
        False
    }


def test_rows_that_are_none(api):
    rows = [7, {}, {"verb": "fly"}, {"verb": ["add"]}, {"verb": "change"}, {"verb": "change", "id": 5}, {"verb": "add", "id": "x"},
            {"verb": "add", "data": []}, {"verb": "add", "data": {"name": "x"}, "more": 1},
            {"verb": "delete", "id": "x", "version": "1"}, {"verb": "delete", "id": "x", "version": True}]  # fmt: skip
    said = api.post(at("departments/bulk"), rows).json()
    assert [r["status"] for r in said["results"]] == [422] * len(rows)
    assert all(r["detail"] for r in said["results"])
    assert not Department.objects.exists()


def test_how_many_rows(api):
    problem(api.post(at("departments/bulk"), []), 400, "wrong_number_of_rows")
    problem(api.post(at("departments/bulk"), [{}] * 501), 400, "wrong_number_of_rows")
    problem(api.post(at("departments/bulk"), {}), 400, "malformed_json")


def test_five_hundred_additions_cost_few_statements(api):
    rows = [{"verb": "add", "data": {"name": f"Department {n}"}} for n in range(500)]
    with queries(15):
        assert api.post(at("departments/bulk"), rows).json()["done"] == 500


def test_who_may_not_add_is_told_in_every_row(api, as_role, tenant):
    reader = as_role({"access.department": {"view": "all"}})
    program = api.as_user(reader.user)
    said = program.post(at("departments/bulk"), [{"verb": "add", "data": {"name": "x"}}]).json()
    assert said["results"][0]["status"] == 403 and said["results"][0]["code"] == "not_allowed"
