"""The hybrid room's work in the background."""

from ostoja.jobs.queue import handler

from . import copies, joining, policing, tending, withdrawing  # noqa: F401  (tending registers what is done from time to time)


@handler(withdrawing.KIND)
def withdraw(run) -> None:
    """Values that stay on the premises leave the cloud."""
    run.result(tables=withdrawing.withdraw())


@handler(copies.KIND)
def compact(run) -> None:
    """What was called back leaves the files of the database."""
    run.result(tables=copies.compact(run.args["tables"]))


@handler(policing.ADOPT)
def adopt(run) -> None:
    """The policy is another one: what may travel follows it."""
    policing.in_force_changed(run.actor)


@handler(joining.COMPARE, elsewhere=True)
def compare(run) -> None:
    """Both sites of a link are compared, by the agent, which alone may dial; the result says what differs."""
    found = joining.compare_one(run.args["link"])
    run.result(total=len(found), differences=found[: joining.MOST_SHOWN])
