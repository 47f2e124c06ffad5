"""K-1: the same key twice is one effect and one answer; at once, after a refusal, by another person, and when time is over."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from ostoja.access.models import Department
from ostoja.api.idempotency import forget_expired
from ostoja.api.models import Answer
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_user

from .answers import at, problem

KEY = {"HTTP_IDEMPOTENCY_KEY": "3b0e1c1e-0001"}


def test_K_1_the_same_key_twice_is_one_effect_and_one_answer(api):
    first = api.post(at("departments"), {"name": "Sales"}, **KEY)
    again = api.post(at("departments"), {"name": "Sales"}, **KEY)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first["ETag"] == again["ETag"] and first["Location"] == again["Location"]
    assert "Idempotent-Replayed" not in first and again["Idempotent-Replayed"] == "true"
    assert Department.objects.count() == 1


def test_K_1_holds_for_change_verb_delete_and_bulk(api, departments):
    one = at("departments", departments["Stores"].pk)
    answers = [api.patch(one, {"name": "Stocks"}, HTTP_IDEMPOTENCY_KEY="change")["ETag"] for _n in range(2)]
    assert answers == ['"2"', '"2"'] and api.get(one)["ETag"] == '"2"'
    assert [api.delete(one, HTTP_IDEMPOTENCY_KEY="delete").status_code for _n in range(2)] == [204, 204]
    rows = [{"verb": "add", "data": {"name": "Bulk"}}]
    first, again = (api.post(at("departments/bulk"), rows, HTTP_IDEMPOTENCY_KEY="bulk") for _n in range(2))
    assert first.content == again.content
    assert Department.objects.filter(name="Bulk").count() == 1


def test_a_key_belongs_to_one_request(api):
    api.post(at("departments"), {"name": "Sales"}, **KEY)
    problem(api.post(at("departments"), {"name": "Stores"}, **KEY), 422, "idempotency_key_reused")
    problem(
        api.patch(at("departments", Department.objects.get().pk), {"name": "Sales"}, **KEY),
        422,
        "idempotency_key_reused",
    )
    assert list(Department.objects.values_list("name", flat=True)) == ["Sales"]


def test_a_key_belongs_to_one_actor(api):
    api.post(at("departments"), {"name": "Sales"}, **KEY)
    other = api.as_user(make_user(owner=True))
    assert other.post(at("departments"), {"name": "Stores"}, **KEY).status_code == 201


def test_what_was_refused_may_be_sent_again(api):
    problem(api.post(at("departments"), {"name": ""}, **KEY), 422)
    assert not Answer.objects.exists()
    assert api.post(at("departments"), {"name": "Sales"}, **KEY).status_code == 201


def test_an_effect_that_failed_half_way_left_no_key(api, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("power cut")

    with monkeypatch.context() as during:
        during.setattr("ostoja.api.records.shown", broken)
        problem(api.post(at("departments"), {"name": "Sales"}, **KEY), 500, "fault")
    assert not Department.objects.exists() and not Answer.objects.exists()
    assert api.post(at("departments"), {"name": "Sales"}, **KEY).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ż", "tab\t"])
def test_a_key_that_can_be_none(api, key):
    problem(api.post(at("departments"), {"name": "Sales"}, HTTP_IDEMPOTENCY_KEY=key), 400, "bad_idempotency_key")


def test_reading_needs_no_key_and_keeps_nothing(api):
    assert api.get(at("departments"), **KEY).status_code == 200
    assert not Answer.objects.exists()


def test_a_key_is_free_again_when_its_time_is_over(api):
    api.post(at("departments"), {"name": "Sales"}, **KEY)
    Answer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api.post(at("departments"), {"name": "Stores"}, **KEY).status_code == 201
    assert Department.objects.count() == 2
    assert forget_expired() == 0
    Answer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert forget_expired() == 1


def test_K_1_eight_at_once_are_one_effect(api, tenant):
    start, answers = threading.Barrier(8), []

    def send():
        program = type(api)(tenant, api.token)
        start.wait()
        answers.append(program.post(at("departments"), {"name": "Sales"}, **KEY))
        connections.close_all()

    threads = [threading.Thread(target=send) for _n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {a.status_code for a in answers} == {201}
    assert len({a.content for a in answers}) == 1
    assert sum("Idempotent-Replayed" not in a for a in answers) == 1
    with tenant_context(tenant):
        assert Department.objects.count() == 1
