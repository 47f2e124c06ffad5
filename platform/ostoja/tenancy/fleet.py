"""The fleet is all tenants together: their state in one query, one statement over all of them, and their migrations.

A release's migrations run once, in the first tenant of each distinct state, and are recorded there; the others replay
the record, each in one transaction of its own. What can't be recorded because it reads data (``RunPython``) runs with
Django's executor in every tenant. A tenant that fails keeps its state and its reason, and blocks no other.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import SeparateDatabaseAndState

from . import finishing, grants, locks, release, template
from .context import platform_context, schema_context
from .finishing import finishing_sql
from .models import Template, Tenant

log = logging.getLogger(__name__)
CHUNK = 50
LOCK_TIMEOUT = "2s"
ATTEMPTS = 4
BUSY = ("55P03", "40P01")  # lock not available, deadlock: somebody works there; come back later
ACTOR = "SELECT set_config('ostoja.actor', 'system:', true), set_config('ostoja.verb', 'migrate', true)"
HEADS = "SELECT array_agg(app || '.' || name ORDER BY app, name) AS applied, count(*) AS number FROM {schema}.django_migrations"


@dataclass(frozen=True)
class Head:
    """Where one tenant is: ``behind`` when its schema is not of this release; ``missing`` migrations it lacks."""

    slug: str
    schema: str
    state: str
    behind: bool
    applied: int
    missing: tuple[str, ...]
    error: str


@dataclass
class Outcome:
    """What a fleet migration did: schema names, and {schema name: reason} of those that stayed behind."""

    migrated: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def over_tenants(
    connection, sql: str, params: Sequence = (), states: Iterable[str] = ("open", "building")
) -> Iterator[tuple]:
    """The rows of one SELECT over all tenants, as (schema_name, *row); ``{schema}`` in it stands for the tenant's schema.

    ``connection`` is the owner's. Tenants go in chunks, a chunk is one statement. A tenant that the statement fails for
    is left out and logged; it never hides the others.
    """
    with platform_context():
        rows = Tenant.objects.using(connection.alias).filter(state__in=list(states)).order_by("schema_name")
        schemas = list(rows.values_list("schema_name", flat=True))
    for start in range(0, len(schemas), CHUNK):
        yield from _chunk(connection, sql, params, schemas[start : start + CHUNK])


def _chunk(connection, sql: str, params: Sequence, schemas: list[str]) -> list[tuple]:
    parts = [f"SELECT '{schema}', q.* FROM ({sql.replace('{schema}', schema)}) q" for schema in schemas]
    try:
        with platform_context(), transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), list(params) * len(schemas) or None)
            return cursor.fetchall()
    except OperationalError:
        raise
    except DatabaseError as error:
        if len(schemas) == 1:
            log.error("Tenant %s was left out: %s", schemas[0], str(error).strip())
            return []
        return [row for schema in schemas for row in _chunk(connection, sql, params, [schema])]


def status() -> list[Head]:
    """Where every tenant is, deleted ones that were not purged included; read from their schemas, not from a note of it."""
    owner = connections["owner"]
    wanted = [f"{app}.{name}" for app, name in release.migrations(public=False)]
    applied = {schema: set(names or ()) for schema, names, _n in over_tenants(owner, HEADS, states=Tenant.State.values)}
    with platform_context():
        mark = release.fingerprint(template.postgres_major(owner))
        tenants = list(Tenant.objects.using("owner").order_by("slug"))
    heads = []
    for tenant in tenants:
        has = applied.get(tenant.schema_name, set())
        missing = tuple(name for name in wanted if name not in has)
        behind = bool(missing) or tenant.release != mark
        heads.append(
            Head(tenant.slug, tenant.schema_name, tenant.state, behind, len(has), missing, tenant.migration_error)
        )
    return heads


def migrate(report: Callable[[str], None] = print, only: Iterable[str] | None = None) -> Outcome:
    """Bring all tenants (or those whose slug or schema is in ``only``) to this release. May be killed and run again.

    One process at a time: a second one waits, and then finds nothing to do.
    """
    owner = connections["owner"]
    outcome = Outcome()
    with platform_context():
        mark = release.fingerprint(template.postgres_major(owner))
        behind = Tenant.objects.using("owner").exclude(release=mark).order_by("created_at")
        if not behind.exists():
            return outcome
        with locks.held(owner, locks.FLEET):
            chosen = None if only is None else set(only)
            tenants = [t for t in behind.all() if chosen is None or {t.slug, t.schema_name} & chosen]
            _Run(owner, mark, len(tenants), report, outcome).all(tenants)
            _forget_old_templates(mark)
    if outcome.failed:
        report(f"{len(outcome.failed)} of {len(tenants)} tenants stayed behind; `ostoja fleet status` says why.")
    return outcome


def _forget_old_templates(mark: str) -> None:
    used = Tenant.objects.using("owner").values_list("release", flat=True).distinct()
    Template.objects.using("owner").exclude(release__in=[mark, *used]).delete()


class _KnownLoader(MigrationLoader):
    """Plans from a state that is known already, without a database."""

    def __init__(self, applied: Iterable[str]):
        self._known = {tuple(name.split(".", 1)): None for name in applied}
        super().__init__(None)

    @property
    def applied_migrations(self):
        """(app, name) of every applied migration."""
        return self._applied

    @applied_migrations.setter
    def applied_migrations(self, _nothing_without_a_connection):
        self._applied = dict(self._known)


@dataclass
class _Record:
    """What brought one tenant from a state to this release: replayed in the others of that state."""

    before: list[str]
    script: str


class _Run:
    """One run over the fleet."""

    def __init__(self, owner, mark: str, total: int, report: Callable[[str], None], outcome: Outcome):
        self.owner = owner
        self.mark = mark
        self.total = total
        self.report = report
        self.outcome = outcome

    def all(self, tenants: list[Tenant]) -> None:
        """Migrate group by group; those that were busy come again at the end, with pauses."""
        heads = {
            schema: tuple(names or ())
            for schema, names, _n in over_tenants(self.owner, HEADS, states=Tenant.State.values)
        }
        groups: dict[tuple, list[Tenant]] = defaultdict(list)
        for tenant in tenants:
            if tenant.schema_name in heads:
                groups[(heads[tenant.schema_name], tenant.release)].append(tenant)
            else:
                self._failed(tenant, "Its schema can't be read.")
        busy: list[tuple[Tenant, _Record | None]] = []
        for (applied, made_by), group in groups.items():
            plan = self._plan(applied)
            record: _Record | None = None
            for tenant in group:
                try:
                    if record is None:
                        record = self._run_and_record(tenant, plan, list(applied), made_by)
                    else:
                        self._replay(tenant, record)
                except Exception as error:  # one bad tenant blocks no other, whatever is wrong with it
                    if _is_busy(error):
                        busy.append((tenant, record))
                    else:
                        self._failed(tenant, error)
                else:
                    self._done(tenant)
        for attempt in range(1, ATTEMPTS):
            if not busy:
                return
            time.sleep(0.5 * attempt)
            busy = [
                (tenant, record) for tenant, record in busy if not self._again(tenant, record, attempt == ATTEMPTS - 1)
            ]

    def _again(self, tenant: Tenant, record: _Record | None, last: bool) -> bool:
        """Try a busy tenant again; True when it need not be tried once more."""
        try:
            if record is not None:
                self._replay(tenant, record)
            else:
                applied = next(names for schema, names in self._applied_of(tenant))
                self._run_and_record(tenant, self._plan(tuple(applied)), applied, tenant.release)
        except Exception as error:
            if _is_busy(error) and not last:
                return False
            self._failed(
                tenant, "Its tables were in use all the time; run the migration again." if _is_busy(error) else error
            )
        else:
            self._done(tenant)
        return True

    def _applied_of(self, tenant: Tenant):
        with platform_context(), self.owner.cursor() as cursor:
            cursor.execute(HEADS.replace("{schema}", tenant.schema_name))
            yield tenant.schema_name, list(cursor.fetchone()[0] or ())

    def _done(self, tenant: Tenant) -> None:
        try:
            finishing.finish(tenant)
        except Exception as error:
            with platform_context():
                Tenant.objects.using("owner").filter(pk=tenant.pk).update(release="")
            self._failed(tenant, error)
            return
        self.outcome.migrated.append(tenant.schema_name)
        if (number := len(self.outcome.migrated)) % 10 == 0 or number == self.total:
            self.report(f"Tenants migrated: {number} of {self.total}")

    def _failed(self, tenant: Tenant, error: object) -> None:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
        reason = " ".join(reason.split())[:2000]
        log.error("Tenant %s was not migrated: %s", tenant.schema_name, reason)
        self.outcome.failed[tenant.schema_name] = reason
        with platform_context():
            if self.owner.connection is not None and self.owner.needs_rollback:
                self.owner.close()
            Tenant.objects.using("owner").filter(pk=tenant.pk).update(migration_error=reason)

    def _plan(self, applied: tuple[str, ...]) -> list:
        """The migrations that are missing, in their order."""
        executor = MigrationExecutor(None)
        executor.loader = _KnownLoader(applied)
        return [migration for migration, _backwards in executor.migration_plan(template.targets(executor.loader))]

    def _run_and_record(self, tenant: Tenant, plan: list, applied: list[str], made_by: str) -> _Record | None:
        """Migrate with Django's executor; the record of it, or None when another tenant needs the executor too."""
        owner = self.owner
        if any(not migration.atomic for migration in plan):
            self._run_in_steps(tenant)
            return None
        with schema_context(tenant.schema_name), transaction.atomic(using="owner"):
            self._begin(tenant)
            owner.recording = []
            try:
                if plan:
                    template.run_migrations(owner)
                statements = owner.recording
            finally:
                owner.recording = None
            finish = self._finish(tenant.schema_name, statements, made_by)
            _execute(owner, finish)
            self._stamp(tenant)
        schema = tenant.schema_name
        if any(_reads_data(o) for m in plan for o in m.operations) or any(schema in s for s in statements):
            return None
        rows = ", ".join(f"('{m.app_label}', '{m.name}', now())" for m in plan)
        book = [f"INSERT INTO django_migrations (app, name, applied) VALUES {rows}"] if rows else []
        script = ";\n".join([*(s.rstrip().rstrip(";") for s in statements), *book, *finish]).replace(
            schema, template.PLACEHOLDER
        )
        return _Record(applied, script)

    def _run_in_steps(self, tenant: Tenant) -> None:
        """Migrate with Django's executor, a transaction for each migration: for those that can't run inside one."""
        owner = self.owner
        with schema_context(tenant.schema_name):
            with owner.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            try:
                template.migrate_schema(owner)
                with transaction.atomic(using="owner"):
                    _execute(owner, grants.schema_sql(tenant.schema_name))
                    self._stamp(tenant)
            finally:
                with owner.cursor() as cursor:
                    cursor.execute("RESET lock_timeout")

    def _replay(self, tenant: Tenant, record: _Record) -> None:
        with schema_context(tenant.schema_name), transaction.atomic(using="owner"):
            self._begin(tenant)
            with self.owner.cursor() as cursor:
                cursor.execute(HEADS.replace("{schema}", tenant.schema_name))
                if list(cursor.fetchone()[0] or ()) != record.before:
                    raise RuntimeError("Its migrations changed meanwhile; run the migration again.")
            _execute(self.owner, [record.script.replace(template.PLACEHOLDER, tenant.schema_name)])
            self._stamp(tenant)

    def _begin(self, tenant: Tenant) -> None:
        with self.owner.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {ACTOR}")
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [tenant.lock_number, locks.FLEET])

    def _finish(self, schema: str, statements: list[str], made_by: str) -> list[str]:
        """The finishing statements that the tenant has not run, and its grants when there is anything new to grant.

        A table that was made, renamed or rebuilt has lost its triggers: then all run.
        """
        rebuilt = any("CREATE TABLE" in s or "RENAME TO" in s for s in statements)
        known = Template.objects.using("owner").filter(release=made_by).first() if made_by and not rebuilt else None
        done = set(known.finishing) if known else set()
        todo = [s for s in finishing_sql() if template.mark_of(s) not in done]
        anything = rebuilt or known is None or any("FUNCTION" in s for s in [*statements, *todo])
        return [*todo, *(grants.schema_sql(schema) if anything else [])]

    def _stamp(self, tenant: Tenant) -> None:
        with self.owner.cursor() as cursor:
            cursor.execute(
                "UPDATE public.tenancy_tenant SET release = %s, migration_error = '' WHERE id = %s",
                [self.mark, tenant.pk],
            )


def _execute(connection, statements: list[str]) -> None:
    """Run statements that stand for themselves, in one round trip."""
    if statements:
        with connection.cursor() as cursor:
            cursor.execute(";\n".join(statements))


def _reads_data(operation) -> bool:
    """Whether an operation needs the tenant's rows, so that its SQL is no one else's."""
    if isinstance(operation, SeparateDatabaseAndState):
        return any(_reads_data(inner) for inner in operation.database_operations)
    return not operation.reduces_to_sql


def _is_busy(error: BaseException) -> bool:
    cause = error.__cause__
    return getattr(cause, "pgcode", None) in BUSY
