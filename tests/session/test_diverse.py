"""Diverse ranking on the bundled model: the first ten differ in wording, after every beginning."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import combinations

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.suggestion_tree import View
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.session.stories import STORIES, Story
from tests.helpers.bundled_model import BUNDLED

RULES = WeaveSettings(diverse=True)


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[LlamaBackend]:
    opened = await open_llama(BUNDLED, LlamaSettings(threads=1))
    yield opened
    await opened.close()


def letters(data: bytes) -> str:
    """What is left of a text without punctuation, spaces and capitals; said here once more."""
    text = data.decode().casefold()
    return "".join(one for one in text if unicodedata.category(one)[0] not in "PZC")


async def woven(backend: LlamaBackend, story: Story, rules: WeaveSettings) -> View:
    begun = Session(Document.scratch(story.text.encode(), rules))
    begun.attach(backend)
    begun.weave()
    await begun.wait()
    assert begun.view is not None
    assert begun.view.done
    return begun.view


def same_pairs(view: View) -> int:
    """Pairs of the first ten that differ in punctuation alone, or in one word of six or more."""
    first = view.suggestions[:10]
    assert len(first) == 10
    count = 0
    for one, other in combinations(first, 2):
        words, others = one.data.split(), other.data.split()
        long = len(words) == len(others) and len(words) >= 6
        one_word = long and sum(
            letters(a) != letters(b) for a, b in zip(words, others, strict=True)
        ) <= 1  # fmt: skip
        count += letters(one.data) == letters(other.data) or one_word
    return count


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
async def test_the_first_ten_differ_pairwise_in_wording(
    backend: LlamaBackend, story: Story
) -> None:
    view = await woven(backend, story, RULES)
    assert len(view.suggestions) == RULES.beams
    assert view.looked_at >= len(view.suggestions)
    assert same_pairs(view) == 0


async def test_without_it_they_do_not(backend: LlamaBackend) -> None:
    plain = replace(RULES, diverse=False)
    assert sum([same_pairs(await woven(backend, story, plain)) for story in STORIES]) > 0
