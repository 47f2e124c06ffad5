"""What only the tests of tenancy need."""

from contextlib import contextmanager

import pytest
from django.conf import settings
from django.test import override_settings


@pytest.fixture
def settings_with():
    """``with settings_with(kind="private"):`` the installation declared otherwise."""

    @contextmanager
    def declared(**changes):
        with override_settings(INSTALLATION=settings.INSTALLATION.model_copy(update=changes)):
            yield

    return declared
