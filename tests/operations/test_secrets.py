"""Secrets are made once, are the same for all, and are for nobody else's eyes."""

import subprocess
import sys

import pytest

from ostoja.operations.secrets import SecretUnreadable, secret


def test_a_secret_is_made_once_and_kept(tmp_path):
    word = secret(tmp_path, "key")
    assert len(word) >= 40
    assert secret(tmp_path, "key") == word
    assert secret(tmp_path, "other") != word


def test_only_its_owner_can_read_it(tmp_path):
    secret(tmp_path, "key")
    assert (tmp_path / "secrets" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_processes_that_ask_at_once_get_the_same(tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys, pathlib; from ostoja.operations.secrets import secret; print(secret(pathlib.Path(sys.argv[1]), 'key'))",
        str(tmp_path),
    ]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in asking}) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["key"]


def test_an_empty_secret_is_refused(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").touch()
    with pytest.raises(SecretUnreadable, match="put the secret back from your backup"):
        secret(tmp_path, "key")
