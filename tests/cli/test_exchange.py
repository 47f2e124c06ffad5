"""`ostoja tenant create`, `import`, `export` and `ostoja token`: from nothing to a tenant with data."""

import json

GOOD = "name,kind\nŻuraw sp. z o.o.,organisation\nHuta Łódź,organisation\n"
MAPPING = """
mode = "upsert"
key = ["name"]
columns = [{ from = "name", to = "name" }]
constants = { kind = "org" }
"""


def facts(done, status: int = 0) -> dict:
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_from_nothing_to_data_and_back(command, tmp_path):
    made = facts(
        command("tenant", "create", "zuraw-huta", "--owner", "Anna@zuraw.example", "--blueprint", "wholesale", "--json")
    )
    assert (made["state"], made["owner"]) == ("open", "anna@zuraw.example")

    token = command("token", "create", "--tenant", "zuraw-huta", "--user", "anna@zuraw.example", "--scope", "*:view")
    assert token.returncode == 0 and token.stdout.startswith("ost_")
    stranger = command("token", "create", "--tenant", "zuraw-huta", "--user", "nobody@zuraw.example")
    assert stranger.stderr == "ostoja: “zuraw-huta” has no user “nobody@zuraw.example”.\n"

    file, mapping = tmp_path / "parties.csv", tmp_path / "parties.toml"
    file.write_text(GOOD)
    mapping.write_text(MAPPING)
    words = ("tenant", "import", "zuraw-huta", "parties", str(file), "--mapping", str(mapping), "--json")
    checked = facts(command(*words, "--dry-run"))
    assert (checked["state"], checked["created"], checked["failed"]) == ("checked", 2, 0)
    assert facts(command(*words))["created"] == 2
    again = facts(command(*words, "--as", "anna@zuraw.example"))
    assert (again["created"], again["unchanged"]) == (0, 2)

    exported = facts(
        command("tenant", "export", "zuraw-huta", "parties", str(tmp_path / "out.csv"), "--columns", "name", "--json")
    )
    assert exported["rows"] == 2
    assert "Żuraw sp. z o.o." in (tmp_path / "out.csv").read_text(encoding="utf-8-sig")

    file.write_text(GOOD + ",organisation\n")
    refused = facts(command(*words), status=1)
    assert refused["failed"] == 1 and refused["errors"][0]["row"] == 4

    assert command("tenant", "import", "zuraw-huta", "parties", "/none.csv").stderr == (
        "ostoja: /none.csv can't be read: No such file or directory.\n"
    )
