"""Both sides of a conflict say who wrote them and when: a person, the program of one, or nobody but the site; also who deleted."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from test_conflicts_pages import at, by, only, page, pair  # noqa: F401
from two_sites import do

from ostoja.access.actor_of import actor_of
from ostoja.access.models import ApiToken, User
from ostoja.gate import perform
from ostoja.hybrid import authors
from ostoja.hybrid.models import Conflict, Link
from ostoja.jobs.models import Job
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.ids import uuid7
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program

SECRET = "Ledger of Zamek"  # the name of a token: tokens never leave their site, nor what they are called


def in_the_cloud(pair, user, target, verb="change", data=None):  # noqa: F811
    """A change in the cloud by a person."""
    with tenant_context(pair.cloud):
        return perform(actor_of(User.objects.get(pk=user.pk)), type(target).objects.get(pk=target.pk), verb, data or {})


def tiles(said: str) -> list[str]:
    """What the parts of the page say that have an author, without tags."""
    parts = said.split('<section class="tile')[1:]
    return [" ".join(re.sub(r"<[^>]+>", " ", "<" + part.split("</section>")[0]).split()) for part in parts]


def tile(said: str, label: str) -> str:
    (found,) = (one for one in tiles(said) if one.startswith(label))
    return found


def shown(pair, side=None) -> str:  # noqa: F811
    """The page of the only conflict at a site, for an owner."""
    side = side or pair.premises
    with tenant_context(side):
        found = Conflict.objects.get(state="open")
        owner = User.objects.get(pk=pair.owner.pk)
    return page(Browser(side, raise_request_exception=False).sign_in(owner), f"/conflicts/{found.pk}")


def patch(pair, side, title) -> None:  # noqa: F811
    """A program of the owner gives the deal another title."""
    with tenant_context(side):
        owner = User.objects.get(pk=pair.owner.pk)
    program = Program.of(side, owner)
    with tenant_context(side), changing(Actor.system("Test"), "change"):
        ApiToken.objects.update(name=SECRET)
    version = program.get(f"/api/v1/deals/{pair.deal.pk}").json()["version"]
    done = program.patch(f"/api/v1/deals/{pair.deal.pk}", {"title": title}, headers={"If-Match": f'"{version}"'})
    assert done.status_code == 200, done.content


@pytest.mark.parametrize("first", ["here", "there"])
def test_a_change_by_a_program_says_whose_program_it_is_at_the_other_site_too(pair, first):  # noqa: F811
    """A token's name stays where the token is; whose it is was told of people before."""
    if first == "here":
        by(pair, pair.anna, pair.deal, data={"title": "Ours"})
        patch(pair, pair.cloud, "Theirs")
        pair.talk()
        said = shown(pair)
        assert "Anna" in tile(said, "Ours") and "Warsaw" in tile(said, "Ours")
        theirs = tile(said, "Theirs")
        assert "Olga (through a program)" in theirs and "Cloud" in theirs and SECRET not in said
    else:
        patch(pair, pair.premises, "Ours")
        in_the_cloud(pair, pair.owner, pair.deal, data={"title": "Theirs"})
        pair.talk()
        said = shown(pair)
        assert f"Olga (token “{SECRET}”)" in tile(said, "Ours")
        assert "Olga" in tile(said, "Theirs") and "program" not in tile(said, "Theirs")


def test_neither_a_token_nor_its_name_leaves(pair):  # noqa: F811
    patch(pair, pair.premises, "Ours")
    with tenant_context(pair.premises):
        message = pair.exchange(pair.premises).outgoing()
        told = repr([envelope.ops for envelope in message.envelopes])
        token = ApiToken.objects.get(name=SECRET)
        assert f"program:{token.user_id}" in told
        assert SECRET not in told and str(token.pk) not in told and token.prefix not in told


def test_who_deleted_it_there_is_said_beside_who_changed_it_here(pair):  # noqa: F811
    in_the_cloud(pair, pair.owner, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    said = shown(pair)
    assert "Olga" in tile(said, "Deleted there") and "Cloud" in tile(said, "Deleted there")
    assert "Anna" in tile(said, "As it was here") and "Olga" not in tile(said, "As it was here")
    with tenant_context(pair.premises):
        assert abs(only(pair).theirs_at - timezone.now()) < timedelta(minutes=10)


def test_who_deleted_it_here_is_said_beside_who_changed_it_there_and_when(pair):  # noqa: F811
    in_the_cloud(pair, pair.owner, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    said = shown(pair, pair.cloud)
    assert "Olga" in tile(said, "Deleted here") and "Cloud" in tile(said, "Deleted here")
    assert "Anna" in tile(said, "As it was changed there") and "Warsaw" in tile(said, "As it was changed there")
    assert "Olga" not in tile(said, "As it was changed there")
    with tenant_context(pair.cloud):
        found = Conflict.objects.get(state="open")
        assert (
            found.theirs_at is not None and found.theirs_at < found.created_at
        )  # when it was written, not when it came


def test_who_changed_it_before_is_not_said_to_have_deleted_it(pair):  # noqa: F811
    """Somebody changes it there, and then a program of nobody deletes it: in one batch."""
    in_the_cloud(pair, pair.owner, pair.deal, data={"title": "Wrong guess"})
    do(pair.cloud, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    deleted = tile(shown(pair), "Deleted there")
    assert "Cloud" in deleted and "Olga" not in deleted


def test_who_deleted_what_a_rule_keeps_is_said(pair):  # noqa: F811
    in_the_cloud(pair, pair.owner, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, "win")
    pair.talk()
    with tenant_context(pair.premises):
        found = Conflict.objects.get(rule="delete refused")
    deleted = tile(page(at(pair, pair.owner), f"/conflicts/{found.pk}"), "Deleted there")
    assert "Olga" in deleted and "Cloud" in deleted and found.theirs_at < found.created_at


@pytest.mark.parametrize(
    ("said", "shows"),
    [("user:{owner}", "Olga"), ("program:{owner}", "Olga (through a program)"), ("program:{nobody}", "A program"),
     ("user:{nobody}", ""), ("user:x", ""), ("program:", ""), ("token:{token}", ""), ("job:{token}", ""), ("robot", ""),
     ("", ""), ("user", "")],
)  # fmt: skip
def test_whatever_another_site_says_of_who_it_was_is_a_name_that_is_known_here_or_none(pair, said, shows):  # noqa: F811
    """What it can't know, of tokens and jobs of ours, it can't have named either; and what makes no sense breaks nothing."""
    with tenant_context(pair.premises):
        Program.of(pair.premises, pair.owner)
        token = ApiToken.objects.first().pk
        with changing(Actor.system("Test"), "add"):
            found = Conflict.objects.create(
                about="sales.deal", record=pair.deal.pk, field="title", rule="latest", ours="Ours", theirs="Theirs",
                site=Link.objects.get().site, theirs_by=said.format(owner=pair.owner.pk, nobody=uuid7(), token=token),
            )  # fmt: skip
    theirs = tile(page(at(pair, pair.owner), f"/conflicts/{found.pk}"), "Theirs")
    assert shows in theirs and "Cloud" in theirs
    assert bool(shows) is ("Olga" in theirs or "program" in theirs) and "Ostoja" not in theirs


def test_of_jobs_it_is_told_for_whom_they_worked(pair):  # noqa: F811
    with tenant_context(pair.premises):
        made = [
            Job.objects.create(kind="test", user_id=user, limits=limits)
            for user, limits in ((pair.owner.pk, None), (pair.owner.pk, ["*:*"]), (None, None))
        ]
        keys = [f"job:{job.pk}" for job in made]
        told = authors.told([*keys, "system:", f"site:{uuid7()}", "token:nonsense", f"token:{uuid7()}", ""])
    assert told == {keys[0]: f"user:{pair.owner.pk}", keys[1]: f"program:{pair.owner.pk}"}


def test_a_person_comes_before_a_program_and_whoever_deletes_or_makes_it_before_all(pair):  # noqa: F811
    after = authors.after
    assert after("", "token:1", "U") == "token:1" and after("token:1", "token:2", "U") == "token:2"
    assert after("user:1", "token:2", "U") == "user:1" and after("token:1", "user:2", "U") == "user:2"
    assert after("user:1", "token:2", "D") == "token:2" and after("user:1", "system:", "D") == ""
    assert after("user:1", "site:2", "U") == after("user:1", "system:", "U") == "user:1"
