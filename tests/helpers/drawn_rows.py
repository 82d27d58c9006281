"""Rows of logits of any shape and the chains that draw from them, together and one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from llterm.backends.llamacpp.logits import best_of, read_distributions
from llterm.core.bans import Bans
from llterm.core.distribution import Bits, Distribution
from llterm.core.logit_rows import RowScratch
from llterm.core.query import Query
from llterm.core.sampling.batch_sampler import BatchSampler
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.drawn_rows import RowDraw, RowToDraw
from llterm.core.sampling.ladder import Mirostat
from llterm.core.sampling.sampler_chain import Chain, Chains, Situation, barring
from llterm.core.sampling.sampler_settings import ORDER, PRESETS, SamplerSettings, Sampling
from llterm.core.tokens import Anchor, EncodesHere, Path, Tail, Token

SIZES = (2, 5, 70, 700, 1200, 1200)


class ByteByByte(EncodesHere):
    """As many tokens as wanted: 0 ends a text, 1 and 2 are special, the others are the bytes of
    their number, and words after these."""

    prefix: Tail = ()

    def __init__(self, size: int) -> None:
        self.size = size

    @cached_property
    def fingerprint(self) -> str:
        return f"bytes-{self.size}"

    def token(self, id: int) -> Token:
        data = bytes([id]) if id < 256 else b" Word%d" % id
        return Token(id, data, special=id < 3, end=not id)

    def encode(self, data: bytes) -> Tail:
        return tuple(byte % self.size for byte in data)


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


@st.composite
def best_first(draw: st.DrawFn) -> SamplerSettings:
    """Chains whose first stage keeps only the best, and what comes after it."""
    first = draw(st.sampled_from(["top_k", "top_p", "min_p", "top_n_sigma", "temperature"]))
    later = draw(st.permutations([stage for stage in ORDER if stage not in (first, "dry")]))
    return SamplerSettings(
        temperature=draw(st.one_of(st.sampled_from([0, 0.7, 1]), st.floats(0.05, 3))),
        dynatemp_range=draw(st.one_of(st.just(0), st.floats(0, 2))),
        dynatemp_exponent=draw(st.sampled_from([1, 0.5, 2, 20])),
        top_k=draw(st.sampled_from([1, 2, 10, 40])),
        top_p=draw(st.floats(0.05, 1)),
        min_p=draw(st.floats(1e-4, 0.5)),
        typical_p=draw(st.floats(0, 1)),
        top_n_sigma=draw(st.floats(0.1, 3)),
        xtc_probability=draw(st.sampled_from([0.5, 1])),
        xtc_threshold=draw(st.one_of(st.just(0.1), st.floats(0, 0.5))),
        repeat_penalty=1.2,
        seed=1,
        order=(first, *later[: draw(st.integers(0, len(later)))]),
    )


@st.composite
def any_sampling(draw: st.DrawFn) -> Sampling:
    """A preset or any settings, with what a story asks for besides."""
    presets = st.sampled_from([*PRESETS.values()])
    settings = draw(st.one_of(presets, any_settings(), best_first()))
    if draw(st.booleans()):
        breakers = draw(st.sampled_from([(), ("\n", "e")]))
        settings = replace(settings, dry_sequence_breakers=breakers)
    if draw(st.booleans()):
        xtc = draw(st.floats(0, 0.6))
        settings = replace(settings, xtc_probability=1.0, xtc_threshold=xtc)
    plain = st.just(Bans())
    bans = st.sampled_from([Bans(newline=True), Bans(capitals=True), Bans(phrases=("ab", "d"))])
    ids = st.integers(0, 12).map(lambda id: f"#{id}")
    biased = st.tuples(st.one_of(ids, st.just("e")), st.sampled_from([-np.inf, -3.0, 0.5, 40.0]))
    return Sampling(
        replace(settings, seed=draw(st.integers(0, 3))),
        None,
        draw(st.one_of(plain, bans)),
        tuple(draw(st.one_of(st.just([]), st.lists(biased, max_size=4)))),
        draw(st.sampled_from([0, 0, 0, 5])),
    )


def any_logits(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A row such as models give, and such as none does."""
    row = rng.normal(size=size) * rng.choice([0.01, 1, 3, 3, 3, 30, 1e6]) + rng.choice([0, 0, -90])
    kind = rng.integers(8)
    if kind == 0:
        row = np.round(row)
    elif kind == 1:
        row = np.full(size, row[0])
    elif kind == 2:
        row[rng.random(size) < rng.random()] = -np.inf
    elif kind == 3:
        row = -np.log(1 + rng.permutation(size)) * rng.choice([1, 1.5, 4])
    elif kind == 4:
        row[rng.integers(size, size=3)] += 12
    if not np.isfinite(row).any():
        row[rng.integers(size)] = 0
    return np.asarray(row, np.float32)


@dataclass(frozen=True)
class Rows:
    """What is drawn from together."""

    logits: NDArray[np.float32]
    rows: Sequence[RowToDraw]


@st.composite
def any_rows(draw: st.DrawFn) -> Rows:
    """Some rows, each with a chain, a place and perhaps a mask of its own."""
    vocabulary = _chains(draw(st.sampled_from(SIZES))).vocabulary
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    samplings = draw(st.lists(any_sampling(), min_size=1, max_size=3))
    logits, rows = [], []
    for number in range(draw(st.integers(1, 4))):
        sampling = samplings[number % len(samplings)]
        nearby = min(vocabulary.size, draw(st.sampled_from([4, 300])))
        context = tuple(rng.integers(nearby, size=draw(st.integers(0, 30))).tolist())
        likely = draw(st.sampled_from([None, None, 0.02, 0.5, 0.98]))
        mirostat = Mirostat(float(rng.uniform(0, 12))) if draw(st.booleans()) else None
        mask = None if likely is None else _some(rng, vocabulary.size, likely)
        healing = _some(rng, vocabulary.size, 0.3) if draw(st.integers(0, 7)) == 0 else None
        rows.append(
            RowToDraw(
                _chain(vocabulary.size, sampling),
                Situation(context, b"a", b"a", draw(st.integers(0, 12)), mirostat=mirostat),
                line=draw(st.integers(0, 3)),
                mask=mask,
                first=[("healing", barring(~healing))] if healing is not None else (),
                top=draw(st.sampled_from([0, 1, 9, 6000])),
            )
        )
        logits.append(any_logits(rng, vocabulary.size))
    return Rows(np.array(logits), rows)


@cache
def _chains(size: int) -> Chains:
    return Chains(ByteByByte(size))


def _chain(size: int, sampling: Sampling) -> Chain:
    chain = _chains(size).known(sampling)
    assert chain is not None
    return chain


def _some(rng: np.random.Generator, size: int, share: float) -> Bits:
    return np.asarray(rng.random(size) < share, np.bool_)


def assert_alike(drawn: Rows) -> None:
    """Together each row gives what it gives alone. Probabilities are sums in another order; where a
    chain keeps all candidates their sum is taken in float32, by which a part in 25,000 may go."""
    alike = zip(drawn.rows, together(drawn), one_by_one(drawn), strict=True)
    for asked, row, alone in alike:
        if row is None or alone is None:
            assert row is alone
        else:
            assert row.p == pytest.approx(alone.p, rel=4e-5 if asked.chain.plain else 1e-9)
            assert row._replace(p=alone.p) == alone


def one_by_one(drawn: Rows) -> list[RowDraw | None]:
    """What the chain draws of each whole row."""
    return [_alone(logits, row) for logits, row in zip(drawn.logits, drawn.rows, strict=True)]


def together(drawn: Rows) -> list[RowDraw | None]:
    """What is drawn of all of them at once."""
    return BatchSampler().draw(drawn.logits, best_of(drawn.logits, "rows"), drawn.rows)


def _alone(logits: NDArray[np.float32], row: RowToDraw) -> RowDraw | None:
    distribution = whole(logits, row.top)
    try:
        choice = row.chain.draw(distribution, row.at, line=row.line, mask=row.mask, first=row.first)
    except NoCandidateLeft:
        return None
    top = zip(distribution.ids.tolist(), distribution.logprobs.tolist(), strict=True)
    return RowDraw(choice.id, choice.logprob, choice.p, choice.mirostat, tuple(top))


def whole(logits: NDArray[np.float32], keep: int) -> Distribution:
    """As the backend reads a row."""
    query = Query(Path(Anchor(())), keep, full=True)
    (distribution,) = read_distributions(logits[None], [query], "rows", RowScratch())
    return distribution
