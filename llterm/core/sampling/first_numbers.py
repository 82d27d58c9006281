"""The first random number of many seeded places at once.

NumPy makes a generator in 20 µs, of which one number is drawn: more than all else that many a row
costs. What is computed here is what `default_rng(seed).random()` gives, by the algorithms that
NumPy keeps as they are: `SeedSequence` (numpy/random/bit_generator.pyx, after M. O'Neill,
"Developing a seed_seq Alternative", 2015) and PCG64 (XSL-RR 128/64, M. O'Neill, "PCG: A Family of
Simple Fast Space-Efficient Statistically Good Algorithms for Random Number Generation", 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_POOL = 4
WORD = 1 << 32
"""Below this the integers of a seed must be."""
_SHIFT = np.uint32(16)
_LEFT, _RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_PCG = 2549297995355413924 << 64 | 4865540595714422341
_HALF = (1 << 64) - 1
_WHOLE = (1 << 128) - 1

Words = NDArray[np.uint32]


def _constants(first: int, factor: int, count: int) -> Words:
    """The hash constants in the order of their use, shape (count + 1, 1)."""
    values = [first]
    for _ in range(count):
        values.append(values[-1] * factor % WORD)
    return np.array(values, np.uint32)[:, None]


_MIXING = _constants(0x43B0D7E5, 0x931E8875, _POOL * _POOL)
_GIVING = _constants(0x8B51F9DD, 0x58F38DED, 2 * _POOL)


def first_numbers(seeds: Sequence[tuple[int, int, int]]) -> list[float]:
    """For each seed of three integers from 0 to 2³² − 1 the first number, from 0 (with) to 1
    (without), of NumPy's default generator."""
    pool = np.zeros((_POOL, len(seeds)), np.uint32)
    pool[:3] = np.array(seeds, np.uint32).T
    pool = _hashed(pool, _MIXING[: _POOL + 1])
    for source in range(_POOL):
        others = [place for place in range(_POOL) if place != source]
        start = _POOL + source * len(others)
        hashed = _hashed(pool[source], _MIXING[start : start + len(others) + 1])
        mixed = _LEFT * pool[others] - _RIGHT * hashed
        pool[others] = mixed ^ (mixed >> _SHIFT)
    words = _hashed(np.concatenate([pool, pool]), _GIVING).astype(np.uint64)
    halves = words[::2] | words[1::2] << np.uint64(32)
    return [_first(*state) for state in halves.T.tolist()]


def _hashed(values: Words, constants: Words) -> Words:
    """Each hashed with the constant of its row and the next one."""
    hashed = (values ^ constants[:-1]) * constants[1:]
    return np.asarray(hashed ^ (hashed >> _SHIFT), np.uint32)


def _first(high: int, low: int, stream_high: int, stream_low: int) -> float:
    """PCG64's first number from what seeds it."""
    step = ((stream_high << 64 | stream_low) << 1 | 1) & _WHOLE
    state = (step + (high << 64 | low)) & _WHOLE
    for _ in range(2):
        state = (state * _PCG + step) & _WHOLE
    bits, turn = (state >> 64) ^ (state & _HALF), state >> 122
    return (((bits >> turn | bits << (64 - turn)) & _HALF) >> 11) * 2.0**-53
