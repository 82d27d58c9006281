"""Quantised models: what was done before does not show in the figures, to the bit.

A quantised model rounds what it works with to 8 bits; one sum in another order, and a step of 8
bits falls the other way. So the same story has to lead to the same evaluation.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.prompt import Prompt
from llterm.core.query import Fact, Query
from llterm.core.suggestion_tree import Suggestion
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.core.weave_settings import WeaveSettings
from llterm.core.windows import SeenStory
from llterm.engine.weave import rules_for, weave
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import quantized
from tests.helpers.polling import until

RULES = WeaveSettings(depth=5, cutoff=0.08, split_limit=3, beams=8, auto_stop=False)
OTHER_RULES = WeaveSettings(depth=7, cutoff=0.05, split_limit=4, beams=20)
STORY = STORIES[0].text


@pytest.fixture(scope="module", params=["q4_K_M", "q8_0"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantized(tmp_path_factory.mktemp("quantised"), request.param)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[LlamaBackend]:
    backend = await open_llama(path, LlamaSettings(threads=1, context=512))
    try:
        yield backend
    finally:
        await backend.close()


async def woven(session: Session) -> list[Suggestion]:
    session.weave()
    await session.wait()
    assert session.view is not None
    return list(session.view.suggestions)


async def fresh(path: Path, prompt: Prompt, rules: WeaveSettings) -> list[Suggestion]:
    """What a model says that was opened for this alone."""
    async with opened(path) as backend:
        search = await weave(backend, prompt, rules_for(rules, backend))
        return list(search.view().suggestions)


def story_tokens(session: Session) -> Tail:
    assert session.shown is not None
    return session.shown.prompt.tokens


async def scores(backend: LlamaBackend, tokens: Tail, start: int) -> list[tuple[int, float]]:
    return [(one.rank, one.logprob) async for one in backend.score(tokens, start)]


async def step(session: Session, backend: LlamaBackend, chance: random.Random) -> None:
    """Something that a person may do."""
    length = len(session.document.text)
    match chance.choice(["accept", "accept", "part", "edit", "undo", "score", "rules", "stop"]):
        case "accept":
            session.accept(chance.choice(await woven(session)).tail)
        case "part":
            suggestion = chance.choice(await woven(session))
            session.accept(session.word_of(suggestion.tail))
        case "edit":
            at = chance.randrange(length // 2, length)
            session.edit(at, min(at + 3, length), chance.choice(["red ", "quietly", "\n"]))
            session.move(len(session.document.text))
        case "undo":
            session.undo()
        case "score":
            await woven(session)
            tokens = story_tokens(session)
            await scores(backend, tokens, chance.randrange(1, len(tokens)))
        case "rules":
            session.set_rules(chance.choice([RULES, OTHER_RULES]))
        case "stop":
            session.weave()
            session.stop()
            session.edit(length, length, " and")


async def test_every_figure_on_show_is_that_of_its_path_alone(path: Path) -> None:
    """In a new context, token by token; however many paths stood side by side in the search."""
    session = Session(Document.scratch(STORY.encode(), replace(OTHER_RULES, heal=False)))
    async with opened(path) as backend:
        session.attach(backend)
        shown = await woven(session)
        tokens = story_tokens(session)
        assert 0 < session.figures.again < session.figures.tokens
    async with opened(path) as backend:
        for suggestion in shown[::6]:
            anchor = Anchor(tokens)
            for size, step in enumerate(suggestion.steps):
                asked = [Query(TokenPath(anchor, suggestion.tail[:size]))]
                async for answer in backend.ask(asked):
                    assert isinstance(answer, Fact)
                    distribution = answer.distribution
                    assert step.logprob in distribution.logprobs[distribution.ids == step.id]


async def test_a_stop_leaves_what_the_search_found_and_a_weave_goes_on(path: Path) -> None:
    session = Session(Document.scratch(STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        session.weave()
        await until(lambda: not session.weaving)
        assert session.view is not None
        assert session.view.done
        first = session.view
        session.stop()
        assert session.view.suggestions == first.suggestions
        last = await woven(session)
        prompt = session.shown.prompt if session.shown is not None else None
    assert prompt is not None
    assert last == await fresh(path, prompt, RULES)


async def test_what_comes_up_under_other_rules_is_read_too(path: Path) -> None:
    session = Session(Document.scratch(STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        await woven(session)
        session.set_rules(replace(RULES, split_limit=2, beams=5))
        await session.wait()
        assert session.shown is not None
        weave = session.shown.weave
        for suggestion in weave.view().suggestions:
            inner = {suggestion.tail[:size] for size in range(len(suggestion.tail))}
            assert inner <= weave.canonical


async def test_what_was_read_again_is_kept_in_the_loom(path: Path, tmp_path: Path) -> None:
    session = Session(Document.create(tmp_path / "a.loom", STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        first = await woven(session)
        await session.close()
    async with opened(path) as backend:
        again = Session(Document.open(tmp_path / "a.loom"))
        again.attach(backend)
        assert await woven(again) == first
        assert backend.spent.tokens == 0
        await again.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_accepts_edits_and_undos_a_weave_is_that_of_a_new_start(
    path: Path, seed: int
) -> None:
    chance, session = random.Random(seed), Session(Document.scratch(STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        for _ in range(8):
            await step(session, backend, chance)
        session.accept(chance.choice(await woven(session)).tail)
        last = await woven(session)
        assert session.shown is not None
        prompt, rules = session.shown.prompt, session.document.rules
        session.undo()
        session.redo()
        assert await woven(session) == last, "what is known is not asked again"
    assert last == await fresh(path, prompt, rules)


async def test_scores_beside_a_weave_are_those_of_a_new_start(path: Path) -> None:
    async with opened(path) as backend:
        tokens = backend.vocabulary.prefix + backend.vocabulary.encode(STORY.encode())
        first = await scores(backend, tokens, 3)
        sight = SeenStory(story=len(tokens), hidden=0, chat=False)
        prompt = Prompt(tokens, 0, b"", "", sight)
        search = await weave(backend, prompt, RULES)
        assert await scores(backend, tokens, 3) == first
        assert (await weave(backend, prompt, RULES)).view() == search.view()


async def test_an_accept_costs_its_tokens_once(path: Path) -> None:
    session = Session(Document.scratch(STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        tail = (await woven(session))[0].tail
        session.accept(tail)
        await woven(session)
        # The story's last token was evaluated in a cell of the weave's.
        assert session.figures.prompt_tokens == len(tail) + 1


async def test_what_hangs_below_an_accept_is_there_with_no_inference(path: Path) -> None:
    session = Session(Document.scratch(STORY.encode(), RULES))
    async with opened(path) as backend:
        session.attach(backend)
        first = await woven(session)
        session.accept(session.token_of(first[0].tail))
        assert session.view is not None
        kept = [one.data for one in session.view.suggestions]
        assert kept
        assert session.figures.tokens == 0
        session.weave()
        session.stop()
        assert [one.data for one in session.view.suggestions] == kept
        session.accept(session.view.suggestions[0].tail)
