"""``ostoja tenant import`` and ``export``: a tenant's records from and to files, as in the browser and over the API."""

from __future__ import annotations

import shutil
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ostoja.cli.opening import Json, answer, console, opened, table
from ostoja.cli.tenant import Address, tenant
from ostoja.kernel.errors import OstojaError

SHOWN_ERRORS = 20

Object = Annotated[str, typer.Argument(metavar="OBJECT", help="What the rows are: `deals`, `party.party` …")]
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="EMAIL",
        help="Act as this person, with their rights only. [default: the installation]",
        show_default=False,
    ),
]


class NotReadable(OstojaError):
    """A file on this machine can't be read or written."""

    code = "not_readable"


@tenant.command("import")
def import_file(
    address: Address,
    thing: Object,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV or XLSX file.")],
    mapping: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="A TOML file that says where columns go, or the name of a saved mapping. [default: guessed from the header]",
            show_default=False,
        ),
    ] = "",
    mode: Annotated[str, typer.Option(help="add, update or upsert. [default: the mapping's]", show_default=False)] = "",
    whole: Annotated[bool, typer.Option("--whole", help="All rows or none.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find every error and write nothing.")] = False,
    person: As = "",
    as_json: Json = False,
) -> None:
    """Import a file. Exit status 1 if a row is refused; the others are imported unless --whole is given."""
    content = _read(file)
    plan = _mapping_in(Path(mapping)) if mapping and (mapping.endswith(".toml") or Path(mapping).is_file()) else None
    with opened():
        from ostoja.exchange import runs
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(address)) as found:
            actor = _actor(person)
            if mapping and plan is None:
                plan = runs.saved_mapping(actor, thing, mapping)
            run = runs.start(actor, thing, content, file.name, mapping=plan, mode=mode, whole=whole)
            run = runs.check(actor, run) if dry_run else runs.go(actor, run)
            _work_off(found, run.job_id, f"{'Checking' if dry_run else 'Importing'} {file.name}")
            run.refresh_from_db()
            errors = [
                {"row": e.row, "column": e.column, "message": e.message} for e in runs.errors(run, limit=SHOWN_ERRORS)
            ]
            facts = {
                "import": str(run.pk),
                "state": str(run.state),
                **{
                    name: getattr(run, name)
                    for name in ("rows", "created", "updated", "unchanged", "skipped", "failed")
                },
                "mapping": run.mapping,
                "errors": errors,
                "reason": run.result.get("error", ""),
            }
    answer(facts, as_json, _show_run)
    if facts["failed"] or facts["state"] not in ("done", "checked"):
        raise typer.Exit(1)


@tenant.command("export")
def export_file(
    address: Address,
    thing: Object,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write: *.csv or *.xlsx.")],
    columns: Annotated[str, typer.Option(help="Fields, with commas between. [default: all]", show_default=False)] = "",
    person: As = "",
    as_json: Json = False,
) -> None:
    """Export records with the columns that an import reads back."""
    with opened():
        from ostoja.exchange import export
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find

        with tenant_context(find(address)) as found:
            actor = _actor(person)
            wanted = [name.strip() for name in columns.split(",") if name.strip()] or None
            run = export.export(actor, thing, format=file.suffix.lstrip(".").lower(), columns=wanted)
            _work_off(found, run.job_id, f"Exporting {thing}")
            source, _name, _type = export.open_export(actor, run.pk)
            with source, _written(file) as target:
                shutil.copyfileobj(source, target)
            run.refresh_from_db()
            facts = {"file": str(file.absolute()), "rows": run.rows}
    answer(facts, as_json, lambda told: console().print(f"{told['rows']} rows are in {told['file']}.", markup=False))


def _actor(person: str):
    from ostoja.access.actor_of import actor_of
    from ostoja.access.models import User
    from ostoja.kernel.actors import Actor
    from ostoja.kernel.errors import NotFound

    if not person:
        return Actor.system("Command line")
    user = User.objects.filter(email=person.strip().lower()).first()
    if user is None:
        raise NotFound(f"There is no user “{person}” here.")
    return actor_of(user)


def _work_off(found, job_id, title: str) -> None:
    """Show the progress of a job until it has ended."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ostoja.operations.work import finished

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out = console()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        bar = progress.add_task(title, total=None)
        finished(found, job_id, lambda job: progress.update(bar, completed=job.done, total=job.total))


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise NotReadable(f"{file} can't be read: {error.strerror}.") from None


def _mapping_in(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotReadable(f"{file} is not TOML: {error}.") from None


@contextmanager
def _written(file: Path):
    """The file, open for writing beside its place, and put there when it is whole."""
    draft = file.with_name(f".{file.name}.draft")
    try:
        with draft.open("wb") as target:
            yield target
        draft.replace(file)
    except OSError as error:
        raise NotReadable(f"{file} can't be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)


def _show_run(facts: dict[str, Any]) -> None:
    counts = [[name, facts[name]] for name in ("rows", "created", "updated", "unchanged", "skipped", "failed")]
    table(
        ["", ""], [["state", facts["state"]], *counts, *([["reason", facts["reason"]]] if facts["reason"] else [])], ""
    )
    if facts["errors"]:
        print()
        table(["row", "column", "what is wrong"], [[e["row"], e["column"], e["message"]] for e in facts["errors"]], "")
        if facts["failed"] > len(facts["errors"]):
            print(f"… {facts['failed']} rows were refused in all.")


def register(_app: typer.Typer) -> None:
    """The commands hang at ``ostoja tenant``."""
