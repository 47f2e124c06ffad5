"""The hybrid room's work in the background."""

from ostoja.jobs.queue import handler

from . import withdrawing


@handler(withdrawing.KIND)
def withdraw(run) -> None:
    """Values that stay on the premises leave the cloud."""
    run.result(tables=withdrawing.withdraw())
