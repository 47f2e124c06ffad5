"""The rules of the house that a machine can keep: layout, first sentences, bans."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = [
    ROOT / line
    for line in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
]
OURS = [p for p in (ROOT / "platform").rglob("*.py") if "/migrations/" not in str(p) and "node_modules" not in str(p)]
TOP = {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "platform", "tenants", "deploy", "tests"}

# What is banned, where it is allowed, and a line that must be caught.
BANS = [
    (r"^\s*with tenant\b\s*:", (), "with tenant:"),
    (r"@(schema|tenant)_context", (), "@tenant_context(t)"),
    (r"\.(set_tenant|set_schema)\(", ("tenancy/",), "connection.set_tenant(t)"),
    (r"\bmark_safe\(", ("web/display.py", "web/widgets.py"), "mark_safe(x)"),
    (r"^\s*import pickle|^\s*from pickle", (), "import pickle"),
    (r"\.extra\(|\bRawSQL\(", (), "rows.extra(where=[])"),
    (r"@receiver\(|\b(post|pre)_(save|delete|init)\b", (), "@receiver(post_save)"),
    (r"^\s*(from|import) (requests|httpx)\b", (), "import requests"),
    (r"\bThread\(", ("operations/", "tenancy/", "cli/pairing.py"), "Thread(target=f)"),
    (r"\bfloat\(", ("operations/", "web/", "jobs/", "settings/", "cli/"), "float(amount)"),
]


def test_platform_is_a_source_root_and_no_package():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_top_level_holds_only_what_the_house_agreed():
    if not TRACKED:
        pytest.fail("git ls-files told nothing; run the tests in a checkout.")
    names = {p.relative_to(ROOT).parts[0] for p in TRACKED}
    assert {n for n in names if not n.startswith(".")} <= TOP


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT / "platform")))
def test_every_module_begins_with_one_sentence(path):
    source = path.read_text()
    if not source.strip():
        return
    sentence = ast.get_docstring(ast.parse(source))
    assert sentence, f"{path} does not say what it is."
    assert sentence.splitlines()[0].rstrip().endswith((".", ":", ";", ",")) or "\n" in sentence


@pytest.mark.parametrize(("pattern", "allowed", "example"), BANS, ids=[b[2] for b in BANS])
def test_banned(pattern, allowed, example):
    ban = re.compile(pattern, re.MULTILINE)
    assert ban.search(example), "The ban does not catch its own example."
    found = [
        str(p.relative_to(ROOT / "platform" / "ostoja"))
        for p in OURS
        if ban.search(re.sub(r'"""[\s\S]*?"""|`[^`]*`', "", p.read_text()))
    ]
    assert [f for f in found if not f.startswith(tuple(allowed))] == []


def test_no_file_has_an_unfinished_mark():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    assert [str(p) for p in OURS if marks.search(p.read_text())] == []
