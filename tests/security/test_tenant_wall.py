"""The second wall: what a tenant's role may do is read from the catalogue, and tried with the first wall down."""

import re

import pytest
from django.apps import apps
from django.conf import settings
from django.core.cache import cache as raw_cache
from django.core.cache import caches
from django.db import ProgrammingError, connection, connections, transaction
from django.db.models import F

from ostoja.access.models import Role
from ostoja.kernel import registry
from ostoja.kernel.errors import NoTenant
from ostoja.tenancy import cache
from ostoja.tenancy.context import platform_context, role_of, schema_context, tenant_context
from ostoja.tenancy.models import Tenant
from ostoja.testing.people import make_role

APP = settings.DATABASES["default"]["USER"]
SHARED = [m for m in apps.get_models() if getattr(m, "lives_in_public", False)]


def catalogue(sql, params=()):
    """Rows that the owner reads."""
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


# what the catalogue says


def test_rights_on_schemas_are_on_the_diagonal_only(tenant, other_tenant):
    rows = catalogue(
        "SELECT r.rolname, n.nspname FROM pg_roles r CROSS JOIN pg_namespace n WHERE (r.rolname ~ '^r_t_' OR r.rolname = %s) "
        "AND n.nspname ~ '^t_' AND (has_schema_privilege(r.oid, n.oid, 'usage') OR has_schema_privilege(r.oid, n.oid, 'create'))",
        [APP],
    )
    assert rows and all(role == role_of(schema) for role, schema in rows)
    assert {tenant.schema_name, other_tenant.schema_name} <= {schema for _role, schema in rows}


def test_no_role_may_create_anything_anywhere(tenant):
    assert not catalogue(
        "SELECT r.rolname, n.nspname FROM pg_roles r CROSS JOIN pg_namespace n WHERE (r.rolname ~ '^r_t_' OR r.rolname = %s) "
        "AND n.nspname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'create')",
        [APP],
    )
    assert catalogue(
        "SELECT has_database_privilege(%s, current_database(), 'temp'), has_database_privilege(%s, current_database(), 'create')",
        [APP, APP],
    ) == [(False, False)]


def test_rights_on_tables_are_on_the_diagonal_only(tenant, other_tenant):
    rows = catalogue(
        "SELECT n.nspname, c.relname, x.grantee::regrole::text, string_agg(x.privilege_type, ',' ORDER BY x.privilege_type) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) x "
        "WHERE n.nspname = ANY(%s) AND x.grantee <> c.relowner AND c.relkind IN ('r', 'v', 'm') GROUP BY 1, 2, 3",
        [[tenant.schema_name, other_tenant.schema_name]],
    )
    rights = {(schema, table): (role, what) for schema, table, role, what in rows}
    for (schema, table), (role, what) in rights.items():
        assert role == role_of(schema)
        wanted = {"journal_change": "INSERT,SELECT", "django_migrations": "SELECT"}.get(
            table, "DELETE,INSERT,SELECT,UPDATE"
        )
        assert what == wanted, table
    assert {m._meta.db_table for m in registry.things()} <= {table for _schema, table in rights}


def test_functions_are_nobodys_but_the_tenants(tenant):
    rows = catalogue(
        "SELECT DISTINCT x.grantee FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x "
        "WHERE p.pronamespace = %s::regnamespace AND x.grantee <> p.proowner",
        [tenant.schema_name],
    )
    assert rows == catalogue("SELECT oid FROM pg_roles WHERE rolname = %s", [role_of(tenant.schema_name)])


def test_only_security_definers_name_a_schema_and_it_is_their_own(tenant):
    rows = catalogue(
        "SELECT proname, prosecdef, prosrc, proconfig FROM pg_proc WHERE pronamespace = %s::regnamespace",
        [tenant.schema_name],
    )
    for name, definer, source, config in rows:
        assert not re.search(r"\bt_[a-z2-7]{26}\b|stands_here", source), name
        assert bool(config) == definer, f"{name} is a security definer without a path of its own, or the reverse."
        if definer:
            assert config[0] == f"search_path={tenant.schema_name}, public"
            assert config[1:] in ([], ["random_page_cost=1"]), f"{name} is set to more than a path and how to plan."


def test_the_application_owns_nothing_and_inherits_nothing(tenant):
    assert not catalogue("SELECT relname FROM pg_class WHERE relowner = %s::regrole", [APP])
    assert catalogue(
        "SELECT rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = %s", [APP]
    ) == [(False,) * 5]
    assert not catalogue(
        "SELECT roleid::regrole FROM pg_auth_members WHERE member = %s::regrole AND inherit_option", [APP]
    )
    assert not catalogue(
        "SELECT roleid::regrole FROM pg_auth_members WHERE member = %s::regrole AND roleid::regrole::text !~ '^[res]_t_'",
        [APP],
    )


def test_no_table_name_is_both_shared_and_a_tenants(tenant):
    assert not catalogue(
        "SELECT a.relname FROM pg_class a JOIN pg_class b USING (relname) WHERE a.relnamespace = 'public'::regnamespace "
        "AND b.relnamespace = %s::regnamespace AND a.relkind IN ('r', 'S', 'v')",
        [tenant.schema_name],
    )


def test_tables_do_not_refer_out_of_their_schema(tenant):
    assert not catalogue(
        "SELECT conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid WHERE k.contype = 'f' AND k.connamespace <> c.relnamespace"
    )


# with the first wall down


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM {other}.access_role",
        "INSERT INTO {other}.access_role (id) VALUES (gen_random_uuid())",
        "DELETE FROM {other}.access_role",
        "SELECT * FROM {other}.django_migrations",
        "CREATE TABLE {other}.pwn ()",
        "SELECT {other}.journal_sequence()",
        "SELECT * FROM public.tenancy_tenant",
        "SELECT * FROM public.tenancy_readyschema",
        "UPDATE public.tenancy_tenant SET state = 'deleted'",
        "CREATE TABLE public.pwn ()",
        "CREATE TEMP TABLE pwn ()",
        "CREATE SCHEMA pwn",
        "CREATE ROLE pwn",
        "ALTER SCHEMA {own} RENAME TO mine",
        "DROP TABLE access_role CASCADE",
        "TRUNCATE access_role CASCADE",
        "ALTER TABLE access_role DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "UPDATE journal_change SET actor = 'user:somebody else'",
        "DELETE FROM journal_change",
        "TRUNCATE journal_change",
        "DELETE FROM django_migrations",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY access_role TO PROGRAM 'id'",
    ],
)
def test_the_role_of_a_tenant_is_refused(tenant, other_tenant, sql):
    statement = sql.format(own=tenant.schema_name, other=other_tenant.schema_name)
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner|permission"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.parametrize("sabotage", ["path", "role"])
def test_one_wall_down_the_other_one_holds(tenant, other_tenant, sabotage):
    with tenant_context(other_tenant):
        make_role({})
    mixed = (
        (other_tenant.schema_name, role_of(tenant.schema_name))
        if sabotage == "path"
        else (tenant.schema_name, role_of(other_tenant.schema_name))
    )
    with schema_context(*mixed), pytest.raises(ProgrammingError, match="does not exist|permission denied"):
        Role.objects.count()


def test_the_application_without_a_tenants_role_sees_no_tenants_rows(tenant):
    make_role({})
    with platform_context(), connection.cursor() as cursor:
        with pytest.raises(ProgrammingError, match="permission denied"):
            cursor.execute(f"SELECT * FROM {tenant.schema_name}.access_role")


def test_a_table_that_a_schema_lacks_is_not_answered_from_public(tenant):
    for model in SHARED:
        with pytest.raises(ProgrammingError, match="permission denied"):
            model.objects.count()


# no tenant, no query


def locked(model):
    """Rows under a lock."""
    with transaction.atomic():
        return list(model._base_manager.select_for_update(nowait=True))


ASKED = {
    "count": lambda m: m._base_manager.count(),
    "get": lambda m: m._base_manager.first(),
    "exists": lambda m: m._base_manager.exists(),
    "update": lambda m: m._base_manager.update(**{m._meta.pk.name: F(m._meta.pk.name)}),
    "delete": lambda m: m._base_manager.all()._raw_delete("default"),
    "create": lambda m: m._base_manager.bulk_create([m()]),
    "lock": lambda m: locked(m),
    "iterate": lambda m: list(m._base_manager.iterator(chunk_size=10)),
    "raw": lambda m: list(m._base_manager.raw(f"SELECT * FROM {m._meta.db_table}")),
}


@pytest.mark.parametrize("how", ASKED)
def test_without_a_tenant_every_question_to_every_model_is_refused(installation, how):
    for model in [*registry.things(), *SHARED]:
        with pytest.raises(NoTenant):
            ASKED[how](model)


@pytest.mark.parametrize("alias", ["default", "owner"])
def test_without_a_tenant_no_connection_gives_a_cursor(installation, alias):
    with pytest.raises(NoTenant):
        connections[alias].cursor()
    with pytest.raises(NoTenant), transaction.atomic(using=alias):
        connections[alias].cursor()


def test_a_tenant_is_closed_again_whatever_happened(tenant, other_tenant):
    with pytest.raises(ZeroDivisionError), tenant_context(other_tenant):
        raise ZeroDivisionError
    make_role({})
    with tenant_context(other_tenant):
        assert Role.objects.count() == 0


# the cache


def test_a_cache_key_carries_its_tenant(tenant, other_tenant):
    cache.put("menu", "mine")
    with tenant_context(other_tenant):
        assert cache.get("menu") is None
        assert cache.cached("menu", lambda: "theirs") == "theirs"
    assert cache.cached("menu", lambda: "new") == "mine"
    with platform_context():
        assert cache.get("menu", "none") == "none"
    keys = [key.decode() for key in raw_cache._cache.get_client(write=True).scan_iter(match="t:*menu*")]
    assert keys and all(re.match(r"^t:[a-z2-7]{26}:", key) for key in keys)


def test_without_a_tenant_no_cache(installation):
    for ask in (
        lambda: cache.get("menu"),
        lambda: cache.put("menu", 1),
        lambda: raw_cache.get("menu"),
        lambda: raw_cache.set("menu", 1),
    ):
        with pytest.raises(NoTenant):
            ask()


def test_a_foreign_value_under_the_right_key_is_a_miss(tenant, other_tenant, monkeypatch, caplog):
    monkeypatch.setattr(caches["default"], "key_func", lambda key, prefix, version: f"sabotaged:{key}")
    cache.put("menu", "mine")
    with tenant_context(other_tenant):
        assert cache.get("menu") is None
        assert "was not used" in caplog.text
    raw_cache.delete("menu")


def test_what_is_kept_may_be_nothing(tenant):
    made = []
    for _n in range(2):
        assert cache.cached("empty", lambda: made.append(1)) is None
    assert made == [1]


def test_a_tenant_keeps_its_number_for_locks(tenant, other_tenant):
    assert tenant.lock_number != other_tenant.lock_number
    with platform_context():
        assert -(2**31) <= Tenant.objects.get(pk=tenant.pk).lock_number < 2**31
