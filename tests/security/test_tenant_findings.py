"""The eight findings about tenants that shaped the design, each as the attack that once worked (numbers as in the threat model)."""

import asyncio
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from celery.exceptions import Reject
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction

from ostoja.access.models import Department, Role
from ostoja.jobs.celery import run_job
from ostoja.jobs.models import Job
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoTenant
from ostoja.tenancy import pool, provisioning, signing, template
from ostoja.tenancy.backend import base
from ostoja.tenancy.context import opening, platform_context, role_of, schema_context, tenant_context
from ostoja.tenancy.models import Tenant
from ostoja.testing.people import make_role, make_user

INJECTION = "acme','public'; set role none; create table public.pwn(); --"


def on_a_loop(work):
    """Run a coroutine function on an event loop of its own; a browser test may have left one running in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def where():
    """The role and the path that the database says it is at."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('search_path')")
        return cursor.fetchone()


@pytest.fixture
def marked(tenant, other_tenant):
    """Two tenants, each with one department that is named after it."""
    for one in (tenant, other_tenant):
        with tenant_context(one):
            with changing(Actor.system("Test"), "add"):
                Department.objects.create(name=one.slug)
    return tenant, other_tenant


def seen():
    """The marks that the open tenant sees."""
    return list(Department.objects.values_list("name", flat=True))


# 1


@pytest.mark.parametrize(
    "name", [INJECTION, "public, t_x", "T_ABC", "", "a" * 64, 'x"y', "pg_catalog;", "t_żółw", "t_a\n"]
)
def test_1_a_schema_name_is_never_sql(installation, name):
    with schema_context(name), pytest.raises(NoTenant):
        connection.cursor()
    with platform_context(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.pwn')")
        assert cursor.fetchone() == (None,)


@pytest.mark.parametrize(
    "name", [INJECTION, "acme", "public", "t_", "t_" + "a" * 25, "t_" + "A" * 26, "information_schema"]
)
def test_1_the_database_itself_takes_opaque_names_only(platform, name):
    with pytest.raises(IntegrityError, match="tenant_schema_is_opaque"), transaction.atomic():
        Tenant.objects.bulk_create([Tenant(name="x", slug="x", schema_name=name)])


def test_1_no_user_text_becomes_a_schema_name(lender):
    tenant = provisioning.create("Robert'); DROP SCHEMA public;--", "northwind")
    assert "northwind" not in tenant.schema_name and len(tenant.schema_name) == 28


# 2


@pytest.mark.parametrize(
    "switch",
    [
        "SELECT set_config('role', %s, false), set_config('search_path', %s, false), set_config('no_such_setting', %s, false)",
        "SELECT set_config('role', %s || '_gone', false), set_config('search_path', %s, false), %s",
        "SELECT 1 / 0, %s, %s, %s",
        "SELECT 'none', 'public', %s, %s, %s",
        "SYNTAX ERROR %s %s %s",
        "SELECT pg_terminate_backend(pg_backend_pid()), %s, %s, %s",
    ],
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_2_a_switch_that_fails_raises_and_never_answers_from_the_previous_tenant(
    marked, monkeypatch, switch, in_transaction
):
    tenant, other = marked
    assert seen() == [tenant.slug]
    with pytest.raises(Exception) as raised:
        if in_transaction:
            with transaction.atomic():
                seen()
                monkeypatch.setattr(base, "SWITCH", switch)
                with tenant_context(other):
                    seen()
        else:
            monkeypatch.setattr(base, "SWITCH", switch)
            with tenant_context(other):
                seen()
    assert not isinstance(raised.value, AssertionError)
    assert connection.connection is None
    monkeypatch.undo()
    with tenant_context(other):
        assert seen() == [other.slug]
    assert seen() == [tenant.slug]


def test_2_a_query_swallowed_in_a_broken_transaction_does_not_go_on_elsewhere(marked, monkeypatch):
    tenant, other = marked
    with transaction.atomic():
        seen()
        with monkeypatch.context() as patch:
            patch.setattr(base, "SWITCH", "SELECT 1 / 0, %s, %s, %s")
            with tenant_context(other), pytest.raises(Exception, match="division"):
                seen()
        with pytest.raises(Exception) as raised:
            seen()
        assert not isinstance(raised.value, AssertionError)
    assert seen() == [tenant.slug]


# 3


@pytest.mark.parametrize("times", [1, 3])
def test_3_a_rolled_back_savepoint_does_not_leave_the_other_tenant_open(marked, times):
    tenant, other = marked
    with transaction.atomic():
        for _n in range(times):
            assert seen() == [tenant.slug]
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                with tenant_context(other):
                    assert seen() == [other.slug]
                    raise ZeroDivisionError
            assert seen() == [tenant.slug]
            with tenant_context(other):
                with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SELECT * FROM no_such_table")
                assert seen() == [other.slug]
    assert seen() == [tenant.slug]


def test_3_a_rolled_back_transaction_does_not_either(marked):
    tenant, other = marked
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with tenant_context(other):
            seen()
        raise ZeroDivisionError
    assert seen() == [tenant.slug]
    with tenant_context(other):
        assert seen() == [other.slug]


def test_3_random_walks_through_transactions_and_savepoints_see_only_what_is_open(marked):
    dice = random.Random(7)

    def walk(depth):
        place = dice.choice(marked)
        with tenant_context(place):
            assert seen() == [place.slug]
            if depth:
                try:
                    with transaction.atomic():
                        walk(depth - 1)
                        if dice.random() < 0.4:
                            raise ZeroDivisionError
                        walk(depth - 1)
                except ZeroDivisionError:
                    pass
            assert seen() == [place.slug]
            assert where() == (role_of(place.schema_name), f"{place.schema_name}, public")

    for _n in range(12):
        walk(4)


# 4


def test_4_the_librarys_ways_to_open_a_tenant_are_refused(tenant):
    with pytest.raises(TypeError), tenant:
        pass
    with pytest.raises(TypeError):
        tenant.activate()
    with pytest.raises(TypeError):
        Tenant.deactivate()
    connection.set_schema_to_public()
    assert where()[0] == role_of(tenant.schema_name)


def test_4_threads_do_not_open_each_others_tenants(marked):
    wrong, dice = [], random.Random(3)
    plans = [[dice.choice(marked) for _n in range(60)] for _thread in range(6)]

    def work(plan):
        try:
            for place in plan:
                with tenant_context(place):
                    if seen() != [place.slug]:
                        wrong.append(place)
            if opening() is not None:
                wrong.append("left open")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[plan]) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_4_a_thread_started_in_a_request_has_no_tenant(tenant):
    raised = []

    def work():
        try:
            Role.objects.count()
        except NoTenant as error:
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(raised) == 1


# 5


def test_5_an_existing_schema_is_never_adopted(tenant):
    made = template.current()
    owner = connections["owner"]
    with platform_context(), pytest.raises(ProgrammingError, match="already exists"):
        with transaction.atomic(using="owner"), owner.cursor() as cursor:
            pool.create(cursor, made, tenant.schema_name)
    with platform_context(), pytest.raises(ProgrammingError, match="already exists"):
        with transaction.atomic(using="owner"), owner.cursor() as cursor:  # with the role out of the way
            cursor.execute(template.script_for(made, tenant.schema_name))
    assert "IF NOT EXISTS" not in made.script.upper()


def test_5_a_new_customer_of_an_old_name_gets_an_empty_schema_of_its_own(lender):
    old = provisioning.open_up(provisioning.create("Old", "northwind"))
    with tenant_context(old):
        make_role({})
    provisioning.delete(old)
    with platform_context():
        Tenant.objects.filter(pk=old.pk).update(deleted_at=old.deleted_at - timedelta(days=31))
    provisioning.purge_due()
    new = provisioning.open_up(provisioning.create("New", "northwind"))
    assert new.schema_name != old.schema_name and new.pk != old.pk
    with tenant_context(new):
        assert Role.objects.count() == 0


# 6


def test_6_tasks_on_one_loop_see_their_own_tenants(marked):
    async def one(place):
        found = set()
        with tenant_context(place):
            for _n in range(15):
                found.update(await sync_to_async(seen)())
                await asyncio.sleep(0)
        return found

    async def all_at_once():
        return await asyncio.gather(*(one(marked[n % 2]) for n in range(6)))

    results = on_a_loop(all_at_once)
    assert results == [{marked[n % 2].slug} for n in range(6)]


def test_6_a_loop_without_a_tenant_asks_nothing(lender):
    async def ask():
        return await sync_to_async(Role.objects.count)()

    with pytest.raises(NoTenant):
        on_a_loop(ask)


# 7


@pytest.mark.parametrize("schema", ["", "public", "t_" + "a" * 26, INJECTION])
def test_7_a_message_without_an_open_tenant_is_refused(lender, schema):
    with pytest.raises(Reject):
        run_job(schema, str(uuid.uuid4()))


def test_7_a_job_of_one_tenant_is_not_found_in_another(marked):
    tenant, other = marked
    job = Job.objects.create(kind="count")
    run_job(other.schema_name, str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 0)
    provisioning.suspend(tenant)
    with pytest.raises(Reject):
        run_job(tenant.schema_name, str(job.pk))


# 8


@pytest.mark.parametrize("purpose", ["reset", "confirm", "invite"])
def test_8_a_token_of_one_tenant_is_worth_nothing_in_another(marked, purpose):
    tenant, other = marked
    user = make_user(id=uuid.UUID(int=1), email="same@example.com")
    with tenant_context(other):
        make_user(id=uuid.UUID(int=1), email="same@example.com")
    token = signing.sign(purpose, str(user.pk))
    assert signing.read(purpose, token, timedelta(hours=1)) == str(user.pk)
    with tenant_context(other), pytest.raises(signing.BadSignature):
        signing.read(purpose, token, timedelta(hours=1))
    with pytest.raises(signing.BadSignature):
        signing.read("another-purpose", token, timedelta(hours=1))
    with pytest.raises(signing.Expired):
        signing.read(purpose, token, timedelta(seconds=-1))
    plain, timed = signing.signer(purpose).sign("x"), signing.timestamp_signer(purpose).sign("x")
    with tenant_context(other):
        for signer, value in ((signing.signer(purpose), plain), (signing.timestamp_signer(purpose), timed)):
            with pytest.raises(signing.BadSignature):
                signer.unsign(value)


def test_8_without_a_tenant_nothing_is_signed(platform):
    with pytest.raises(NoTenant):
        signing.sign("reset", "x")
