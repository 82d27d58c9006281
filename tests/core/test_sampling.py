"""The sampler chain as a whole: what holds for any settings, candidates and order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.ladder import Mirostat, apply, choose, generator
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings
from tests.helpers.drawn_rows import any_settings


def test_temperature_before_or_after_top_p() -> None:
    p = np.array([0.5, 0.25, 0.15, 0.1])
    hot = SamplerSettings(temperature=2.0, top_p=0.7, order=("temperature", "top_p"))
    before, after = (
        apply(replace(hot, order=order), np.log(p), ()) for order in (hot.order, hot.order[::-1])
    )
    assert (before.kept.sum(), after.kept.sum()) == (3, 2)
    assert [rung.stage for rung in after.rungs] == ["top_p", "temperature"]
    assert after.rungs[0].p == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert after.p_final == pytest.approx([2**0.5 / (1 + 2**0.5), 1 / (1 + 2**0.5), 0, 0])


def test_who_dropped_what() -> None:
    ids = np.array([9, 4, 7, 1, 3, 8], np.int32)
    p = np.array([0.3, 0.25, 0.2, 0.15, 0.1, 0.0])
    settings = SamplerSettings(banned=(4,), logit_bias=((1, -np.inf), (3, 0.5)), top_k=1)
    with np.errstate(divide="ignore"):
        logprobs = np.log(p).astype(np.float32)
    ladder = apply(settings, logprobs, (), ids=ids, mask=ids != 9)
    assert ladder.dropped_by.tolist() == ["constraint", "ban", None, "logit_bias", "top_k", "model"]
    assert [rung.stage for rung in ladder.rungs] == ["constraint", "logit_bias", "ban", "top_k"]
    assert ladder.valid.tolist() == [False, True, True, True, True, True]
    assert ladder.p_base == pytest.approx(p)
    assert choose(ladder, generator(settings, 0)) == 7
    with pytest.raises(NoCandidateLeft, match="constraint"):
        apply(settings, logprobs, (), ids=ids, mask=ids == 8)


def test_mirostat_replaces_all_but_temperature() -> None:
    settings = SamplerSettings(
        mirostat=2, temperature=0.5, dynatemp_range=0.25, top_k=1, repeat_penalty=2.0, banned=(0,)
    )
    ladder = apply(settings, np.log([0.4, 0.3, 0.3]), (1, 2))
    assert [rung.stage for rung in ladder.rungs] == ["ban", "temperature", "mirostat"]
    state, p = Mirostat(4.0), ladder.p_final.tolist()
    assert state.after(settings, p[1]).mu == pytest.approx(4.4)  # surprise 1, target 5
    assert state.after(settings, p[0]) == state, "a forced token teaches nothing"


def test_dry_asks_for_its_breakers() -> None:
    with pytest.raises(ValueError, match="breaker_tokens"):
        apply(SamplerSettings(dry_multiplier=1.0), np.log([0.5, 0.5]), (0, 1))


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    settings = SamplerSettings(top_k=3, seed=5)
    ladder = apply(settings, np.log([0.2, 0.1, 0.4, 0.3]), ())
    rng = generator(settings, 0)
    drawn = np.bincount([choose(ladder, rng) for _ in range(20_000)], minlength=4) / 20_000
    assert drawn == pytest.approx(ladder.p_final, abs=0.02)
    assert drawn[1] == 0
    assert generator(settings, 3).random() == generator(settings, 3).random()
    assert generator(settings, 3).random() != generator(settings, 4).random()


def test_presets() -> None:
    logprobs = np.log([0.1, 0.5, 0.4])
    kept = {name: int(apply(it, logprobs, (0,)).kept.sum()) for name, it in PRESETS.items()}
    assert kept == {"neutral": 3, "greedy": 1, "reliable": 1, "balanced": 2, "creative": 3}
    orders = {it.order for name, it in PRESETS.items() if name != "neutral"}
    assert orders == {("penalties", "temperature", "top_p")}
    np.testing.assert_allclose(apply(PRESETS["neutral"], logprobs, (0,)).p_final, np.exp(logprobs))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1}, {"temperature": float("nan")}, {"top_p": 1.1}, {"min_p": -1.0},
        {"top_k": -1}, {"repeat_penalty": 0.0}, {"mirostat": 3}, {"penalty_last_n": -2},
        {"top_n_sigma": float("inf")}, {"seed": -1}, {"logit_bias": ((1, float("nan")),)},
        {"logit_bias": ((1, 1.0), (1, 2.0))}, {"dry_sequence_breakers": ("",)},
        {"order": ("top_p", "top_q")}, {"order": ("top_p", "top_p")},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplerSettings(**wrong)


LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40)
CONTEXT = st.lists(st.integers(0, 5), max_size=12)


@given(any_settings(), LOGITS, CONTEXT)
def test_every_ladder_adds_up(
    settings: SamplerSettings, logits: list[float], context: list[int]
) -> None:
    ladder = apply(settings, np.array(logits), context)
    assert ladder.p_final.sum() == pytest.approx(1)
    assert (ladder.p_final[~ladder.kept] == 0).all()
    assert ladder.kept.any()
    stages = [rung.stage for rung in ladder.rungs]
    for kept, name in zip(ladder.kept, ladder.dropped_by, strict=True):
        assert (name is None) if kept else (name in stages)
    for rung in ladder.rungs:
        assert rung.p.sum() == pytest.approx(1)
    if stages:
        assert (ladder.rungs[-1].p == ladder.p_final).all()


@given(LOGITS, CONTEXT)
def test_neutral_settings_change_nothing(logits: list[float], context: list[int]) -> None:
    logprobs = np.array(logits) - np.logaddexp.reduce(logits)
    ladder = apply(SamplerSettings(), logprobs, context)
    assert ladder.rungs == ()
    assert ladder.kept.all()
    assert ladder.p_final == pytest.approx(ladder.p_base)


@given(LOGITS, st.floats(0, 1), st.integers(1, 10))
def test_the_best_candidate_stays(logits: list[float], share: float, count: int) -> None:
    """But for typical_p, which keeps what is nearest to the entropy, and XTC."""
    for settings in (
        SamplerSettings(top_k=count),
        SamplerSettings(top_p=share),
        SamplerSettings(min_p=share),
        SamplerSettings(top_n_sigma=share),
        SamplerSettings(mirostat=2, mirostat_tau=share),
    ):
        assert apply(settings, np.array(logits), ()).kept[int(np.argmax(logits))]


@given(LOGITS, CONTEXT, st.integers(0, 10), st.randoms())
def test_the_order_of_the_candidates_does_not_matter(
    logits: list[float], context: list[int], count: int, random: Any
) -> None:
    settings = SamplerSettings(top_k=count, repeat_penalty=1.5, temperature=0.5)
    shuffled = np.array(random.sample(range(len(logits)), len(logits)), np.int32)
    one = apply(settings, np.array(logits), context)
    other = apply(settings, np.array(logits)[shuffled], context, ids=shuffled)
    assert (other.kept == one.kept[shuffled]).all()
    assert other.p_final == pytest.approx(one.p_final[shuffled])
