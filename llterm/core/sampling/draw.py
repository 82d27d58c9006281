"""Draws one token after another from a model's distributions, by one chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llterm.core.distribution import Bits, Distribution, Mask
from llterm.core.sampling.chain import Ladder, Mirostat, apply, choose, generator
from llterm.core.sampling.dry import breaker_tokens
from llterm.core.sampling.settings import SamplerSettings
from llterm.core.sampling.step import Breakers
from llterm.core.tokens import Tail, Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A token that the chain chose."""

    id: int
    logprob: float
    """The raw model's."""
    ladder: Ladder


class Drawer:
    """One line's draws: mirostat remembers from each to the next."""

    def __init__(self, settings: SamplerSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self._mirostat = Mirostat.start(settings)
        self._writable = _writable(vocabulary)
        self._breakers: Breakers = {}
        if settings.dry_multiplier:
            self._breakers = breaker_tokens(vocabulary, settings.dry_sequence_breakers)

    def draw(self, found: Distribution, context: Tail, mask: Mask | None = None) -> Drawn:
        """Choose what comes after `context`, the ids before the place.

        With a seed, the place alone decides, however it was reached. Special tokens that do not
        end a text never stand. Raises NothingLeft where nothing may come.
        """
        if found.full is not None:
            ids, logprobs = np.arange(len(found.full), dtype=np.int32), found.full
        else:
            ids, logprobs = found.ids, found.logprobs
        allowed = self._writable[ids]
        if mask is not None:
            allowed = allowed & mask.allowed[ids]
        rng = generator(self.settings, len(context))
        ladder = apply(
            self.settings,
            logprobs,
            context,
            ids=ids,
            mask=allowed,
            rng=rng,
            mirostat=self._mirostat,
            breakers=self._breakers,
        )
        id = choose(ladder, rng)
        self._mirostat = self._mirostat.after(self.settings, ladder, id)
        (place,) = np.flatnonzero(ids == id)
        return Drawn(id, float(logprobs[place]), ladder)


def _writable(vocabulary: Vocabulary) -> Bits:
    tokens = (vocabulary.token(id) for id in range(vocabulary.size))
    return np.array([token.end or not token.special for token in tokens], dtype=np.bool_)
