"""The matrix of a role says what its grants mean, and writes the same grants back."""

import pytest

from ostoja.access import roles
from ostoja.access.policy import editing_verbs, scope_of
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.record import EDITING

GRANTS = [
    {},
    {"*": {"*": "all"}},
    {"access.user": {"view": "all", "change": "team", "deactivate": "own"}},
    {"access.user": {"*": "own"}, "access.role": {"view": "all"}},
    {"*": {"view": "all"}, "access.user": {"*": "team", "view": "own"}},
]


def posted(lines):
    """The matrix as a browser posts it."""
    return {cell.name: cell.value for line in lines for cell in (*line.cells, *line.more) if cell}


@pytest.mark.parametrize("grants", GRANTS)
def test_the_matrix_says_what_the_policy_does(grants):
    actor = Actor(kind="user", id=None, label="P", grants=grants)
    for line in roles.matrix(grants):
        entry = registry.get(line.label)
        cells = [cell for cell in (*line.cells, *line.more) if cell]
        assert len(line.cells) == len(EDITING)
        assert all(cell is None or cell.verb == verb for cell, verb in zip(line.cells, EDITING, strict=True))
        assert {cell.verb for cell in cells} == set(editing_verbs(entry))
        for cell in cells:
            scope = scope_of(actor, entry, cell.verb)
            assert cell.value == (scope if scope in entry.scopes else ""), cell
            assert [value for value, _label in cell.options] == ["", *entry.scopes]
            assert cell.label and all(label for _value, label in cell.options)


@pytest.mark.parametrize("grants", GRANTS)
def test_writing_the_matrix_back_changes_nothing(grants):
    again = roles.grants_of(posted(roles.matrix(grants)), before=grants)
    roles.check_grants(again)
    assert posted(roles.matrix(again)) == posted(roles.matrix(grants))


def test_a_star_stays_where_it_was_and_comes_nowhere_by_itself():
    everything = {"*": {"*": "all"}}
    cells = posted(roles.matrix(everything))
    assert roles.grants_of(cells, before=everything) == everything
    assert "*" not in roles.grants_of(cells, before={})["access.user"]
    cells["access.user:delete"] = ""
    less = roles.grants_of(cells, before=everything)
    assert "delete" not in less["access.user"] and less["access.role"] == {"*": "all"} and "*" not in less


def test_what_is_not_in_the_matrix_is_not_taken():
    assert roles.grants_of({"access.user:fly": "all", "no.object:view": "all", "access.userrole:view": "all"}) == {}


def test_the_daily_objects_come_first():
    groups = [line.group for line in roles.matrix({})]
    assert groups[0] == "crm" and "" not in groups[: len([g for g in groups if g])]
