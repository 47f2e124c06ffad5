"""Fixtures of the conformance suite."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "hybrid"))  # two_sites


@pytest.fixture
def samples(tenant, actor):
    """Makes records of any object, as the owner."""
    from ostoja.testing.samples import Samples

    return Samples(actor)
