"""Fixtures of the conformance suite."""

import pytest


@pytest.fixture
def samples(tenant, actor):
    """Makes records of any object, as the owner."""
    from ostoja.testing.samples import Samples

    return Samples(actor)
