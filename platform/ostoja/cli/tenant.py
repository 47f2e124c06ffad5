"""``ostoja tenant``: the life of one tenant, from its creation to its end."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated, Any

import typer

from ostoja.cli.opening import Json, answer, console, opened, table

tenant = typer.Typer(no_args_is_help=True, help="One tenant: create, show, suspend, resume, delete, restore it.")

Address = Annotated[
    str, typer.Argument(metavar="TENANT", help="Its address (the part before the base domain), host name or schema.")
]


def facts_of(found) -> dict[str, Any]:
    """What is told of a tenant, to people and machines."""
    from ostoja.tenancy.provisioning import host_of

    return {
        "address": found.slug,
        "name": found.name,
        "state": str(found.state),
        "reason": found.reason,
        "host": host_of(found.slug),
        "schema": found.schema_name,
        "blueprint": found.blueprint,
        "plan": found.plan,
        "language": found.language,
        "currency": found.currency,
        "timezone": found.timezone,
        "created_at": found.created_at.isoformat(timespec="seconds"),
        "deleted_at": found.deleted_at.isoformat(timespec="seconds") if found.deleted_at else None,
    }


@tenant.command("list")
def list_tenants(
    everything: Annotated[
        bool, typer.Option("--all", help="Deleted ones too, as long as they can be restored.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the tenants."""
    with opened():
        from ostoja.tenancy.context import platform_context
        from ostoja.tenancy.models import Tenant

        with platform_context():
            tenants = Tenant.objects.order_by("slug")
            found = [facts_of(one) for one in (tenants if everything else tenants.exclude(state=Tenant.State.DELETED))]
    columns = ["address", "name", "state", "host", "blueprint", "created_at"]
    answer(
        found,
        as_json,
        lambda rows: table(columns, [[row[c] for c in columns] for row in rows], "There is no tenant yet."),
    )


@tenant.command()
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The part before the base domain.")],
    owner: Annotated[str, typer.Option("--owner", metavar="EMAIL", help="Who owns it and signs in first.")],
    name: Annotated[str, typer.Option(help="The company's name. [default: the address]", show_default=False)] = "",
    blueprint: Annotated[str, typer.Option(help="The industry: see `ostoja blueprint list`.")] = "general",
    language: Annotated[str, typer.Option(help="en or pl.")] = "en",
    currency: Annotated[str, typer.Option(help="Three letters. [default: the blueprint's]", show_default=False)] = "",
    samples: Annotated[
        bool, typer.Option("--samples", help="Add the blueprint's sample records; they can be removed in one go.")
    ] = False,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the owner's password from stdin; else one is made and shown once."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a tenant with its blueprint and its owner, and open it."""
    password = sys.stdin.readline().rstrip("\n") if password_stdin else secrets.token_urlsafe(12)
    with opened():
        from ostoja.access import passwords
        from ostoja.onboarding import signup

        passwords.check(password, (name, owner, address))
        signup.check_person(owner, language, currency)
        begun = signup.begin(
            name or address,
            address,
            email=owner,
            password=password,
            blueprint=blueprint,
            language=language,
            currency=currency.upper(),
            samples=samples,
        )
        done = signup.build(begun)
        facts = facts_of(done.tenant) | {"owner": done.user.email, "link": done.url}
        if not password_stdin:
            facts["password"] = password
    answer(facts, as_json, _show_facts)


@tenant.command()
def password(
    address: Address,
    user: Annotated[str, typer.Option("--user", metavar="EMAIL", help="The person who sets a new password.")],
    as_json: Json = False,
) -> None:
    """Give the link by which a person sets a new password: for an hour, and once. For where no mail goes out, and for a site that
    joined a hybrid tenant: passwords stay at the site where they were set."""
    with opened():
        from ostoja.access.models import User
        from ostoja.access.signin import reset_link
        from ostoja.kernel.errors import NotFound
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(address)) as found:
            person = User.objects.filter(email=user.strip().lower(), is_active=True).first()
            if person is None:
                raise NotFound(f"“{found.slug}” has no user “{user}” who may sign in.")
            facts = {"tenant": found.slug, "user": person.email, "link": reset_link(person), "minutes": 60}
    answer(facts, as_json, lambda told: print(told["link"]))


@tenant.command()
def show(address: Address, as_json: Json = False) -> None:
    """Show all about one tenant."""
    with opened():
        from ostoja.tenancy import fleet, provisioning

        found = provisioning.find(address)
        facts = facts_of(found)
        head = next((one for one in fleet.status() if one.schema == found.schema_name), None)
        if head is not None:
            facts |= {
                "migrations": head.applied,
                "migrations_missing": list(head.missing),
                "migration_error": head.error,
            }
    answer(facts, as_json, _show_facts)


def _show_facts(facts: dict[str, Any]) -> None:
    rows = [
        [label.replace("_", " "), ", ".join(value) if isinstance(value, list) else value]
        for label, value in facts.items()
        if value
    ]
    table(["", ""], rows, "")


@tenant.command()
def suspend(
    address: Address,
    reason: Annotated[str, typer.Option(help="Shown to its people instead of their data.")] = "",
    as_json: Json = False,
) -> None:
    """Close a tenant's door; its data stay."""
    _change(address, lambda provisioning, found: provisioning.suspend(found, reason), as_json, "is suspended")


@tenant.command()
def resume(address: Address, as_json: Json = False) -> None:
    """Open a suspended tenant again, or go on with one that stopped while it was built."""
    with opened():
        from ostoja.onboarding import signup
        from ostoja.tenancy import provisioning

        found = provisioning.find(address)
        signup.resume(found)
        facts = facts_of(provisioning.find(address))
    answer(facts, as_json, lambda told: console().print(f"“{told['address']}” is open.", markup=False))


@tenant.command()
def delete(
    address: Address,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a tenant into quarantine: for 30 days `ostoja tenant restore` brings it back."""
    if not yes:
        typer.confirm(f"Delete the tenant “{address}”? It can be restored for 30 days.", abort=True, err=True)
    _change(
        address,
        lambda provisioning, found: provisioning.delete(found),
        as_json,
        "is deleted; it can be restored for 30 days",
    )


@tenant.command()
def restore(address: Address, as_json: Json = False) -> None:
    """Bring a deleted tenant back."""
    _change(address, lambda provisioning, found: provisioning.restore(found), as_json, "is open again")


def _change(address: str, step, as_json: bool, outcome: str) -> None:
    with opened():
        from ostoja.tenancy import provisioning

        facts = facts_of(step(provisioning, provisioning.find(address)))
    answer(facts, as_json, lambda told: console().print(f"“{told['address']}” {outcome}.", markup=False))


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(tenant, name="tenant")
