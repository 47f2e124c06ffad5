"""Fixtures of the API's tests: departments and people to list."""

from __future__ import annotations

import pytest


@pytest.fixture
def departments(actor):
    """Sales with Warsaw and Gdańsk below it, and Stores: name -> department."""
    from ostoja.access.models import Department
    from ostoja.gate import perform

    found = {}
    for name, parent in (("Sales", None), ("Warsaw", "Sales"), ("Gdańsk", "Sales"), ("Stores", None)):
        found[name] = perform(actor, Department, "add", {"name": name, "parent": found.get(parent)})
    return found


@pytest.fixture
def people(departments):
    """Three people in departments: name -> user."""
    from ostoja.testing.people import make_user

    return {
        "Ada": make_user("Ada Nowak", department=departments["Warsaw"], email="ada@example.com"),
        "Ben": make_user("Ben Kowal", department=departments["Stores"], email="ben@example.com"),
        "Cyd": make_user("Cyd Nowak", email="cyd@example.com"),
    }
