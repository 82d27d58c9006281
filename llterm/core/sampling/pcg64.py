"""The first random numbers of many seeded places at once.

NumPy makes a generator in 20 µs, of which one number is drawn: more than all else that many a row
costs. What is computed here is what `default_rng(seed).random(count)` gives, by the algorithms that
NumPy keeps as they are: `SeedSequence` (numpy/random/bit_generator.pyx, after M. O'Neill,
"Developing a seed_seq Alternative", 2015) and PCG64 (XSL-RR 128/64, M. O'Neill, "PCG: A Family of
Simple Fast Space-Efficient Statistically Good Algorithms for Random Number Generation", 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals

_POOL = 4
WORD = 1 << 32
"""Below this the integers of a seed must be."""
_SHIFT = np.uint32(16)
_LEFT, _RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_PCG_HIGH, _PCG_LOW = np.uint64(2549297995355413924), np.uint64(4865540595714422341)
_ONE, _HALF, _LAST = np.uint64(1), np.uint64(32), np.uint64(63)
_QUARTER = np.uint64(WORD - 1)

Words = NDArray[np.uint32]
Longs = NDArray[np.uint64]
Long = tuple[Longs, Longs]
"""Numbers of 128 bits in halves, the high one first."""


def _constants(first: int, factor: int, count: int) -> Words:
    """The hash constants in the order of their use, shape (count + 1, 1)."""
    values = [first]
    for _ in range(count):
        values.append(values[-1] * factor % WORD)
    return np.array(values, np.uint32)[:, None]


_MIXING = _constants(0x43B0D7E5, 0x931E8875, _POOL * _POOL)
_GIVING = _constants(0x8B51F9DD, 0x58F38DED, 2 * _POOL)


def pcg64_numbers(seeds: NDArray[np.integer[Any]], count: int) -> Reals:
    """For each seed of three integers from 0 to 2³² − 1, shape (3, n), the first numbers, from 0
    (with) to 1 (without), of NumPy's default generator; shape (count, n)."""
    pool = np.zeros((_POOL, seeds.shape[1]), np.uint32)
    pool[:3] = seeds
    pool = _hashed(pool, _MIXING[: _POOL + 1])
    for source in range(_POOL):
        others = [place for place in range(_POOL) if place != source]
        start = _POOL + source * len(others)
        hashed = _hashed(pool[source], _MIXING[start : start + len(others) + 1])
        mixed = _LEFT * pool[others] - _RIGHT * hashed
        pool[others] = mixed ^ (mixed >> _SHIFT)
    words = _hashed(np.concatenate([pool, pool]), _GIVING).astype(np.uint64)
    high, low, stream_high, stream_low = words[::2] | words[1::2] << _HALF
    return _drawn((high, low), (stream_high, stream_low), count)


def _hashed(values: Words, constants: Words) -> Words:
    """Each hashed with the constant of its row and the next one."""
    hashed = (values ^ constants[:-1]) * constants[1:]
    return np.asarray(hashed ^ (hashed >> _SHIFT), np.uint32)


def _drawn(seed: Long, stream: Long, count: int) -> Reals:
    """PCG64's first numbers from what seeds it."""
    step = stream[0] << _ONE | stream[1] >> _LAST, stream[1] << _ONE | _ONE
    state = _sum(_times_pcg(*_sum(step, seed)), step)
    numbers = np.empty((count, len(seed[0])))
    for row in numbers:
        state = _sum(_times_pcg(*state), step)
        bits, turn = state[0] ^ state[1], state[0] >> np.uint64(58)
        turned = bits >> turn | bits << ((~turn + _ONE) & _LAST)
        np.multiply(turned >> np.uint64(11), 2.0**-53, out=row)
    return numbers


def _sum(first: Long, second: Long) -> Long:
    low = first[1] + second[1]
    return first[0] + second[0] + (low < first[1]), low


def _times_pcg(high: Longs, low: Longs) -> Long:
    """128 bits of the product with PCG's factor: that of the low halves in full, by quarters."""
    left, right = low >> _HALF, low & _QUARTER
    far, near = _PCG_LOW >> _HALF, _PCG_LOW & _QUARTER
    middle = (right * near >> _HALF) + (left * near & _QUARTER) + (right * far & _QUARTER)
    carried = left * far + (left * near >> _HALF) + (right * far >> _HALF) + (middle >> _HALF)
    return carried + low * _PCG_HIGH + high * _PCG_LOW, low * _PCG_LOW
