"""The `ostoja` command as a person meets it: help, sentences, exit status."""

import json
import socket

import pytest


def test_help_is_quick_and_lists_the_commands(ostoja):
    done = ostoja("--help")
    assert done.returncode == 0
    for command in ("up", "doctor", "fleet", "manage"):
        assert f" {command} " in done.stdout


def test_the_version(ostoja):
    assert ostoja("--version").stdout.startswith("ostoja 0.")


def test_a_wrong_command_line_has_status_2(ostoja):
    done = ostoja("upp")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_a_mistake_in_the_declaration_is_one_sentence(ostoja, command):
    done = ostoja(command, OSTOJA_INSTALLATION_KIND="publc")
    assert done.returncode == 1
    assert done.stderr == "ostoja: OSTOJA_INSTALLATION_KIND is “publc”; it can be public, private or hybrid.\n"


def test_a_busy_port_is_one_sentence_and_nothing_is_started(ostoja, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = ostoja("up", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"ostoja: Port {port} on 127.0.0.1 can't be used")
    assert "--port" in done.stderr
    assert not (tmp_path / "home" / "postgres").exists()


def test_data_of_another_version_is_one_sentence(ostoja, tmp_path):
    (tmp_path / "home" / "postgres").mkdir(parents=True)
    (tmp_path / "home" / "postgres" / "PG_VERSION").write_text("12\n")
    done = ostoja("doctor")
    assert done.returncode == 1
    assert "was made by PostgreSQL 12" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_the_traceback(ostoja):
    assert "Traceback" in ostoja("--debug", "doctor", OSTOJA_BROKER_URL="amqp://x").stderr


def test_the_home_option_says_where_the_state_lives(ostoja, tmp_path):
    done = ostoja("--home", str(tmp_path / "elsewhere"), "doctor", "--json", OSTOJA_BROKER_URL="redis://127.0.0.1:1/0")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert (tmp_path / "elsewhere" / "postgres").exists()
    assert findings["database"]["state"] == "ok"
    assert findings["migrations"]["advice"] == "Run `ostoja fleet migrate`."
    assert findings["broker"]["state"] == "fail"
