"""Every story in this folder is prose that people can review, and its examples come true."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest
from django.core import mail

STORIES = sorted(Path(__file__).parent.glob("*.md"))
FENCE = re.compile(r"^```.*$", re.MULTILINE)


def cast():
    """The module of the people who play in the stories."""
    spec = importlib.util.spec_from_file_location("stories_cast", Path(__file__).parent / "cast.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_story(story, lender):
    mail.outbox = []
    text = FENCE.sub("", story.read_text(encoding="utf-8"))
    examples = doctest.DocTestParser().get_doctest(text, vars(cast()).copy(), story.stem, str(story), 0)
    assert examples.examples, f"{story.name} has no example."
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST)
    if runner.run(examples, out=said.append).failed:
        pytest.fail("".join(said), pytrace=False)
