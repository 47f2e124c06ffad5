"""An extension is there only where the installation names it, and then it is like everything else."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps

from ostoja.kernel import registry

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "tenants" / "extensions" / "ext_kowalski"


def in_a_session_of_its_own(*arguments: Path | str, extensions: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OSTOJA_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)],
        cwd=ROOT,
        env=environment | {"OSTOJA_TEST_EXTENSIONS": extensions, "OSTOJA_TEST_HOME": os.environ["OSTOJA_HOME"]},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_where_nobody_names_it_it_is_not_there(tenant):
    from django.db import connection

    assert registry.get("ext_kowalski.sampleloan") is None
    assert not apps.is_installed("ext_kowalski")
    assert importlib.util.find_spec("ext_kowalski") is None
    assert not [name for name in connection.introspection.table_names() if name.startswith("ext_")]


def test_where_nobody_names_it_its_tests_are_not_run():
    done = in_a_session_of_its_own(EXTENSION, extensions="")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


def test_where_it_is_named_its_tests_and_those_that_every_object_has_to_pass_are_passed():
    """Of the tests of objects those of its own, and whether anything leaks from a tenant that has it among all others."""
    about = ("-k", f"{EXTENSION.name} or no_canary")
    done = in_a_session_of_its_own(EXTENSION, ROOT / "tests" / "conformance", *about, extensions=str(EXTENSION))
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_what_can_not_be_loaded_is_said_in_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ostoja", "blueprint", "list"],
        cwd=ROOT,
        env=os.environ | {"OSTOJA_HOME": str(tmp_path), "OSTOJA_EXTENSIONS": "tenants/extensions/ext_nobody"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "ext_nobody" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
