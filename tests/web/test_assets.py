"""The built assets: small, complete, and nothing in a template that the content policy would refuse."""

import gzip
import re
from pathlib import Path

import pytest

import ostoja.web
from ostoja.kernel import registry

WEB = Path(ostoja.web.__file__).parent
BUILT = WEB / "static" / "ostoja"
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
FIRST_LOAD = 150 * 1024  # bytes


def sent(name: str) -> int:
    content = (BUILT / name).read_bytes()
    return len(content) if name.endswith("woff2") else len(gzip.compress(content))


def test_the_first_load_is_small(signed_in):
    page = gzip.compress(signed_in.get("/deals").content)
    names = ["app.css", "app.js", "theme.js", "icons.svg", "favicon.svg", "inter-latin.woff2", "inter-polish.woff2"]
    assert len(page) + sum(map(sent, names)) < FIRST_LOAD


def test_compressed_files_are_of_the_built_ones():
    for name in ("app.css", "app.js", "board.js", "theme.js", "icons.svg"):
        assert gzip.decompress((BUILT / f"{name}.gz").read_bytes()) == (BUILT / name).read_bytes()
        assert (BUILT / f"{name}.br").exists()


def test_every_icon_is_in_the_sprite():
    known = set(re.findall(r'<symbol id="([^"]+)"', (BUILT / "icons.svg").read_text()))
    used = {e.surface.icon for e in registry.entries()} | {v.icon for e in registry.entries() for v in e.verbs.values()}
    for e in registry.entries():
        if e.surface.timeline:
            used |= set(e.surface.timeline.icons.values())
    for template in TEMPLATES:
        used |= set(re.findall(r'{% icon "([a-z0-9-]+)"', template.read_text()))
    for module in WEB.rglob("*.py"):
        used |= set(re.findall(r'"icon": "([a-z0-9-]+)"', module.read_text()))
    assert used - known == set(), "Add them to assets/icons.txt and run `npm run build` in platform/ostoja/web/assets."


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_templates_have_nothing_inline(template):
    text = template.read_text()
    assert not re.search(r"\sstyle=", text)
    assert not re.search(r"\son[a-z]+=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(src|href)=\"https?://", text)
    assert "|safe" not in text


def test_the_font_in_the_style_sheet_is_the_one_that_is_preloaded(signed_in):
    css = (BUILT / "app.css").read_text()
    version = re.search(r"inter-latin\.woff2\?v=([0-9a-f]{8})", css).group(1)
    assert f"inter-latin.woff2?v={version}" in signed_in.get("/deals").content.decode()
