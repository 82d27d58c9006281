"""Which of many texts say nearly the same: MinHash of their words in threes, and its bands.

Of a text some hundred numbers are kept, whatever its length. (Broder, "On the resemblance and
containment of documents", 1997; the bands: Leskovec et al., "Mining of Massive Datasets", §3.4.)
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HASHES = 128
"""A share of common threes is told to about ± 0.04."""
BAND = 4
"""Hashes of a band: two texts of which 0.8 is common share one of the bands almost surely."""
ALIKE = 0.8
"""Share of the threes of both that they have in common, from which on two texts are alike."""
WORDS = 3
_MOST_SEEN = 16
"""Texts of one band that another is compared with."""

_random = np.random.default_rng(20)
_FACTORS = _random.integers(1, 1 << 62, HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 1 << 62, HASHES, np.uint64)


class TextSignatures:
    """The texts so far, by their signatures."""

    def __init__(self) -> None:
        self._rows = np.empty((1024, HASHES), np.uint32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, words: Sequence[str]) -> None:
        """A text, by its folded words."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = _signature(words)
        self._count += 1

    def alike(self, order: Sequence[int]) -> NDArray[np.int64]:
        """For each text an earlier one, in this order, that it is alike to and that is alike to
        none itself; -1 where there is none. Shape (texts,)."""
        rows = self._rows[: self._count]
        bands = [_shared(rows[:, at : at + BAND]) for at in range(0, HASHES, BAND)]
        kept: list[dict[int, list[int]]] = [{} for _ in bands]
        first = np.full(self._count, -1, np.int64)
        for text in order:
            places = [
                (seen, int(band[text]))
                for seen, band in zip(kept, bands, strict=True)
                if band[text] >= 0
            ]
            others = sorted({other for seen, key in places for other in seen.get(key, ())})
            if others:
                shares = (rows[others] == rows[text]).mean(axis=1)
                best = int(shares.argmax())
                if shares[best] >= ALIKE:
                    first[text] = others[best]
                    continue
            for seen, key in places:
                listed = seen.setdefault(key, [])
                if len(listed) < _MOST_SEEN:
                    listed.append(text)
        return first


def _signature(words: Sequence[str]) -> NDArray[np.uint32]:
    """The least hash of its threes, of each of the functions."""
    count = max(len(words) - WORDS + 1, 1)
    threes = {zlib.crc32(" ".join(words[at : at + WORDS]).encode()) for at in range(count)}
    hashes = np.fromiter(threes, np.uint64, len(threes))
    # Multiply, add, shift (Dietzfelbinger 1996): numbers wrap around at 64 bits.
    mixed = (hashes[:, None] * _FACTORS + _OFFSETS) >> np.uint64(32)
    least: NDArray[np.uint32] = mixed.min(axis=0).astype(np.uint32)
    return least


def _shared(band: NDArray[np.uint32]) -> NDArray[np.int64]:
    """A number for each text, the same where the whole band is; -1 where no other one has it."""
    whole = np.ascontiguousarray(band).view(np.dtype((np.void, band.itemsize * band.shape[1])))
    _, which, counts = np.unique(whole[:, 0], return_inverse=True, return_counts=True)
    return np.where(counts[which] > 1, which, -1)
