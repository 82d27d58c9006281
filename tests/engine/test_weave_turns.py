"""Rounds of a source whose figures depend on the order: what is asked together is no chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Fact, Failed, Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive, to_drive

RULES = WeaveSettings(depth=6, cutoff=0.02, split_limit=4, beams=20)
TEXT = b"The maker went to the"


class Whimsical(ScriptedBackend):
    """Its answers come sooner or later, by chance."""

    def __init__(self, seed: int, *, ordered: bool = True, anchored: bool = False) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, batch=5, ordered=ordered, anchored=anchored)
        self.asked: list[tuple[Tail, ...]] = []
        self._chance = random.Random(seed)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        self.asked.append(tuple(query.path.tail for query in queries))
        async for answer in super().ask(queries):
            for _ in range(self._chance.randrange(20)):
                await asyncio.sleep(0)
            yield answer


def begun(backend: ScriptedBackend) -> Weave:
    tokens = backend.vocabulary.known_tokens(TEXT)
    assert tokens is not None
    return Weave(backend.vocabulary, Anchor(backend.vocabulary.prefix + tokens), RULES)


async def driven(search: Weave, backend: ScriptedBackend) -> Weave:
    async for _ in drive(search, backend):
        pass
    return search


async def test_the_same_questions_go_together_however_fast_answers_come() -> None:
    asked = []
    for seed in range(8):
        backend = Whimsical(seed)
        await driven(begun(backend), backend)
        asked.append(backend.asked)
    assert len(asked[0]) > 10
    assert all(one == asked[0] for one in asked)


async def test_where_figures_hold_for_one_search_only_what_is_left_is_asked_anew() -> None:
    backend = Whimsical(1, anchored=True)
    search = await driven(begun(backend), backend)
    assert to_drive(search, backend) is search, "all of it is known from one search"
    tail = search.view().suggestions[0].tail[:1]
    left = search.at(tail, Anchor(search.anchor.tokens + tail))
    shown = left.view()
    assert shown.suggestions
    assert to_drive(left, Whimsical(1)) is left
    anew = to_drive(left, backend)
    assert not anew.facts
    assert anew.anchor is not left.anchor
    assert anew.view() == shown, "rows stay until there are new ones"
    # What is on show may be taken, and gone on from, whatever is known of it by now.
    row = max(shown.suggestions, key=lambda one: len(one.tail))
    chosen = row.tail
    assert anew.telling(chosen).beam(chosen).data == row.data
    assert anew.at(chosen[:1], Anchor(anew.anchor.tokens + chosen[:1])).facts
    await driven(anew, backend)
    fresh = await driven(Weave(backend.vocabulary, Anchor(left.anchor.tokens), RULES), backend)
    assert [one.data for one in anew.view().suggestions] == [
        one.data for one in fresh.view().suggestions
    ]


async def test_what_is_on_show_gives_way_when_there_is_as_much() -> None:
    backend = Whimsical(1, anchored=True)
    search = await driven(begun(backend), backend)
    tail = search.view().suggestions[0].tail[:1]
    anew = search.at(tail, Anchor(search.anchor.tokens + tail)).anew()
    counts = [len(anew.view(running=True).suggestions)]
    async for _ in drive(anew, backend):
        counts.append(len(anew.view(running=True).suggestions))
    assert counts == sorted(counts), "the list never gets shorter"
    with pytest.raises(KeyError):
        anew.telling((10**6,))
