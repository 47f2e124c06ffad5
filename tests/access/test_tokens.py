"""Tokens: only a digest is kept, scopes narrow and never widen, and the end of a token is immediate."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ostoja.access import people, remembered, tokens
from ostoja.access.actor_of import actor_of
from ostoja.access.models import ApiToken, Department, TokenUse, User
from ostoja.access.policy import explain, may, visible, visible_fields
from ostoja.gate import perform
from ostoja.jobs.queue import actor_for, queue
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_role, make_user


def issued(actor, *scopes, **more):
    """The secret of a token of the actor's own."""
    return tokens.issue(actor, actor.user, "script", scopes or ["*:*"], **more)[1]


def test_a_token_is_its_user_narrowed(actor):
    secret = issued(actor, "access.department:view", "access.user:*")
    assert secret.startswith("ost_") and len(secret) == 44
    found = tokens.find(secret)
    assert (found.kind, found.user_id, found.limits) == (
        "token",
        actor.user_id,
        ("access.department:view", "access.user:*"),
    )
    assert may(found, Department, "view") and not may(found, Department, "add") and may(found, User, "deactivate")
    department = perform(actor, Department, "add", {"name": "Sales"})
    refused = explain(found, department, "change")
    assert not refused and "token" in refused.reason
    with pytest.raises(NotAllowed):
        perform(found, department, "change", {"name": "x"})


def test_only_the_digest_is_kept_and_the_journal_has_not_even_that(actor):
    secret = issued(actor)
    token = ApiToken.objects.get()
    assert secret not in str(token.__dict__) and token.prefix == secret[:10] and len(token.digest) == 64
    assert "digest" not in visible_fields(actor, ApiToken)
    assert not Change.objects.filter(old__has_key="digest").exists()


@pytest.mark.parametrize(
    ("scopes", "word"),
    [
        ([], "at least one"),
        (["nonsense"], "no object"),
        (["sales.nothing:view"], "no object"),
        (["access.user:fly"], "no verb"),
        (["*:fly"], "verb"),
        (["access.user:"], "no scope"),
        ([f"access.user:view{n}" for n in range(300)], "At most"),
    ],
)
def test_scopes_that_do_not_exist_are_refused_by_name(actor, scopes, word):
    with pytest.raises(Refused, match=word) as error:
        tokens.issue(actor, actor.user, "script", scopes)
    assert list(error.value.fields) == ["scopes"]


def test_a_scope_beyond_ones_own_rights_is_refused(as_role):
    clerk = as_role({"access.department": {"view": "all"}})
    assert issued(clerk, "access.department:view")
    with pytest.raises(Refused, match="access.department:change"):
        issued(clerk, "access.department:change")


def test_a_star_is_no_more_than_its_user(as_role):
    clerk = as_role({"access.department": {"view": "all"}})
    found = tokens.find(issued(clerk, "*:*"))
    assert may(found, Department, "view") and not may(found, Department, "add") and not may(found, User, "add")


def test_for_others_only_an_owner_makes_tokens_and_a_token_makes_none(actor, as_role):
    clerk = as_role({"access.user": {"*": "all"}})
    with pytest.raises(NotAllowed, match="yourself"):
        tokens.issue(clerk, actor.user, "theft", ["*:*"])
    secret = tokens.issue(actor, clerk.user, "for the clerk", ["access.user:view"])[1]
    assert tokens.find(secret).user_id == clerk.user_id
    with pytest.raises(Refused, match="access.role:change"):
        tokens.issue(actor, clerk.user, "more than the clerk", ["access.role:change"])
    with pytest.raises(NotAllowed, match="token"):
        tokens.issue(tokens.find(issued(actor)), actor.user, "again", ["*:*"])


@pytest.mark.parametrize("name", ["", "  ", "x" * 81])
def test_a_token_has_a_name(actor, name):
    with pytest.raises(Refused) as error:
        tokens.issue(actor, actor.user, name, ["*:*"])
    assert list(error.value.fields) == ["name"]


def test_expiry(actor):
    now = timezone.now()
    for wrong in (now - timedelta(seconds=1), now + timedelta(days=4000)):
        with pytest.raises(Refused) as error:
            issued(actor, expires_at=wrong)
        assert list(error.value.fields) == ["expires_at"]
    secret = issued(actor, expires_at=now + timedelta(days=1))
    assert tokens.find(secret)
    ApiToken.objects.all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('ostoja.actor', 'test', false)")
        cursor.execute("UPDATE access_apitoken SET expires_at = now()")
        cursor.execute("SELECT set_config('ostoja.actor', '', false)")
    remembered.forget()
    assert tokens.find(secret) is None
    assert ApiToken.objects.get().state == "expired"


def test_revoking_is_immediate_and_ones_own(actor, as_role):
    secret = issued(actor)
    token = ApiToken.objects.get()
    assert tokens.find(secret)
    stranger = as_role({"access.department": {"view": "all"}})
    with pytest.raises(NotFound):
        tokens.revoke(stranger, token)
    with pytest.raises(NotFound):
        perform(stranger, token, "revoke")
    assert tokens.revoke(actor, token).state == "revoked"
    assert tokens.find(secret) is None
    again = issued(actor)
    assert tokens.find(again)
    perform(actor, ApiToken.objects.filter(revoked_at=None).get(), "revoke")
    assert tokens.find(again) is None


def test_everybody_sees_and_revokes_their_own_through_the_gate(as_role, actor):
    clerk = as_role({})
    secret = issued(clerk)
    issued(actor)
    assert [t.user_id for t in visible(clerk, ApiToken)] == [clerk.user_id]
    perform(clerk, visible(clerk, ApiToken).get(), "revoke")
    assert tokens.find(secret) is None


def test_the_gate_makes_and_changes_no_tokens(actor):
    with pytest.raises((NotAllowed, Refused)):
        perform(actor, ApiToken, "add", {})
    issued(actor, "*:view")
    with pytest.raises((NotAllowed, Refused)):
        perform(actor, ApiToken.objects.get(), "change", {"scopes": ["*:*"]})
    with pytest.raises((NotAllowed, Refused)):
        perform(actor, ApiToken, "add", {"user": actor.user_id, "name": "x", "digest": "0" * 64})


def test_A7_a_token_of_one_tenant_is_nobody_in_another(actor, other_tenant):
    secret = issued(actor)
    assert tokens.find(secret)
    with tenant_context(other_tenant):
        assert tokens.find(secret) is None


@pytest.mark.parametrize("nonsense", ["", "ost_", "ost_" + "x" * 40, "ost_" + "ż" * 40, "x" * 10_000, "\x00" * 44])
def test_nonsense_is_nobody(tenant, nonsense):
    assert tokens.find(nonsense) is None


def test_one_query_then_none_for_two_seconds(actor):
    secret = issued(actor)
    tokens.find(secret)
    remembered.forget()
    with CaptureQueriesContext(connection) as queries:
        tokens.find(secret)
    assert len(queries) == 1, queries.captured_queries
    with CaptureQueriesContext(connection) as queries:
        tokens.find(secret)
    assert len(queries) == 0


def test_remembered_for_two_seconds_only(actor, monkeypatch):
    secret = issued(actor)
    tokens.find(secret)
    clock = remembered.time.monotonic() + 2.1
    monkeypatch.setattr(remembered.time, "monotonic", lambda: clock)
    with CaptureQueriesContext(connection) as queries:
        assert tokens.find(secret)
    assert len(queries) >= 1


def test_a_change_of_rights_counts_at_once(actor):
    worker = make_user("Wanda")
    role = make_role({"access.department": {"view": "all"}})
    people.set_roles(actor, worker, [role.code])
    secret = tokens.issue(actor, worker, "script", ["*:*"])[1]
    assert may(tokens.find(secret), Department, "view")
    perform(actor, role, "change", {"grants": {"access.department": {"add": "all"}}})
    assert not may(tokens.find(secret), Department, "view") and may(tokens.find(secret), Department, "add")
    people.set_roles(actor, worker, [])
    assert not may(tokens.find(secret), Department, "add")
    perform(actor, worker, "deactivate")
    assert tokens.find(secret) is None


def test_what_was_read_before_a_change_is_not_remembered_after_it(actor, monkeypatch):
    secret = issued(actor)
    real = tokens.person_of

    def slow(*args, **kwargs):
        found = real(*args, **kwargs)
        remembered.forget()  # somebody changes rights while this request waits for the database
        return found

    monkeypatch.setattr(tokens, "person_of", slow)
    tokens.find(secret)
    monkeypatch.setattr(tokens, "person_of", real)
    with CaptureQueriesContext(connection) as queries:
        tokens.find(secret)
    assert len(queries) >= 1


def test_last_use_is_kept_to_the_minute_and_outside_of_the_journal(actor):
    secret = issued(actor)
    before = Change.objects.count()
    tokens.find(secret)
    first = TokenUse.objects.get().at
    tokens._noted.clear()
    remembered.forget()
    tokens.find(secret)
    assert TokenUse.objects.get().at == first and Change.objects.count() == before
    TokenUse.objects.update(at=first - timedelta(minutes=2))
    tokens._noted.clear()
    remembered.forget()
    tokens.find(secret)
    assert TokenUse.objects.get().at > first
    assert tokens.mine(actor).get().last_used_at is not None


def test_a_job_has_the_limits_of_the_token_that_queued_it(actor, monkeypatch):
    monkeypatch.setitem(queue.__globals__["HANDLERS"], "test.nothing", lambda run: None)
    narrow = tokens.find(issued(actor, "access.department:view"))
    worker = actor_for(queue(narrow, "test.nothing"))
    assert worker.kind == "job" and worker.user_id == actor.user_id
    assert may(worker, Department, "view") and not may(worker, Department, "add")


def test_a_job_has_the_rights_of_now_and_fails_with_the_reason_for_who_is_gone(actor, tenant, monkeypatch):
    from ostoja.jobs import runner

    ran = []
    monkeypatch.setitem(
        queue.__globals__["HANDLERS"], "test.nothing", lambda run: ran.append(may(run.actor, Department, "add"))
    )
    worker = make_user("Wanda Worker")
    role = make_role({"access.department": {"add": "all"}})
    people.set_roles(actor, worker, [role.code])
    first = queue(actor_of(worker), "test.nothing")
    second = queue(actor_of(worker), "test.nothing")
    third = queue(actor_of(worker), "test.nothing")
    runner.execute(tenant, first.pk)
    people.set_roles(actor, worker, [])
    runner.execute(tenant, second.pk)
    perform(actor, worker, "deactivate")
    runner.execute(tenant, third.pk)
    third.refresh_from_db()
    assert ran == [True, False]
    assert third.state == "failed" and "Wanda Worker" in third.error
