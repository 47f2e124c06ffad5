"""The meter: who asks too often waits; a cache that is away shuts nobody out."""

import pytest
from django.test import override_settings

from ostoja.api import meter
from ostoja.testing.people import make_user

from .answers import at, problem


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Every test counts from nothing."""
    monkeypatch.setattr(meter, "_counts", {})
    monkeypatch.setattr(meter, "_away_until", [0.0])


def test_too_many_requests_are_told_when_to_come_back(api):
    with override_settings(API_REQUESTS_A_MINUTE=(5, 5)):
        for _n in range(5):
            assert api.get(at("me")).status_code == 200
        response = api.get(at("me"))
        problem(response, 429, "rate_limited")
        assert 1 <= int(response["Retry-After"]) <= 60
        assert api.as_user(make_user()).get(at("me")).status_code == 200


def test_processes_count_together(api, monkeypatch):
    monkeypatch.setattr(meter, "TELL_EVERY", 0)
    with override_settings(API_REQUESTS_A_MINUTE=(6, 6)):
        for _n in range(3):
            assert api.get(at("me")).status_code == 200
        monkeypatch.setattr(meter, "_counts", {})  # another process
        assert [api.get(at("me")).status_code for _n in range(4)] == [200, 200, 200, 429]


def test_strangers_are_counted_by_their_address(public_client, tenant, api):
    with override_settings(API_REQUESTS_A_MINUTE=(100, 2)):
        stranger = {"HTTP_AUTHORIZATION": ""}
        assert [api.get(at("me"), **stranger).status_code for _n in range(3)] == [401, 401, 429]
        assert api.get(at("me"), **stranger, REMOTE_ADDR="203.0.113.9").status_code == 401
        assert api.get(at("me")).status_code == 200


def test_without_the_cache_everybody_still_reads(api, monkeypatch, caplog):
    class Away:
        def add(self, *_args):
            raise ConnectionError("no broker")

    monkeypatch.setattr(meter, "cache", Away())
    with override_settings(API_REQUESTS_A_MINUTE=(5, 5)):
        assert [api.get(at("me")).status_code for _n in range(6)] == [200] * 5 + [429]
    assert caplog.text.count("counters can't be reached") == 1
