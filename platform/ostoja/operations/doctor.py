"""The doctor looks an installation over: each check says what it found and, unless all is well, what to do."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import redis
from django.conf import settings
from django.db import OperationalError, connections
from django.utils import timezone

from ostoja.kernel import outbound
from ostoja.kernel.errors import NotFound
from ostoja.operations.database import EXTENSIONS, LEAST_VERSION
from ostoja.operations.embedded.service import LEAST_FREE_BYTES
from ostoja.tenancy import fleet, locks, platform_schema, pool, release, template
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import Tenant

OK, WARN, FAIL = "ok", "warn", "fail"
SCARCE_BYTES = 5_000_000_000
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What one check found: its ``state`` is ``ok``, ``warn`` or ``fail``; ``advice`` is empty when all is well."""

    name: str
    state: str
    what: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Patient:
    """What the checks look at: the home of the installation, and the tenants."""

    home: Path
    tenants: tuple[Tenant, ...] = ()

    def named(self, schemas: Iterable[str]) -> str:
        """The addresses of the tenants that have these schemas; the first few."""
        by_schema = {tenant.schema_name: tenant.slug for tenant in self.tenants}
        return _some(by_schema.get(schema, schema) for schema in schemas)


Verdict = tuple[str, str] | tuple[str, str, str]
Check = Callable[[Patient], Iterator[Verdict] | Verdict]
NOTHING, DATABASE, PREPARED = 0, 1, 2
CHECKS: list[tuple[str, Check, int]] = []


def check(name: str, needs: int = PREPARED):
    """Register a check: it answers, or yields, (state, what) or (state, what, advice).

    It ``needs`` NOTHING, a DATABASE, or one that is PREPARED: with the shared tables of this release.
    """

    def register(function: Check) -> Check:
        CHECKS.append((name, function, needs))
        return function

    return register


def examine(home: Path, tenant: str | None = None, only: Collection[str] = ()) -> list[Finding]:
    """Make all checks, or the ones named in ``only``; with ``tenant`` (its address) they look at that tenant only.

    A check that breaks is a finding, too. What a check needs and is not there is a finding of its own.
    Raises NotFound for an address that no tenant has, and for a name that no check has.
    """
    names = [name for name, _function, _needs in CHECKS]
    if unknown := [name for name in only if name not in names]:
        raise NotFound(f"There is no check “{unknown[0]}”: the checks are {', '.join(names)}.")
    findings: list[Finding] = []
    with platform_context():
        patient, there = _look_at(home, tenant)
        for name, function, needs in CHECKS:
            if needs <= there and (not only or name in only):
                findings += _carry_out(name, function, patient)
    return findings


def _look_at(home: Path, tenant: str | None) -> tuple[Patient, int]:
    """What there is to look at, and what the checks may count on."""
    try:
        connections["owner"].ensure_connection()
        connections["default"].ensure_connection()
    except OperationalError:
        return Patient(home), NOTHING
    if platform_schema.pending(connections["owner"]):
        return Patient(home), DATABASE
    tenants = Tenant.objects.exclude(state=Tenant.State.DELETED).order_by("slug")
    chosen = tuple(tenants.filter(slug=tenant) if tenant else tenants)
    if tenant and not chosen:
        raise NotFound(f"No tenant has the address “{tenant}”: `ostoja tenant list` shows all.")
    return Patient(home, chosen), PREPARED


def _carry_out(name: str, function: Check, patient: Patient) -> list[Finding]:
    try:
        found = function(patient)
        verdicts = [found] if isinstance(found, tuple) else list(found)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return [Finding(name, FAIL, f"The check could not be made: {reason}", "Mend what it says, then look again.")]
    return [Finding(name, *verdict) for verdict in verdicts]


def _rows(sql: str, parameters: Iterable = (), alias: str = "owner") -> list[tuple]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return cursor.fetchall()


def _some(words: Iterable[str]) -> str:
    words = list(words)
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


# The machine and the services


@check("disk", NOTHING)
def _disk(patient: Patient) -> Iterator[Verdict]:
    """Room for the database, the files and the logs."""
    places = [patient.home, Path(settings.STORAGES["default"]["OPTIONS"]["location"])]
    for path in {next(p for p in (place, *place.parents) if p.exists()) for place in places}:
        free = shutil.disk_usage(path).free
        state = FAIL if free < LEAST_FREE_BYTES else WARN if free < SCARCE_BYTES else OK
        yield (
            state,
            f"{free / 1e9:.1f} GB are free for {path}.",
            "" if state == OK else "Make room, or move the data to a larger disk.",
        )


@check("secrets", NOTHING)
def _secrets(patient: Patient) -> Verdict:
    """Nobody else may read them."""
    folder = patient.home / "secrets"
    open_ones = [p for p in (folder, *folder.glob("*")) if p.exists() and p.stat().st_mode & 0o077]
    if open_ones:
        return FAIL, f"Others may read {_some(map(str, open_ones))}.", f"chmod -R go= {folder}"
    return OK, "Only their owner can read them."


@check("database", NOTHING)
def _database(_patient: Patient) -> Iterator[Verdict]:
    """Both roles can log in, and the server is new enough."""
    for alias in ("owner", "default"):
        try:
            connections[alias].ensure_connection()
        except Exception as error:
            advice = "Start it with `ostoja up`, or mend database.url in ostoja.toml."
            yield FAIL, f"The {alias} role can't connect: {' '.join(str(error).split())}", advice
            return
    ((number, version, encoding),) = _rows(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding')"
    )
    if number < LEAST_VERSION:
        yield FAIL, f"It is PostgreSQL {version}.", f"Move to PostgreSQL {LEAST_VERSION // 10000} or newer."
    elif encoding != "UTF8":
        yield FAIL, f"Its encoding is {encoding}.", "Make a database with encoding UTF8 and move the data there."
    else:
        yield OK, f"PostgreSQL {version}."


@check("clock", DATABASE)
def _clock(_patient: Patient) -> Verdict:
    """The database's clock and ours agree: deadlines, signatures and the order of changes rest on it."""
    before = time.time()
    ((theirs,),) = _rows("SELECT extract(epoch FROM clock_timestamp())::double precision")
    off = max(before - theirs, theirs - time.time(), 0.0)
    if off > 2:
        return (
            (FAIL if off > 60 else WARN),
            f"The database's clock is {off:.0f} s off.",
            "Let both machines keep time by NTP.",
        )
    return OK, "The database's clock agrees with this machine's."


@check("extensions", DATABASE)
def _extensions(_patient: Patient) -> Verdict:
    """What searching and constraints are built on."""
    there = {row[0] for row in _rows("SELECT extname FROM pg_extension")}
    if missing := [extension for extension in EXTENSIONS if extension not in there]:
        commands = " ".join(f"CREATE EXTENSION {extension} SCHEMA public;" for extension in missing)
        return FAIL, f"The database lacks {_some(missing)}.", f"Let the database's administrator run: {commands}"
    return OK, f"{_some(EXTENSIONS)} are there."


def _broker_facts() -> dict:
    client = redis.from_url(settings.CACHES["default"]["LOCATION"], socket_connect_timeout=3, socket_timeout=3)
    return client.info()


@check("broker", NOTHING)
def _broker(_patient: Patient) -> Verdict:
    """Carries jobs to the workers and holds the cache."""
    try:
        facts = _broker_facts()
    except redis.RedisError as error:
        return FAIL, f"It does not answer: {error}", "Start it with `ostoja up`, or mend broker.url in ostoja.toml."
    limit, used = facts.get("maxmemory", 0), facts.get("used_memory", 0)
    if limit and used > 0.9 * limit:
        return (
            WARN,
            f"Its memory is nearly full ({used // 1_000_000} of {limit // 1_000_000} MB).",
            "Raise its maxmemory.",
        )
    return (
        OK,
        f"{facts.get('server_name', 'redis').capitalize()} {facts.get('valkey_version') or facts.get('redis_version')} answers.",
    )


@check("mail", NOTHING)
def _mail(_patient: Patient) -> Verdict:
    """Whether mail gets out."""
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        if settings.DEVELOPMENT:
            return OK, "Mail is kept in the home and not sent: this is a development installation."
        return (
            WARN,
            "Mail is kept in the home and not sent.",
            'Name a mail server: [mail] url = "smtp://user:password@host:587" in ostoja.toml.',
        )
    try:
        with socket.create_connection((settings.EMAIL_HOST, settings.EMAIL_PORT), timeout=3):
            return OK, f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT} answers."
    except OSError as error:
        return (
            FAIL,
            f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT} can't be reached: {error}",
            "Mend mail.url in ostoja.toml.",
        )


# What leaves


@check("outbound", NOTHING)
def _outbound(patient: Patient) -> Iterator[Verdict]:
    """Programs connect to nothing that nobody named; to other sites the agent alone does."""
    from ostoja.hybrid.agent import links_to_dial
    from ostoja.hybrid.dialling import places_of

    if not outbound.is_closed():
        yield (
            FAIL,
            "The way out is open: programs connect wherever they like.",
            "Start them with `ostoja up`, unchanged.",
        )
        return
    named = settings.OUTBOUND["named"]
    sites = places_of(url for *_link, url in links_to_dial()) if patient.tenants else frozenset()
    if past := [(host, port) for host, port in named if any(host == h and port in (p, None) for h, p in sites)]:
        yield (
            WARN,
            f"outbound.hosts names {_places(past)}, another site of a tenant: any program could send there, past the sync.",
            "Take it out of outbound.hosts in ostoja.toml: the agent needs no setting.",
        )
        return
    ways = {"workers": settings.OUTBOUND["mail"], "the agent": sites, "all but the agent": named}
    beside = "; ".join(f"{who} {_places(places)}" for who, places in ways.items() if places)
    yield OK, f"The way out is closed. Programs reach the database and the broker{f'; {beside}' if beside else ''}."


def _places(places: Iterable[outbound.Place]) -> str:
    return _some(f"{host}:{'*' if port is None else port}" for host, port in sorted(places, key=str))


QUIET = {
    "log_min_messages": ("log", "fatal", "panic"),
    "log_min_error_statement": ("panic",),
    "log_error_verbosity": ("terse",),
    "log_statement": ("none",),
    "log_min_duration_statement": ("-1",),
    "log_min_duration_sample": ("-1",),
    "log_transaction_sample_rate": ("0",),
    "log_parameter_max_length_on_error": ("0",),
}


@check("log", DATABASE)
def _log(_patient: Patient) -> Verdict:
    """What people enter is not in the database's log: its errors quote values, and statements hold them."""
    found = dict(_rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(QUIET)]))
    loud = {name: quiet[0] for name, quiet in QUIET.items() if found.get(name, quiet[0]) not in quiet}
    if loud:
        commands = " ".join(f"ALTER SYSTEM SET {name} = '{value}';" for name, value in loud.items())
        return (
            WARN,
            f"Values may come into the database's log, by {_some(loud)}.",
            f"Keep that log on the premises, or let its administrator run: {commands} SELECT pg_reload_conf();",
        )
    return OK, "The database writes no values into its log."


# Rights


@check("roles", DATABASE)
def _roles(_patient: Patient) -> Iterator[Verdict]:
    """The role that serves requests has no right of its own on anybody's data."""
    app, owner = settings.DATABASES["default"]["USER"], settings.DATABASES["owner"]["USER"]
    if app == owner:
        yield (
            WARN,
            f"One role, {app}, does everything: the wall between tenants in the database is down.",
            "Name a second role in database.owner_url, and let database.url log in as a role that owns nothing.",
        )
        return
    found = _rows("SELECT rolsuper, rolbypassrls, rolcreaterole, rolinherit FROM pg_roles WHERE rolname = %s", [app])
    powers = (
        [name for name, has in zip(("SUPERUSER", "BYPASSRLS", "CREATEROLE", "INHERIT"), found[0], strict=True) if has]
        if found
        else []
    )
    if powers:
        yield (
            FAIL,
            f"The role {app} is {_some(powers)}.",
            f'ALTER ROLE "{app}" {" ".join("NO" + power for power in powers)};',
        )
    owned = _rows(
        "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = %s AND relkind IN ('r', 'p')",
        [app],
    )
    if owned[0][0]:
        yield FAIL, f"The role {app} owns {_count(owned[0][0], 'table')}.", f'REASSIGN OWNED BY "{app}" TO "{owner}";'
    if _rows("SELECT has_schema_privilege(%s, 'public', 'create')", [app])[0][0]:
        yield FAIL, f"The role {app} may create tables in public.", "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
    if not powers and not owned[0][0]:
        yield OK, f"{app} serves requests and owns nothing, {owner} owns the schemas."


STRANGERS_IN_SCHEMAS = """
    SELECT n.nspname, coalesce(r.rolname, 'PUBLIC')
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname ~ '^t_[a-z2-7]{26}$' AND a.grantee <> n.nspowner AND coalesce(r.rolname, '') <> 'r_' || n.nspname
      AND NOT (a.privilege_type = 'USAGE' AND coalesce(r.rolname, '') IN ('e_' || n.nspname, 's_' || n.nspname))
"""
STRANGERS_IN_TABLES = """
    SELECT n.nspname, coalesce(r.rolname, 'PUBLIC')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname ~ '^t_[a-z2-7]{26}$' AND a.grantee <> c.relowner AND coalesce(r.rolname, '') <> 'r_' || n.nspname
      AND NOT (c.relkind = 'v' AND a.privilege_type = 'SELECT' AND (coalesce(r.rolname, ''), split_part(c.relname, '_', 1))
        IN (('e_' || n.nspname, 'egress'), ('s_' || n.nspname, 'whole')))
    GROUP BY 1, 2
"""
STRANGE_MEMBERS = """
    SELECT g.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    WHERE (g.rolname ~ '^r_t_[a-z2-7]{26}$' AND m.rolname NOT IN (%s, %s) AND NOT m.rolsuper) OR m.rolname ~ '^r_t_[a-z2-7]{26}$'
"""
WITHOUT_RIGHTS = """
    SELECT n.nspname FROM pg_namespace n LEFT JOIN pg_roles r ON r.rolname = 'r_' || n.nspname
    WHERE n.nspname ~ '^t_[a-z2-7]{26}$' AND (r.oid IS NULL OR NOT has_schema_privilege(r.oid, n.oid, 'usage'))
"""


@check("grants", DATABASE)
def _grants(patient: Patient) -> Iterator[Verdict]:
    """A tenant's role has rights on its own schema, what speaks to its other sites reads its views, and nobody else has any there."""
    strangers = _rows(STRANGERS_IN_SCHEMAS) + _rows(STRANGERS_IN_TABLES)
    for schema, role in strangers[:SHOWN]:
        yield (
            FAIL,
            f"{role} has rights in the schema of {patient.named([schema])}.",
            f"REVOKE ALL ON SCHEMA {schema} FROM {role}; REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};",
        )
    members = _rows(STRANGE_MEMBERS, [settings.DATABASES["default"]["USER"], settings.DATABASES["owner"]["USER"]])
    for role, member in members[:SHOWN]:
        yield FAIL, f"{member} may act as {role}.", f'REVOKE "{role}" FROM "{member}";'
    without = [row[0] for row in _rows(WITHOUT_RIGHTS)]
    if without:
        yield (
            FAIL,
            f"The schemas of {patient.named(without)} lack their role or its rights.",
            "Run `ostoja fleet migrate`.",
        )
    if not (strangers or members or without):
        yield OK, "Each tenant's role has rights in its own schema only."


@check("names", DATABASE)
def _names(patient: Patient) -> Verdict:
    """A table in public with the name of a tenant's table would answer when the tenant's is missing."""
    twice = _rows(
        "SELECT DISTINCT p.relname FROM pg_class p JOIN pg_class t ON t.relname = p.relname AND t.relkind IN ('r', 'p', 'v', 'm')"
        " JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname ~ '^t_[a-z2-7]{26}$'"
        " WHERE p.relnamespace = 'public'::regnamespace AND p.relkind IN ('r', 'p', 'v', 'm')"
    )
    if twice:
        return (
            FAIL,
            f"{_some(row[0] for row in twice)} exist in public and in tenants.",
            "Drop or rename the one in public.",
        )
    return OK, "No table name exists both in public and in a tenant."


# The release


@check("migrations", DATABASE)
def _migrations(patient: Patient) -> Iterator[Verdict]:
    """Shared tables and tenants are at the release that this code is."""
    if waiting := platform_schema.pending(connections["owner"]):
        yield (
            FAIL,
            f"The shared tables wait for {_some(f'{app}.{name}' for app, name in waiting)}.",
            "Run `ostoja fleet migrate`.",
        )
        return
    chosen = {tenant.schema_name for tenant in patient.tenants}
    heads = [head for head in fleet.status() if head.schema in chosen]
    for head in [head for head in heads if head.behind][:SHOWN]:
        reason = head.error or f"it misses {_some(head.missing) or 'the finishing statements'}"
        yield FAIL, f"{head.slug} is not at this release: {reason}", "Run `ostoja fleet migrate`."
    behind = sum(head.behind for head in heads)
    if behind > SHOWN:
        yield FAIL, f"{behind} of {len(heads)} tenants are not at this release.", "Run `ostoja fleet migrate`."
    elif not behind:
        yield OK, f"The shared tables and {_count(len(heads), 'tenant')} are at this release."


@check("template")
def _template(_patient: Patient) -> Verdict:
    """New tenants are made of it."""
    if template.current() is None:
        return (
            WARN,
            "The template of this release was not built yet: the next sign-up waits for it.",
            "Run `ostoja fleet migrate`.",
        )
    return OK, "The template is of this release."


@check("pool")
def _pool(_patient: Patient) -> Verdict:
    """Ready schemas let a sign-up take a moment instead of seconds."""
    ((count,),) = _rows("SELECT count(*) FROM public.tenancy_readyschema WHERE release = %s", [_mark()])
    wanted = pool.minimum()
    if count < wanted:
        advice = "The schedule refills it; `ostoja fleet migrate` does it now."
        return WARN, f"{_count(count, 'schema')} waiting for sign-ups; {wanted} should be.", advice
    return OK, f"{_count(count, 'schema')} waiting for sign-ups."


def _mark() -> str:
    return release.fingerprint(template.postgres_major(connections["owner"]))


# Tenants


@check("tenants")
def _tenants(patient: Patient) -> Verdict:
    """None is stuck half-made."""
    stuck = [
        tenant
        for tenant in patient.tenants
        if tenant.state == Tenant.State.BUILDING and tenant.created_at < timezone.now() - timedelta(minutes=10)
    ]
    if stuck:
        reasons = "; ".join(f"{tenant.slug} ({tenant.reason or 'no reason kept'})" for tenant in stuck[:SHOWN])
        return WARN, f"Never finished: {reasons}.", "`ostoja tenant resume <address>` goes on where each stopped."
    waiting = sum(tenant.state == Tenant.State.SUSPENDED for tenant in patient.tenants)
    return OK, f"{_count(len(patient.tenants), 'tenant')}{f', {waiting} of them suspended' if waiting else ''}."


@check("jobs")
def _jobs(patient: Patient) -> Iterator[Verdict]:
    """Parked and overdue jobs of all tenants."""
    ours = {tenant.schema_name for tenant in patient.tenants}
    sql = (
        "SELECT count(*) FILTER (WHERE state = 'parked'), count(*) FILTER (WHERE state = 'queued' AND run_after < %s)"
        " FROM {schema}.jobs_job"
    )
    found = [
        row
        for row in fleet.over_tenants(connections["owner"], sql, [timezone.now() - timedelta(minutes=10)])
        if row[0] in ours
    ]
    parked = {schema: count for schema, count, _late in found if count}
    late = {schema: count for schema, _parked, count in found if count}
    if parked:
        yield (
            WARN,
            f"{_count(sum(parked.values()), 'job')} given up, in {patient.named(parked)}.",
            "Look at them under Jobs there, then retry or cancel.",
        )
    if late:
        yield (
            FAIL,
            f"{_count(sum(late.values()), 'job')} waiting for more than ten minutes, in {patient.named(late)}.",
            "Is a worker running? `ostoja up` starts one.",
        )
    if not parked and not late:
        yield OK, "No job was given up, none waits for long."


@check("schedule", DATABASE)
def _schedule(_patient: Patient) -> Verdict:
    """The schedule holds a lock in the database for as long as it runs."""
    held = _rows(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s AND objid = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [locks.OURS, locks.SCHEDULE],
    )
    if not held:
        return (
            WARN,
            "No schedule is running: lost jobs are not sent again, the pool is not refilled.",
            "Start it with `ostoja up`.",
        )
    return OK, "It is running."


@check("worker", NOTHING)
def _worker(_patient: Patient) -> Verdict:
    """Workers answer over the broker."""
    from ostoja.jobs.celery import app

    try:
        _broker_facts()  # Celery would try for long
    except redis.RedisError:
        return FAIL, "Without the broker no worker can be asked.", "Mend the broker first."
    workers = app.control.ping(timeout=1.5)
    if not workers:
        return WARN, "No worker answers: background jobs wait.", "Start one with `ostoja up`."
    return OK, f"{_some(sorted(name for answer in workers for name in answer))} answers."


@check("journal")
def _journal(patient: Patient) -> Iterator[Verdict]:
    """The hash chain of each tenant is recomputed: an edit, a hole or a missing end is found."""
    from ostoja.journal.chain import verify

    fine = changes = 0
    for tenant in patient.tenants:
        if tenant.state == Tenant.State.BUILDING:
            continue
        verdict = verify(tenant)
        if verdict:
            fine, changes = fine + 1, changes + verdict.head
        else:
            yield (
                FAIL,
                f"{tenant.slug}: {verdict.why}",
                "Somebody changed the journal behind Ostoja's back: keep a copy of the database as evidence, and compare with a backup.",
            )
    yield OK, f"{_count(fine, 'journal')} verified, {_count(changes, 'change')}."
