"""``ostoja blueprint``: the declarative starts of a tenant: which there are, and whether they are sound."""

from __future__ import annotations

from typing import Annotated

import typer

from ostoja.cli.opening import Json, answer, declaration, table

blueprint = typer.Typer(no_args_is_help=True, help="Blueprints, the starts of a tenant for an industry: list, check.")


@blueprint.command("list")
def list_blueprints(as_json: Json = False) -> None:
    """List the blueprints that a company can choose from."""
    _set_up()
    from ostoja.onboarding import blueprints

    found = [
        {
            "name": b.code,
            "title": b.title("en"),
            "extends": b.extends,
            "objects": {slug: len(rows) for slug, rows in b.tables.items()},
        }
        for b in map(blueprints.get, blueprints.names())
    ]

    def show(all_of_them: list[dict]) -> None:
        rows = [
            [b["name"], b["title"], b["extends"], ", ".join(f"{n} {slug}" for slug, n in b["objects"].items())]
            for b in all_of_them
        ]
        table(["name", "title", "extends", "holds"], rows, "There is no blueprint.")

    answer(found, as_json, show)


@blueprint.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help="Which ones. [default: all]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Check blueprints against what the code declares. Exit status 1 if one of them says what can't be."""
    _set_up()
    from ostoja.onboarding import blueprints

    problems = {name: blueprints.check(blueprints.get(name)) for name in names or blueprints.names()}

    def show(found: dict[str, list[str]]) -> None:
        table(
            ["blueprint", "finding"],
            [[name, said] for name, all_said in found.items() for said in all_said or ["sound"]],
            "There is no blueprint.",
        )

    answer(problems, as_json, show)
    if any(problems.values()):
        raise typer.Exit(1)


def _set_up() -> None:
    """Blueprints need the objects that the code declares, and no database."""
    declaration()
    import django

    django.setup()


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(blueprint, name="blueprint")
