"""The sampler chain: every stage against llama.cpp's own sampler, and what holds for any settings.

How stages are compared: 1,000 random distributions (flat, peaked, tied, Zipf's, normal; 1 to 1,500
candidates in random order) go through both. The kept logits must be the same ones and the
probabilities equal within 1e-4, relative. Two things are left open by llama.cpp: which of several
equal logits are kept (its sort is not stable), so kept *logits* are compared, not ids; and which
side of a threshold float32 rounding falls on, so a result that a threshold moved by 1e-4 gives also
counts, in no more than 4 % of the distributions.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import llterm
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.vocabulary import LlamaVocabulary
from llterm.core.sampling import (
    ORDER,
    PRESETS,
    Ladder,
    Mirostat,
    NothingLeft,
    SamplerSettings,
    apply,
    breaker_tokens,
    choose,
    generator,
)

MODEL = Path(llterm.__file__).parent / "models/fable-f16.gguf"
ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
SHAPES: list[Callable[[np.random.Generator, int], Any]] = [
    lambda rng, n: rng.normal(0, 0.01, n),
    lambda rng, n: rng.normal(5, 3, n),
    lambda rng, n: np.round(rng.normal(0, 2, n)),
    lambda rng, n: rng.permutation(-1.2 * np.log(np.arange(1, n + 1)) + rng.uniform(-5, 15)),
    lambda rng, n: np.where(np.arange(n) == n // 2, 12, rng.normal(0, 1, n)),
]
Entries = NDArray[Any]
Sampler = Any


def entries(
    seed: int, vocabulary: int = 4000, sizes: Sequence[int] = (2, 5, 60, 400, 1500)
) -> Entries:
    """Candidates of a random distribution, ids in random order."""
    rng = np.random.default_rng(seed)
    size = 1 if seed % 50 == 0 else int(rng.choice(sizes))
    found = np.zeros(size, ENTRY)
    found["id"] = rng.permutation(vocabulary)[:size]
    found["logit"] = SHAPES[seed % len(SHAPES)](rng, size)
    return found


class Array:
    """Candidates in llama.cpp's hands."""

    def __init__(self, llama: Any, found: Entries) -> None:
        self._llama, self._found = llama, found.copy()
        data = self._found.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        self._array = llama.llama_token_data_array(data, len(found), -1, False)

    def apply(self, sampler: Sampler, context: Sequence[int] = ()) -> Array:
        for token in context:
            self._llama.llama_sampler_accept(sampler, token)
        self._llama.llama_sampler_apply(sampler, ctypes.byref(self._array))
        return self

    @property
    def selected(self) -> int:
        return int(self._array.data[self._array.selected].id)

    def p(self) -> dict[int, float]:
        """Probability of every candidate left; a logit of minus infinity is one dropped."""
        raw = ctypes.string_at(self._array.data, self._array.size * ENTRY.itemsize)
        left = np.frombuffer(raw, ENTRY)
        left = left[left["logit"] > -np.inf]
        logits = left["logit"].astype(np.float64)
        p = np.exp(logits - logits.max())
        return dict(zip(left["id"].tolist(), (p / p.sum()).tolist(), strict=True))


def climbed(
    settings: SamplerSettings, found: Entries, context: Sequence[int] = (), **more: Any
) -> Ladder:
    logits = found["logit"].astype(np.float64)
    log_z = float(np.logaddexp.reduce(logits))
    return apply(settings, logits - log_z, context, ids=found["id"], log_z=log_z, **more)


def same(ladder: Ladder, theirs: dict[int, float], found: Entries) -> bool:
    ours = dict(
        zip(ladder.ids[ladder.kept].tolist(), ladder.p_final[ladder.kept].tolist(), strict=True)
    )
    if len(ours) != len(theirs):
        return False
    if ours.keys() == theirs.keys():
        pairs = [(ours[id], theirs[id]) for id in ours]
    else:
        logit = dict(zip(found["id"].tolist(), found["logit"].tolist(), strict=True))
        if sorted(logit[id] for id in ours) != sorted(logit[id] for id in theirs):
            return False
        pairs = list(zip(sorted(ours.values()), sorted(theirs.values()), strict=True))
    one, other = np.array(pairs).T
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-30))


@pytest.fixture(scope="module")
def llama() -> Any:
    return library()


@pytest.fixture(scope="module")
def model(llama: Any) -> Iterator[Any]:
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(str(MODEL).encode(), params)
    yield model
    llama.llama_model_free(model)


def pick(rng: np.random.Generator, *values: float) -> float:
    """One of them; all are exact in float32, which is what llama.cpp keeps its settings in."""
    return float(np.float32(rng.choice(values)))


Case = tuple[SamplerSettings, Callable[[Any], Sampler], Sequence[int]]


def penalties(rng: np.random.Generator, found: Entries) -> Case:
    last = int(rng.choice([1, 16, 64]))
    settings = SamplerSettings(
        repeat_penalty=pick(rng, 0.75, 1.0, 1.0625, 1.5),
        frequency_penalty=pick(rng, -0.5, 0.0, 0.125),
        presence_penalty=pick(rng, 0.0, 0.25, 1.5),
        penalty_last_n=last,
    )
    context = rng.choice(found["id"], rng.integers(0, 100)).tolist()
    given = (last, settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty)
    return settings, lambda llama: llama.llama_sampler_init_penalties(4000, *given), context


def top_n_sigma(rng: np.random.Generator, found: Entries) -> Case:
    n = pick(rng, 0.25, 1, 2.5)
    return SamplerSettings(top_n_sigma=n), lambda llama: llama.llama_sampler_init_top_n_sigma(n), ()


def top_k(rng: np.random.Generator, found: Entries) -> Case:
    k = int(rng.choice([1, 2, 40, 200, 1500]))
    return SamplerSettings(top_k=k), lambda llama: llama.llama_sampler_init_top_k(k), ()


def typical_p(rng: np.random.Generator, found: Entries) -> Case:
    p = pick(rng, 0.0, 0.21, 0.5, 0.93)
    return SamplerSettings(typical_p=p), lambda llama: llama.llama_sampler_init_typical(p, 1), ()


def top_p(rng: np.random.Generator, found: Entries) -> Case:
    p = pick(rng, 0.0, 0.11, 0.7, 0.95, 0.99)
    return SamplerSettings(top_p=p), lambda llama: llama.llama_sampler_init_top_p(p, 1), ()


def min_p(rng: np.random.Generator, found: Entries) -> Case:
    p = pick(rng, 0.01, 0.05, 0.3, 1.0)
    return SamplerSettings(min_p=p), lambda llama: llama.llama_sampler_init_min_p(p, 1), ()


def xtc(rng: np.random.Generator, found: Entries) -> Case:
    p, t = pick(rng, 0.0, 1.0), pick(rng, 0.0, 0.01, 0.1, 0.4, 0.6)
    settings = SamplerSettings(xtc_probability=p, xtc_threshold=t)
    return settings, lambda llama: llama.llama_sampler_init_xtc(p, t, 1, 7), ()


def temperature(rng: np.random.Generator, found: Entries) -> Case:
    t = pick(rng, 0.0, 0.25, 0.7, 1.05, 2.0)
    return SamplerSettings(temperature=t), lambda llama: llama.llama_sampler_init_temp(t), ()


def dynamic_temperature(rng: np.random.Generator, found: Entries) -> Case:
    t, spread, exponent = pick(rng, 0.0, 0.7, 1.5), pick(rng, 0.5, 1.0), pick(rng, 0.5, 1.0, 3.0)
    settings = SamplerSettings(temperature=t, dynatemp_range=spread, dynatemp_exponent=exponent)
    return settings, lambda llama: llama.llama_sampler_init_temp_ext(t, spread, exponent), ()


STAGES = [penalties, top_n_sigma, top_k, typical_p, top_p, min_p, xtc, temperature,
          dynamic_temperature]  # fmt: skip


def near(settings: SamplerSettings, found: Entries, theirs: dict[int, float]) -> bool:
    """Whether float32 rounding explains a difference."""
    logits = found["logit"].astype(np.float64)
    kept = np.isin(found["id"], list(theirs))
    if settings.dynatemp_range:
        p = np.array([theirs[id] for id in found["id"].tolist()])
        used = _temperature(logits, climbed(settings, found).p_final)
        return math.isclose(_temperature(logits, p), used, rel_tol=5e-4)
    if settings.typical_p < 1:
        logprobs = logits - np.logaddexp.reduce(logits)
        score = np.abs(logprobs - np.exp(logprobs) @ logprobs)
        return bool(np.ptp(score[climbed(settings, found).kept != kept]) < 1e-4)
    counts = sorted(
        int(climbed(replace(settings, top_p=settings.top_p * by), found).kept.sum())
        for by in (1 - 1e-4, 1 + 1e-4)
    )
    best = np.sort(logits)[::-1][: len(theirs)]
    return counts[0] <= len(theirs) <= counts[1] and bool(
        (np.sort(logits[kept])[::-1] == best).all()
    )


def _temperature(logits: Any, p: Any) -> float:
    """What the logits of these probabilities were divided by."""
    seen = p > 1e-250
    return float(np.ptp(logits[seen]) / np.ptp(np.log(p[seen])))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_stage_is_llamas(llama: Any, stage: Callable[[Any, Any], Case]) -> None:
    borders = 0
    for seed in range(1000):
        found = entries(seed)
        settings, make, context = stage(np.random.default_rng(seed), found)
        sampler = make(llama)
        theirs = Array(llama, found).apply(sampler, context).p()
        llama.llama_sampler_free(sampler)
        if not same(climbed(settings, found, context), theirs, found):
            borders += 1
            assert near(settings, found, theirs), (seed, settings)
    assert borders <= 40


def test_dry_is_llamas(llama: Any, model: Any) -> None:
    """With breakers of several tokens and of none, on contexts full of repetitions."""
    vocabulary = LlamaVocabulary(llama, model)
    words = vocabulary.encode(b'one two. The end: two one\n\n"The *end" said')
    penalised = 0
    for group in range(10):
        rng = np.random.default_rng(group)
        texts = (("\n", ":", '"', "*"), (" end: t", "The "), ())[group % 3]
        last = int(rng.choice([20, 64, 300]))
        settings = SamplerSettings(
            dry_multiplier=pick(rng, 0.5, 0.8125),
            dry_base=pick(rng, 1.0, 1.0625, 1.75),
            dry_allowed_length=int(rng.choice([0, 1, 2, 3])),
            dry_penalty_last_n=last,
            dry_sequence_breakers=texts,
        )
        breakers = breaker_tokens(vocabulary, texts)
        sampler = llama.llama_sampler_init_dry(
            llama.llama_model_get_vocab(model), settings.dry_multiplier, settings.dry_base,
            settings.dry_allowed_length, last,
            (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts)), len(texts),
        )  # fmt: skip
        for seed in range(100):
            context = rng.choice(
                words[: rng.integers(1, len(words))], rng.integers(0, 400)
            ).tolist()
            context += context[-int(rng.integers(1, 60)) :]
            found = entries(seed, vocabulary.size, (60, vocabulary.size))
            theirs = Array(llama, found).apply(sampler, context).p()
            llama.llama_sampler_reset(sampler)
            ladder = climbed(settings, found, context, breakers=breakers)
            assert same(ladder, theirs, found), (group, seed)
            penalised += not np.allclose(ladder.p_final, ladder.p_base)
        llama.llama_sampler_free(sampler)
    assert penalised > 300


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_is_llamas(llama: Any, version: int) -> None:
    """Three tokens in a row, so that what is remembered counts; llama.cpp draws, ours follows."""
    borders = 0
    for seed in range(333):
        found = entries(seed)
        rng = np.random.default_rng(seed)
        tau, eta = pick(rng, 2, 3.5, 5), pick(rng, 0.125, 0.5)
        settings = SamplerSettings(mirostat=version, mirostat_tau=tau, mirostat_eta=eta)
        sampler = (
            llama.llama_sampler_init_mirostat(len(found), seed, tau, eta, 100)
            if version == 1
            else llama.llama_sampler_init_mirostat_v2(seed, tau, eta)
        )
        state = Mirostat.start(settings)
        for _ in range(3):
            array = Array(llama, found).apply(sampler)
            ladder = climbed(settings, found, mirostat=state)
            theirs = array.p()
            if len(theirs) == 1 and ladder.kept.all():
                break  # k is beyond int: x86 casts it to one; ours keeps all, as ARM does
            if not same(ladder, theirs, found):
                borders += 1
                assert any(
                    same(climbed(settings, found, mirostat=Mirostat(mu)), theirs, found)
                    for mu in (state.mu - 1e-4, state.mu + 1e-4)
                )
                break
            if array.selected not in ladder.ids[ladder.kept]:
                break  # one of equal logits that ours did not keep
            state = state.after(settings, ladder, array.selected)
        llama.llama_sampler_free(sampler)
    assert borders <= 4


def test_a_whole_chain_is_llamas(llama: Any) -> None:
    """Every stage at once, in llama.cpp's order; the thresholds lie off the borders."""
    for seed in range(300):
        found = entries(seed)
        rng = np.random.default_rng(seed)
        context = rng.choice(found["id"], 50).tolist()
        # llama.cpp's bans and top_n_sigma leave logits of minus infinity in its list, which make
        # its typical_p not a number: never together here.
        drops = seed % 2 == 1 and len(found) > 1
        banned = int(found["id"][0]) if drops else 4000
        sigma, typical = (2.0, 1.0) if drops else (-1.0, 0.9375)
        settings = SamplerSettings(
            repeat_penalty=1.125, frequency_penalty=0.125, top_n_sigma=sigma, top_k=50,
            typical_p=typical, top_p=0.96875, min_p=0.015625, xtc_probability=1.0,
            xtc_threshold=0.125, temperature=0.75, banned=(banned,), logit_bias=((7, 1.5),),
        )  # fmt: skip
        bias = (llama.llama_logit_bias * 2)((banned, -np.inf), (7, 1.5))
        array = Array(llama, found)
        for sampler in (
            llama.llama_sampler_init_logit_bias(4000, 2, bias),
            llama.llama_sampler_init_penalties(4000, 64, 1.125, 0.125, 0),
            llama.llama_sampler_init_top_n_sigma(sigma),
            llama.llama_sampler_init_top_k(50),
            llama.llama_sampler_init_typical(typical, 0),
            llama.llama_sampler_init_top_p(0.96875, 0),
            llama.llama_sampler_init_min_p(0.015625, 0),
            llama.llama_sampler_init_xtc(1.0, 0.125, 0, 7),
            llama.llama_sampler_init_temp_ext(0.75, 0, 1),
        ):
            array.apply(sampler, context)
            llama.llama_sampler_free(sampler)
        assert same(climbed(settings, found, context), array.p(), found), seed


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
    with pytest.raises(NothingLeft, match="constraint"):
        apply(settings, logprobs, (), ids=ids, mask=ids == 8)


def test_mirostat_replaces_all_but_temperature() -> None:
    settings = SamplerSettings(
        mirostat=2, temperature=0.5, dynatemp_range=0.25, top_k=1, repeat_penalty=2.0, banned=(0,)
    )
    ladder = apply(settings, np.log([0.4, 0.3, 0.3]), (1, 2))
    assert [rung.stage for rung in ladder.rungs] == ["ban", "temperature", "mirostat"]
    state = Mirostat(4.0)
    assert state.after(settings, ladder, 1).mu == pytest.approx(4.4)  # surprise 1, target 5
    assert state.after(settings, ladder, 0) == state, "a forced token teaches nothing"


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


@st.composite
def any_settings(draw: st.DrawFn) -> SamplerSettings:
    def number(low: float, high: float, off: float) -> float:
        return draw(st.one_of(st.just(off), st.floats(low, high)))

    return SamplerSettings(
        temperature=number(0, 3, 1),
        dynatemp_range=number(0, 2, 0),
        top_k=draw(st.integers(0, 30)),
        top_p=number(0, 1, 1),
        min_p=number(0, 1, 0),
        typical_p=number(0, 1, 1),
        top_n_sigma=number(-1, 3, -1),
        xtc_probability=number(0, 1, 0),
        repeat_penalty=number(0.5, 2, 1),
        frequency_penalty=number(-2, 2, 0),
        presence_penalty=number(-2, 2, 0),
        dry_multiplier=number(0, 2, 0),
        dry_sequence_breakers=(),
        mirostat=draw(st.sampled_from([0, 0, 0, 1, 2])),
        seed=1,
        order=tuple(draw(st.permutations(ORDER))[: draw(st.integers(0, len(ORDER)))]),
    )


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
