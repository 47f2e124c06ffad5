"""``ostoja site``: link an installation on the premises with one in the cloud, see how the links are, compare both sides."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import typer

from ostoja.cli.opening import Json, answer, console, declaration, opened, table
from ostoja.kernel import outbound
from ostoja.kernel.errors import Refused

site = typer.Typer(
    no_args_is_help=True,
    help="The sites on which a hybrid tenant lives. Of all programs of an installation only the agent, `enrol` and `verify` "
    "connect to other sites, and they to nothing else.",
)
TenantOption = Annotated[
    str,
    typer.Option(
        "--tenant", metavar="T", help="The tenant's address. [default: the only hybrid one]", show_default=False
    ),
]

COLUMNS = [
    "tenant", "site", "state", "health", "to_send", "to_take", "conflicts", "parked", "purges", "seen", "equal", "key_days",
]  # fmt: skip


@site.command()
def invite(
    tenant: Annotated[str, typer.Option(metavar="T", help="The tenant's address.")],
    kind: Annotated[str, typer.Option(help="`premises` or `desktop`.")] = "premises",
    as_json: Json = False,
) -> None:
    """In the cloud, for the premises; or on the premises, for a laptop (`--kind desktop`): make a one-time code, valid for 15
    minutes, by which another site of the tenant joins here."""
    with opened():
        from ostoja.hybrid.enrolment import invite as make
        from ostoja.kernel.actors import Actor
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(tenant)):
            code = make(Actor.system("Command line"), kind)
    answer({"code": code, "minutes": 15}, as_json, lambda told: print(told["code"]))


@site.command()
def enrol(
    url: Annotated[
        str,
        typer.Option(help="The tenant's address at the site that gave the code, such as https://company.example.com."),
    ],
    code: Annotated[str, typer.Option(help="The one-time code that `ostoja site invite` gave there.")],
    name: Annotated[str, typer.Option(help="What this site is called.")] = "",
    address: Annotated[
        str,
        typer.Option(
            help="Where browsers find this site, such as https://office.example.com; `ostoja site address` says it later."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """On the premises, or on a laptop: join the tenant of the site that gave the code. Everything it has comes here; only HTTPS
    from here to there is needed. The installation must be declared with `kind = "hybrid"`."""
    outbound.begin(outbound.GIVEN)
    if (kind := declaration().installation.kind) != "hybrid":
        raise Refused(
            f"This installation is {kind}, so that nothing here would speak to the other site: "
            'set `kind = "hybrid"` below `[installation]` in ostoja.toml, start `ostoja up` again, and enrol then.'
        )
    with opened():
        from ostoja.hybrid import reaching
        from ostoja.hybrid.dialling import place_of
        from ostoja.hybrid.joining import join
        from ostoja.kernel.actors import Actor
        from ostoja.tenancy.context import tenant_context

        outbound.reach([place_of(url)])
        address = address and reaching.origin(address)
        link, tenant = join(url, code, name or socket.gethostname(), console().print)
        if address:
            with tenant_context(tenant):
                reaching.set_address(Actor.system("Command line"), address)
        facts = {"tenant": tenant.slug, "link": str(link.pk), "fingerprint": link.fingerprint}
    answer(facts, as_json, lambda told: print(
        f"Linked. Compare these words with those at the other site (Settings, Links): {told['fingerprint']}\n"
        f"Passwords do not travel: `ostoja tenant password {told['tenant']} --user EMAIL` gives a person's link to set one here."
    ))  # fmt: skip


@site.command()
def address(
    url: Annotated[
        str | None,
        typer.Argument(help="Such as https://office.example.com; `-` takes it away. Without it: says the present one."),
    ] = None,
    tenant: TenantOption = "",
    as_json: Json = False,
) -> None:
    """On the premises: say where browsers find this site, so that pages of the cloud can show what is kept here, in frames."""
    with opened():
        from ostoja.hybrid import reaching
        from ostoja.kernel.actors import Actor
        from ostoja.tenancy.context import tenant_context

        found = _tenants(tenant)
        if len(found) != 1:
            raise Refused("Say which tenant: `--tenant ADDRESS`.")
        with tenant_context(found[0]):
            if url is not None:
                system = Actor.system("Command line")
                reaching.set_address(system, "" if url == "-" else url)
            facts = {"tenant": found[0].slug, "address": reaching.own_address(), "framed_by": reaching.parent_origin()}
    answer(
        facts, as_json, lambda told: print(told["address"] or "No address was said: `ostoja site address https://…`")
    )


@site.command()
def status(tenant: TenantOption = "", as_json: Json = False) -> None:
    """How every link is: state, changes not yet there and not yet here, conflicts, what is parked, purges, last comparison."""
    with opened():
        facts = [_status(one) for one in _tenants(tenant)]
        rows = [line for lines in facts for line in lines]

    def show(told: list[dict[str, Any]]) -> None:
        table(COLUMNS, [[r[c] for c in COLUMNS] for r in told], "No tenant here is hybrid.")
        for row in told:
            for sentence in row["problems"]:
                print(f"{row['site']}: {sentence}")

    answer(rows, as_json, show)


@site.command()
def verify(
    tenant: TenantOption = "",
    repair: Annotated[bool, typer.Option("--repair", help="Send again what differs.")] = False,
    as_json: Json = False,
) -> None:
    """On the premises: compare both sides; says `equal`, or lists what differs and why."""
    outbound.begin(outbound.GIVEN)
    with opened():
        from ostoja.hybrid.agent import links_to_dial
        from ostoja.hybrid.dialling import places_of
        from ostoja.hybrid.joining import compare_sites

        tenants = _tenants(tenant)
        outbound.reach(places_of(url for dials, _link, url in links_to_dial() if dials in tenants))
        found: list[dict[str, Any]] = []
        for one in tenants:
            found += compare_sites(one, repair=repair)
    columns = ["tenant", "model", "record", "why"]
    answer(
        {"equal": not found, "differences": found}, as_json,
        lambda told: table(columns, [[d[c] for c in columns] for d in told["differences"]], "equal"),
    )  # fmt: skip
    if found:
        way_out = "Sent again: verify once more." if repair else "`ostoja site verify --repair` sends again."
        raise Refused(f"{_records(len(found))} {'differs' if len(found) == 1 else 'differ'}. {way_out}")


@site.command()
def policy(
    tenant: TenantOption = "",
    of: Annotated[str, typer.Option("--object", metavar="O", help="Of one object only, such as sales.deal.")] = "",
    as_json: Json = False,
) -> None:
    """What leaves the premises: for every object the fields that are open, and why its records stay where they do."""
    with opened():
        rows = [line for one in _tenants(tenant) for line in _leaving(one, of)]
    answer(rows, as_json, lambda told: table(
        ["tenant", "object", "leaves", "stays"],
        [[r["tenant"], r["object"], ", ".join(r["leaves"]) or "-", r["why"] or ", ".join(r["stays"])] for r in told],
        "No tenant here is hybrid.",
    ))  # fmt: skip


WhatArgument = Annotated[str, typer.Argument(metavar="OBJECT", help="Such as sales.deal.")]
RecordArgument = Annotated[str, typer.Argument(metavar="ID", help="The record's id.")]
TenantName = Annotated[str, typer.Option("--tenant", metavar="T", help="The tenant's address.")]


@site.command()
def mark(
    what: WhatArgument,
    record: RecordArgument,
    tenant: TenantName,
    sealed: Annotated[bool, typer.Option("--sealed", help="On the premises too, only for whom it concerns.")] = False,
    as_json: Json = False,
) -> None:
    """On the premises: mark a record as sensitive. With its parts, history and files it leaves the cloud; nothing new of it goes there."""
    _change_mark(what, record, tenant, "seal" if sealed else "keep", as_json)


@site.command("open")
def open_again(what: WhatArgument, record: RecordArgument, tenant: TenantName, as_json: Json = False) -> None:
    """On the premises: take the mark away. The record and its parts go to the cloud as they are now, without what was before."""
    _change_mark(what, record, tenant, "open", as_json)


def _change_mark(what: str, record: str, tenant: str, wish: str, as_json: bool) -> None:
    with opened():
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(tenant)):
            told = _marked(what, record, wish)
    answer(told, as_json, lambda said: console().print(f"{said['label']}. {_records(said['changed'])} changed."))


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _marked(what: str, record: str, wish: str) -> dict[str, Any]:
    """Keep, seal or open a record; where it stands then."""
    from ostoja.hybrid import marking
    from ostoja.hybrid.core.terms import LOCAL, SEALED

    system, found = _record(what, record)
    if wish == "open":
        changed = marking.open_again(system, found)
    else:
        changed = marking.mark(system, found, {"keep": LOCAL, "seal": SEALED}[wish])
    stands = marking.standing_of(found)
    return {"object": what, "record": str(found.pk), "state": stands.state, "label": stands.label, "changed": changed}


@site.command()
def insiders(
    what: WhatArgument,
    record: RecordArgument,
    tenant: TenantName,
    let_in: Annotated[str, typer.Option(metavar="EMAIL", help="Let this person see it.")] = "",
    shut_out: Annotated[str, typer.Option(metavar="EMAIL", help="Take this person's name off the list.")] = "",
    as_json: Json = False,
) -> None:
    """On the premises: who may see a sealed record, besides its owner and the owners of the tenant; name people, or take names off."""
    with opened():
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(tenant)):
            rows = _insiders(what, record, let_in, shut_out)
    columns = ["email", "name", "sealed_it"]
    answer(
        rows, as_json, lambda told: table(columns, [[r[c] for c in columns] for r in told], "Nobody is on the list.")
    )


def _record(what: str, record: str) -> tuple:
    """(who acts, the record). Raises NotFound."""
    from ostoja.access.policy import find
    from ostoja.kernel import registry
    from ostoja.kernel.actors import Actor
    from ostoja.kernel.errors import NotFound

    entry, system = registry.get(what), Actor.system("Command line")
    if entry is None:
        raise NotFound(f"There is no object “{what}”. Write it like sales.deal.")
    return system, find(system, entry.model, record)


def _insiders(what: str, record: str, let_in: str, shut_out: str) -> list[dict[str, Any]]:
    from ostoja.access.models import User
    from ostoja.hybrid import sealing
    from ostoja.kernel.errors import NotFound

    system, found = _record(what, record)
    for email, act in ((let_in, sealing.let_in), (shut_out, sealing.shut_out)):
        if email:
            person = User.objects.filter(email=email.strip().lower()).first()
            if person is None:
                raise NotFound(f"Nobody here has the address {email}.")
            act(system, found, person)
    return [
        {"email": one.user.email, "name": one.user.name, "sealed_it": one.sealer}
        for one in sealing.circle_of(found).insiders
    ]


LinkName = Annotated[
    str, typer.Option(help="The link's id, or the site's name. [default: the only one]", show_default=False)
]


@site.command()
def rotate(tenant: TenantName, link: LinkName = "") -> None:
    """Change the keys of a link: both sites take new ones at the next exchange, and the old ones end with their first use."""
    _do(tenant, link, "rotate")
    console().print("Both sites take new keys at their next exchange.")


@site.command()
def reopen(tenant: TenantName, link: LinkName = "") -> None:
    """Open a link again that was locked because two sites used its key. Switch the copy off before; the keys change at once."""
    _do(tenant, link, "reopen")
    console().print("The link is open again; both sites take new keys at once.")


@site.command()
def revoke(tenant: TenantName, link: LinkName = "") -> None:
    """Close a link at once: nothing is sent or taken over it any more. It can't be opened again; enrol anew."""
    _do(tenant, link, "revoke")
    console().print("The link is closed.")


@site.command()
def renew(tenant: TenantOption = "", as_json: Json = False) -> None:
    """After a backup was restored here, and before `ostoja up`: begin anew, closed to people until the other sites have told
    what the backup forgot. Of a machine that was copied, renew the copy that goes on; the other falls silent."""
    with opened():
        from ostoja.hybrid.renewing import renew as begin_anew
        from ostoja.tenancy.context import tenant_context

        renewed = []
        for one in _tenants(tenant):
            with tenant_context(one):
                renewed.append({"tenant": one.slug, "incarnation": begin_anew() >> 32})
    answer(renewed, as_json, lambda told: table(
        ["tenant", "incarnation"], [[r["tenant"], r["incarnation"]] for r in told], "No tenant here is hybrid."
    ))  # fmt: skip


def _do(tenant: str, wanted: str, verb: str) -> None:
    """A verb on the link that is meant. Raises NotFound when it is not there, or not the only one."""
    with opened():
        from ostoja.gate import perform
        from ostoja.hybrid.models import Link
        from ostoja.kernel.actors import Actor
        from ostoja.kernel.errors import NotFound
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(tenant)):
            links = Link.objects.exclude(state=Link.State.REVOKED).select_related("site")
            found = [one for one in links if wanted in ("", str(one.pk), str(one.site))]
            if len(found) != 1:
                names = ", ".join(f"“{one.site}”" for one in links) or "none"
                raise NotFound(f"Name one link with --link; there are: {names}.")
            perform(Actor.system("Command line"), found[0], verb)


def _tenants(wanted: str) -> list:
    from django.db import connections

    from ostoja.tenancy.context import platform_context
    from ostoja.tenancy.fleet import over_tenants
    from ostoja.tenancy.models import Tenant
    from ostoja.tenancy.provisioning import find

    if wanted:
        return [find(wanted)]
    found = over_tenants(
        connections["owner"], "SELECT 1 FROM {schema}.hybrid_site WHERE here", states=("open", "building", "catching")
    )
    schemas = [schema for schema, _one in found]
    with platform_context():
        return list(Tenant.objects.filter(schema_name__in=schemas).order_by("slug"))


def _status(tenant) -> list[dict[str, Any]]:
    from ostoja.hybrid.health import health_of, sentences
    from ostoja.hybrid.models import Link
    from ostoja.tenancy.context import tenant_context

    lines = []
    with tenant_context(tenant):
        for link in Link.objects.select_related("site", "progress"):
            found, progress = health_of(link), link.progress
            lines.append({
                "tenant": tenant.slug, "site": str(link.site), "link": str(link.pk), "fingerprint": link.fingerprint,
                "state": link.state if progress.loaded or not link.dials else "first load", "health": found.state,
                "to_send": found.to_send.changes, "to_send_seconds": round(found.to_send.seconds, 1),
                "to_take": found.to_take.changes, "to_take_seconds": round(found.to_take.seconds, 1),
                "conflicts": found.conflicts, "parked": found.parked, "purges": found.purges, "seen": progress.seen_at,
                "unsequenced_since": found.unsequenced_at, "parked_since": found.parked_at, "purges_since": found.purged_at,
                "skew_ms": progress.skew_ms, "bytes_in": progress.bytes_in, "bytes_out": progress.bytes_out,
                "bytes_in_today": found.day[0], "bytes_out_today": found.day[1], "equal": progress.equal_at,
                "equal_within_a_day": found.is_equal, "key_days": found.key_days, "generation": found.use.generation,
                "problem": found.use.trouble, "problems": sentences(found),
            })  # fmt: skip
    return lines


def _leaving(tenant, of: str) -> list[dict[str, Any]]:
    from ostoja.hybrid.levels import objects
    from ostoja.hybrid.sites import policy_in_force
    from ostoja.hybrid.standing import is_cloud, travelling
    from ostoja.kernel.errors import NotFound
    from ostoja.tenancy.context import tenant_context

    with tenant_context(tenant):
        tables = travelling("cloud") if is_cloud() else None
        found = objects(policy_in_force(), of, tables)
        if of and not found:
            raise NotFound(f"There is no object “{of}”. Write it like sales.deal.")
        return [
            {
                "tenant": tenant.slug, "object": one.label, "why": one.stays,
                "leaves": [] if one.stays else [f.field.name for f in one.fields if f.level == 0],
                "stays": [f.field.name for f in one.fields if one.stays or f.level > 0],
            }
            for one in found
            if one.travels
        ]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(site, name="site")
