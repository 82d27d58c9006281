"""The random numbers that rows are drawn with: those of a seed computed for many places ahead."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from llterm.core.sampling.ladder import generator
from llterm.core.sampling.pcg64 import WORD, pcg64_numbers
from llterm.core.sampling.sampler_settings import SamplerSettings

_KNOWN = 2
"""Numbers of a place that are computed ahead: XTC takes one, and the draw one."""
_AHEAD = 32
"""Places of a line that they are computed for at once."""
_LINES = 4096
"""Lines whose numbers are kept."""

Numbers = tuple[float, ...]
Line = tuple[int, int]
"""A seed and the number of a line."""


class RandomGenerators:
    """Numbers of the places of lines. For one thread at a time."""

    def __init__(self) -> None:
        self._chance = np.random.default_rng()
        """Of lines without a seed."""
        self._lines: dict[Line, tuple[int, list[Numbers]]] = {}
        """A place, and the numbers there and at those after it."""

    def of(self, places: Iterable[tuple[SamplerSettings, int, int]]) -> list[RandomGenerator]:
        """Those of places: settings with a seed or without, tokens before it, number of its
        line."""
        chances: list[RandomGenerator] = []
        unknown: list[RandomGenerator] = []
        unseeded: list[RandomGenerator] = []
        for settings, place, number in places:
            chance = RandomGenerator(settings, place, number)
            chances.append(chance)
            if settings.seed is None:
                unseeded.append(chance)
                continue
            line = self._lines.get((settings.seed, number))
            if line is not None and 0 <= place - line[0] < _AHEAD:
                chance.known = line[1][place - line[0]]
            else:
                unknown.append(chance)
        if unseeded:
            numbers = self._chance.random((len(unseeded), _KNOWN)).tolist()
            for chance, known in zip(unseeded, numbers, strict=True):
                chance.known = tuple(known)
        if unknown:
            self._look_ahead(unknown)
        return chances

    def _look_ahead(self, chances: Iterable[RandomGenerator]) -> None:
        """Compute at once what is not at hand, but of larger integers than can be."""
        asked = [
            (chance, seed)
            for chance in chances
            if (seed := chance.settings.seed) is not None
            and min(seed, chance.number) >= 0
            and max(seed, chance.number, chance.place + _AHEAD) < WORD
        ]
        if not asked:
            return
        if len(self._lines) + len(asked) > _LINES:
            self._lines.clear()
        starts = [(seed, chance.place, chance.number) for chance, seed in asked]
        seeds = np.repeat(np.array(starts, np.int64).T, _AHEAD, axis=1)
        seeds[1] += np.tile(np.arange(_AHEAD), len(asked))
        numbers = [*zip(*pcg64_numbers(seeds, _KNOWN).tolist(), strict=True)]
        for index, (chance, seed) in enumerate(asked):
            own = numbers[index * _AHEAD : (index + 1) * _AHEAD]
            self._lines[seed, chance.number] = chance.place, own
            chance.known = own[0]


class RandomGenerator:
    """The numbers of one place from 0 (with) to 1 (without), one after the other. Making a
    generator takes longer than many a row: it is made when it is asked for more than is known."""

    __slots__ = ("_further", "_taken", "known", "number", "place", "settings")

    def __init__(self, settings: SamplerSettings, place: int, number: int) -> None:
        self.settings, self.place, self.number = settings, place, number
        self.known: Numbers = ()
        self._taken = 0
        self._further: np.random.Generator | None = None

    def __call__(self) -> float:
        taken, self._taken = self._taken, self._taken + 1
        if taken < len(self.known):
            return self.known[taken]
        if self._further is None:
            self._further = generator(self.settings, self.place, self.number)
            if self.settings.seed is not None:
                self._further.random(taken)
        return self._further.random()

    def begin_anew(self) -> None:
        """Tell the same numbers again: what was drawn with them is of no account."""
        self._taken, self._further = 0, None
