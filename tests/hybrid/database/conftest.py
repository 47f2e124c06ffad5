"""Worlds of real tenants, made once for all tests of a file; each history begins in the same state."""

import pytest


@pytest.fixture(scope="module")
def clocks_apart():
    """Every site has a clock of its own, and what waits beside the stream is told at once."""
    from datetime import timedelta

    from ostoja.hybrid import copies, exchange

    from . import skew

    with pytest.MonkeyPatch.context() as patch:
        skew.watches(patch)
        patch.setattr(exchange, "AGAIN", timedelta(0))
        patch.setattr(copies, "compact", lambda *args, **more: None)  # what is left in files is another test's
        patch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)
        yield


def _world(lender, installation, **more):
    from .world import World

    world = World(lender, installation, **more)
    names = {tenant.schema_name for tenant in world.sites.values()}
    lender.kept |= names
    try:
        yield world
    finally:
        world.close()
        lender.kept -= names
        lender.take_back(only=names)


@pytest.fixture(scope="module")
def world(clocks_apart, lender, installation):
    """A cloud and premises."""
    yield from _world(lender, installation)


@pytest.fixture(scope="module")
def wide_world(clocks_apart, lender, installation):
    """A cloud, premises and a laptop at the premises."""
    yield from _world(lender, installation, laptop=True)
