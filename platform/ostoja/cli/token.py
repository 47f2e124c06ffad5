"""``ostoja token``: keys for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ostoja.cli.opening import Json, answer, opened

token = typer.Typer(no_args_is_help=True, help="Keys for programs that use the API.")


@token.command()
def create(
    tenant: Annotated[str, typer.Option(metavar="T", help="The tenant's address.")],
    user: Annotated[str, typer.Option(metavar="EMAIL", help="The person that the program acts as.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do, such as `sales.deal:view` or `*:view`; may be repeated. [default: *]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What the token is for.")] = "Made on the command line",
    days: Annotated[int, typer.Option(help="How long it is valid; 0 for ever.", min=0, max=1095)] = 365,
    as_json: Json = False,
) -> None:
    """Make a token and print its secret, which is shown this once."""
    with opened():
        from ostoja.access.models import User
        from ostoja.access.tokens import issue
        from ostoja.kernel.actors import Actor
        from ostoja.kernel.errors import NotFound
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(tenant)) as found:
            person = User.objects.filter(email=user.strip().lower()).first()
            if person is None:
                raise NotFound(f"“{found.slug}” has no user “{user}”.")
            expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
            made, secret = issue(Actor.system("Command line"), person, name, scope or ["*"], expires_at)
            facts = {
                "token": secret,
                "name": made.name,
                "user": person.email,
                "scopes": made.scopes,
                "expires_at": expires_at.isoformat(timespec="seconds") if expires_at else None,
            }
    answer(facts, as_json, lambda told: print(told["token"]))


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(token, name="token")
