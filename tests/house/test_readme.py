"""What the README says is true: its commands exist, its links lead somewhere, its addresses answer."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from ostoja.cli.command import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"`ostoja ([a-z]+(?: [a-z]+)?)[^`]*`|uv run ostoja ([a-z]+(?: [a-z]+)?)", TEXT)))
WORDS = sorted({" ".join((a or b).split()) for a, b in COMMANDS})


def known(words: list[str]) -> bool:
    command = get_command(app)
    for word in words:
        inner = getattr(command, "commands", None)
        if inner is None:
            return True  # an argument
        if word not in inner:
            return False
        command = inner[word]
    return True


@pytest.mark.parametrize("words", WORDS)
def test_a_command_that_it_names_exists(words):
    assert known(words.split()), f"`ostoja {words}` does not exist."


def test_a_command_that_does_not_exist_is_noticed():
    assert not known(["tenant", "conjure"]) and not known(["conjure"])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT))))
def test_a_file_that_it_links_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", ["/api/v1/openapi.json", "/api/v1/docs"])
def test_an_address_that_it_names_answers(signed_in, path):
    assert path in TEXT
    assert signed_in.get(path).status_code == 200


def test_the_first_commands_are_the_two():
    assert "uv run ostoja up --demo" in TEXT and "uv run pytest" in TEXT
