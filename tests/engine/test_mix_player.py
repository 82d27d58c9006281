"""A text made by a mix: whose each token is, what is drawn, what is warned of."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from llterm.core.distribution import Distribution, Logprobs
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Capabilities, Fact, Failed, Query
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.tokens import Anchor, Path, Tail
from llterm.engine.mix_player import MixPlayer, MixTurn
from llterm.engine.mixture import Mix
from llterm.errors import LltermError
from tests.helpers.mix_models import Endless
from tests.helpers.tokenized_model import Tokenized

PATH = Path(Anchor((0, 1)))


def mix_of(*models: Tokenized, mode: Mode = "democratic", turn: int = 1) -> Mix:
    return Mix(models, Recipe(mode, OpinionPool((1.0,) * len(models)), turn))


async def played(mix: Mix, count: int, settings: SamplerSettings | None = None) -> list[MixTurn]:
    mix.begin(PATH.anchor)
    player = MixPlayer(mix, Sampling(settings, None)) if settings else MixPlayer(mix)
    return [turn async for turn in player.play(PATH, count)]


@pytest.mark.parametrize("count", [1, 2, 7])
async def test_visuall_one_token_too_many_is_absent(count: int) -> None:
    turns = await played(mix_of(Endless(1), Endless(2)), count)
    assert [turn.position for turn in turns] == list(range(count))


async def test_the_most_probable_token_of_the_mix_is_taken_and_has_an_owner() -> None:
    models = [Endless(n) for n in range(3)]
    tail: Tail = ()
    for turn in await played(mix_of(*models), 12):
        rows = np.exp([model.logprobs(PATH.tokens + tail) for model in models])
        mean = rows.mean(axis=0)
        assert turn.token.id == int(mean.argmax())
        assert turn.p == pytest.approx(float(mean.max()), rel=1e-5)
        firsts = [n for n in range(3) if int(rows[n].argmax()) == turn.token.id]
        sure = max(firsts, key=lambda n: rows[n][turn.token.id], default=None)
        assert turn.by == sure
        for n, vote in enumerate(turn.votes):
            assert vote.choice.id == int(rows[n].argmax())
            assert vote.p == pytest.approx(float(rows[n][turn.token.id]), rel=1e-5)
        tail = (*tail, turn.token.id)


async def test_visuall_always_greedy_is_absent_and_a_seed_repeats() -> None:
    mix = mix_of(Endless(1), Endless(2))
    seeded = SamplerSettings(temperature=1.5, seed=7, xtc_probability=0.5, xtc_threshold=0.05)
    first, second = await played(mix, 12, seeded), await played(mix, 12, seeded)
    assert [turn.token.id for turn in first] == [turn.token.id for turn in second]
    greedy = await played(mix, 12)
    assert [turn.token.id for turn in first] != [turn.token.id for turn in greedy]
    assert all(0 < turn.p_final <= 1 for turn in first)
    assert all(turn.p_final == 1.0 for turn in greedy)


async def test_the_sampler_chain_comes_after_the_pool() -> None:
    mix = mix_of(Endless(1), Endless(2))
    for turn in await played(mix, 8, SamplerSettings(top_k=2, seed=1)):
        assert turn.p < turn.p_final
    reliable = await played(mix, 8, PRESETS["reliable"])
    assert len(reliable) == 8


async def test_an_end_token_ends_the_text_whatever_it_is_called() -> None:
    class Ending(Tokenized):
        def logprobs(self, tokens: Tail) -> Logprobs:
            row = np.full(self.model.size, -20.0, np.float32)
            row[0 if len(tokens) > 4 else 3] = -1e-6
            return row

    turns = await played(mix_of(Ending(1), Ending(2)), 10)
    assert [turn.token.end for turn in turns] == [False, False, False, True]


class Poor(Endless):
    """A server that lists one candidate of little mass."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            distribution = Distribution(
                np.array([4], np.int32), np.array([math.log(0.2)], np.float32), 0.8, 1.0,
                (0.5, 5.0), False,
            )  # fmt: skip
            yield Fact(query.path, distribution)


async def test_low_mass_is_warned_of_and_the_unknown_told() -> None:
    poor = Poor(2)
    poor.capabilities = Capabilities(full_vocabulary=False, top=1)
    turn = (await played(mix_of(Endless(1), poor), 1))[0]
    assert turn.votes[0].warnings == ()
    assert turn.votes[1].warnings == ("low mass",)
    assert turn.votes[1].known == pytest.approx(0.2)
    assert turn.unknown == pytest.approx(0.8)


async def test_a_model_that_stands_for_no_text_is_warned_of() -> None:
    class Empty(Endless):
        def logprobs(self, tokens: Tail) -> Logprobs:
            row = np.full(self.model.size, -20.0, np.float32)
            row[0] = -1e-6
            return row

    empty = Empty(1)
    empty.model._tokens[0] = type(empty.model.token(0))(0, b"<pad>", special=True)
    turn = (await played(mix_of(empty, empty), 1))[0]
    assert turn.votes[0].warnings == ("empty token",)


async def test_a_chain_that_leaves_nothing_is_said() -> None:
    everything = tuple(range(Endless(1).model.size))
    with pytest.raises(LltermError, match="Nothing is left"):
        await played(mix_of(Endless(1), Endless(2)), 1, SamplerSettings(banned=everything))
