"""Mixes as sources: by id, by bytes, under a search, and with sources that fail."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.distribution import Logprobs
from llterm.core.mixing.byte_distribution import END
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import Kind, OpinionPool
from llterm.core.query import Fact, Failed, Query
from llterm.core.tokens import Anchor, EncodesHere, Path, Tail, Token
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.mixture import Mix
from llterm.engine.weave import drive
from llterm.errors import BackendUnavailable
from tests.helpers.known_tokens import tokens_of
from tests.helpers.mix_models import Limited
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.tokenized_model import Backend, Spelled, Tokenized, after

ANCHOR = b"ab a."


def democratic(*weights: float, kind: Kind = "linear") -> Recipe:
    return Recipe("democratic", OpinionPool(weights, kind))


async def row(mix: Mix, path: Path) -> Logprobs:
    async for answer in mix.ask([Query(path, full=True)]):
        assert isinstance(answer, Fact)
        assert answer.distribution.full is not None
        return answer.distribution.full
    raise AssertionError


class Pooled(RandomModel):
    """What a mix by id must equal, as one model of its own."""

    def __init__(self, models: Sequence[Tokenized], recipe: Recipe, begin: int) -> None:
        super().__init__(0)
        self._models, self._recipe, self._begin = models, recipe, begin

    def logprobs(self, tokens: Tail) -> Logprobs:
        position = len(tokens) - self._begin
        speakers = self._recipe.speakers(position)
        voices = np.stack([self._models[n].logprobs(tokens) for n in speakers])
        return self._recipe.decide(voices.astype(np.float64), position).astype(np.float32)


@pytest.mark.parametrize("recipe", [
    democratic(1, 1, 1),
    democratic(1, 2, 0.5, kind="log"),
    democratic(1.5, -0.5, 0, kind="log"),
    Recipe("round-robin", OpinionPool((1, 1, 1)), turn=2),
])  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
async def test_a_mixed_weave_is_the_best_n_of_brute_force(recipe: Recipe, seed: int) -> None:
    models = [Tokenized(seed * 10 + n) for n in range(3)]
    mix = Mix(models, recipe)
    anchor = Anchor((0, *tokens_of(mix.vocabulary, ANCHOR)))
    rules = WeaveSettings(depth=5, cutoff=0.05, split_limit=4, beams=12, heal=False)
    weave = Weave(mix.vocabulary, anchor, rules, before=ANCHOR.decode())
    async for _ in drive(weave, mix):
        pass
    expected = plain_search(Pooled(models, recipe, len(anchor.tokens)), anchor.tokens, rules)
    woven = [(suggestion.logprob, suggestion.tail) for suggestion in weave.view().suggestions]
    assert [tail for _, tail in woven] == [tail for _, tail in expected]
    assert [p for p, _ in woven] == pytest.approx([p for p, _ in expected], rel=1e-5)


@given(st.integers(0, 1000), st.binary(max_size=4))
@settings(max_examples=15)
async def test_bytes_of_a_model_and_of_its_spelled_copy_are_the_model(
    seed: int, chosen: bytes
) -> None:
    """The mix of a model with a re-tokenised copy of itself, at any place both can reach."""
    original = Tokenized(seed)
    copy = Spelled(original, ANCHOR)
    mix = Mix([original, copy], democratic(0.7, 0.3), dropped=0.0)
    assert not mix.by_id
    tail = b""
    for pick in chosen:
        own = copy.logprobs(tuple(ANCHOR + tail))
        possible = np.flatnonzero(own[:END] > -20)
        tail += bytes([int(possible[pick % len(possible)])])
    own = copy.logprobs(tuple(ANCHOR + tail))
    for alone in (Mix([original, copy], democratic(1, 0), dropped=0.0), mix):
        found = await row(alone, after(ANCHOR, tail))
        assert np.exp(found) == pytest.approx(np.exp(own), rel=1e-4, abs=1e-9)
    assert mix.exact
    assert mix.unknown == 0.0


async def test_dropped_paths_are_owned_up_to_and_cost_no_more_than_they_say() -> None:
    original = Tokenized(5)
    copy = Spelled(original, ANCHOR)
    mix = Mix([original, copy], democratic(1, 0), dropped=0.02)
    tail = b" aba"
    mixed = await row(mix, after(ANCHOR, tail))
    assert 0.0 < mix.unknown < 0.5
    own = copy.logprobs(tuple(ANCHOR + tail))
    assert float(np.abs(np.exp(mixed) - np.exp(own)).max()) <= mix.unknown


class Listed(Backend):
    """A model that says the same everywhere."""

    def __init__(self, name: str, words: dict[bytes, float]) -> None:
        tokens = [Token(id, data) for id, data in enumerate(words)]
        super().__init__(name, Words(name, tokens))
        self._row: Logprobs = np.log(np.array(list(words.values()))).astype(np.float32)

    def logprobs(self, tokens: Tail) -> Logprobs:
        return self._row


class Words(EncodesHere):
    """A vocabulary of a few words."""

    prefix: Tail = (0,)

    def __init__(self, fingerprint: str, tokens: list[Token]) -> None:
        self.fingerprint, self.size, self._tokens = fingerprint, len(tokens), tokens

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> Tail:
        return ()


async def test_visuall_tokens_that_never_support_each_other_is_absent() -> None:
    """One tokenizer has ` hel`, the other ` hello`. By text, ` dog` would get the most votes."""
    first = Listed("first", {b" hel": 0.40, b" dog": 0.35, b" a": 0.25})
    second = Listed("second", {b" hello": 0.40, b" dog": 0.35, b" the": 0.25})
    mix = Mix([first, second], democratic(1, 1))
    found = await row(mix, after(b".", b" "))
    assert np.exp(found[[ord("h"), ord("d"), ord("a"), ord("t")]]) == pytest.approx(
        [0.40, 0.35, 0.125, 0.125], rel=1e-6
    )
    assert float(np.exp((await row(mix, after(b".", b" hel")))[ord("l")])) == pytest.approx(0.5)


async def test_a_weave_over_bytes_is_exact_too() -> None:
    first, second = Tokenized(1), Tokenized(2)
    recipe = democratic(2, 1)
    # Another fingerprint: the same pieces under other rules, as far as the mix can know.
    second.model.fingerprint = "another"
    mix = Mix([first, second], recipe, dropped=0.0)
    copies = [Spelled(model, ANCHOR) for model in (first, second)]
    rules = WeaveSettings(depth=4, cutoff=0.05, split_limit=3, beams=8, heal=False, auto_stop=False)
    weave = Weave(mix.vocabulary, Anchor(tuple(ANCHOR)), rules)
    async for _ in drive(weave, mix):
        pass

    class Whole(RandomModel):
        size = 257

        def token(self, id: int) -> Token:
            return mix.vocabulary.token(id)

        def logprobs(self, tokens: Tail) -> Logprobs:
            voices = np.stack([copy.logprobs(tokens) for copy in copies])
            return recipe.decide(voices.astype(np.float64), 0).astype(np.float32)

    whole = Whole(0)
    whole.size = 257
    expected = plain_search(whole, tuple(ANCHOR), rules)
    woven = [(suggestion.logprob, suggestion.tail) for suggestion in weave.view().suggestions]
    assert [tail for _, tail in woven] == [tail for _, tail in expected]
    assert [p for p, _ in woven] == pytest.approx([p for p, _ in expected], rel=1e-4)


async def test_models_stay_in_step_and_are_asked_once_a_token_path() -> None:
    original = Tokenized(3)
    mix = Mix([original, Spelled(original, ANCHOR)], democratic(1, 0))
    anchor = Anchor(tuple(ANCHOR))
    for tail in (b"", b" ", b" a", b" ab", b" ab", b" b", b" a"):
        await row(mix, Path(anchor, tuple(tail)))
    asked = [path.tokens for path in original.asked]
    assert len(asked) == len(set(asked))


async def test_with_a_servers_best_only_the_mix_says_approximate_and_how_much_is_unknown() -> None:
    whole, limited = Tokenized(1), Limited(2, top=4)
    mix = Mix([whole, limited], democratic(1, 1))
    assert not mix.exact
    path = Path(Anchor((0, *tokens_of(mix.vocabulary, ANCHOR))))
    async for answer in mix.ask([Query(path, keep=18)]):
        assert isinstance(answer, Fact)
        mixed = answer.distribution
    truth = limited.model.logprobs(path.tokens)
    hidden = 1.0 - float(np.exp(np.sort(truth)[-4:]).sum())
    assert not mixed.exact
    assert mixed.rest == pytest.approx(hidden, rel=1e-5)
    assert mix.unknown == pytest.approx(hidden, rel=1e-5)
    pooled = {int(id): math.exp(lp) for id, lp in zip(mixed.ids, mixed.logprobs, strict=True)}
    for id in range(mix.vocabulary.size):
        exact = 0.5 * math.exp(whole.logprobs(path.tokens)[id]) + 0.5 * math.exp(truth[id])
        assert abs(pooled[id] - exact) <= 0.5 * hidden + 1e-6


class Dead(Tokenized):
    """A server that has gone away."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        raise BackendUnavailable("The server stopped answering")
        yield


async def test_visuall_repeating_the_last_token_when_a_model_says_nothing_is_absent() -> None:
    mix = Mix([Tokenized(1), Dead(2)], democratic(1, 1))
    path = Path(Anchor((0, *tokens_of(mix.vocabulary, ANCHOR))))
    with pytest.raises(BackendUnavailable):
        async for _ in mix.ask([Query(path)]):
            pass
    alone = Mix([Tokenized(1), Dead(2)], democratic(1, 0))
    assert np.isfinite(await row(alone, path)).all()


async def test_a_mix_scores_a_text_as_its_pool() -> None:
    models = [Tokenized(4), Tokenized(5)]
    recipe = democratic(1, 3)
    mix = Mix(models, recipe)
    tokens = (0, *tokens_of(mix.vocabulary, b"ab be a. bea"))
    expected = Pooled(models, recipe, 1)
    scores = [score async for score in mix.score(tokens, 1, 5)]
    assert [score.index for score in scores] == list(range(1, len(tokens)))
    for score in scores:
        own = expected.logprobs(tokens[: score.index])
        assert score.logprob == pytest.approx(float(own[score.id]), rel=1e-5)
        assert score.rank == 1 + int((own > own[score.id]).sum())
