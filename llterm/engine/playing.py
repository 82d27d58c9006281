"""A text made by a mix, token by token, and what every model said at each."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

from llterm.core.judging.sides import Caution, cautions
from llterm.core.mixing.blend import Blend, Heard
from llterm.core.sampling import (
    Breakers,
    NothingLeft,
    SamplerSettings,
    apply,
    breaker_tokens,
    choose,
    generator,
)
from llterm.core.tokens import Path, Token, Vocabulary
from llterm.engine.mixture import Mix
from llterm.errors import LltermError

GREEDY = SamplerSettings(temperature=0.0)
"""Takes the most probable token; VisuaLL's only way."""


@dataclass(frozen=True, slots=True)
class Say:
    """What one model said at a place."""

    choice: Token
    choice_p: float
    p: float
    """Of the token that was taken."""
    known: float
    """Mass of the model's candidates that is known, 0 to 1."""
    warnings: tuple[Caution, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One token of the mixed text."""

    position: int
    """From 0 at the beginning of the mix."""
    token: Token
    p: float
    """In the mix, before the sampler chain."""
    p_final: float
    """After it: what was drawn from."""
    by: int | None
    """Index of the model it came from; None: it is no model's first choice, the mix found it."""
    says: tuple[Say, ...]
    """By model; one of weight 0 is not asked and says nothing."""
    unknown: float
    """Mass of the mix that is only estimated."""


class Player:
    """Goes on with a text. It has no state but the mix: a step back is a shorter path."""

    def __init__(self, mix: Mix, settings: SamplerSettings = GREEDY) -> None:
        self.mix = mix
        self.settings = settings
        self._breakers = _breakers(settings, mix.vocabulary)

    def take(self, blend: Blend, path: Path, position: int, forced: int | None = None) -> Turn:
        """The next token: drawn through the sampler chain, or the one that is forced.

        `position` counts from the beginning of the mix; with a seed it decides the draw. Raises
        LltermError where nothing is left to draw from.
        """
        random = generator(self.settings, position)
        try:
            ladder = apply(
                self.settings, blend.row, path.tokens, rng=random, breakers=self._breakers
            )
        except NothingLeft as error:
            raise LltermError(
                "Nothing is left to draw from", f"{error}.", "Loosen the sampler settings."
            ) from error
        id = choose(ladder, random) if forced is None else forced
        return self._turn(blend, id, float(ladder.p_final[id]), position)

    async def play(self, path: Path, count: int) -> AsyncIterator[Turn]:
        """`count` tokens, fewer where the text ends."""
        for position in range(count):
            turn = self.take(await self.mix.look(path), path, position)
            yield turn
            if turn.token.end:
                return
            path = Path(path.anchor, (*path.tail, turn.token.id))

    def _turn(self, blend: Blend, id: int, p_final: float, position: int) -> Turn:
        names = self.mix.vocabulary
        return Turn(
            position=position,
            token=names.token(id),
            p=math.exp(blend.row[id]),
            p_final=p_final,
            by=blend.giver(id),
            says=tuple(_say(heard, id, names) for heard in blend.voices),
            unknown=blend.unknown,
        )


def _say(heard: Heard, id: int, vocabulary: Vocabulary) -> Say:
    choice = vocabulary.token(int(heard.row.argmax()))
    known = 1.0 - heard.unknown
    warnings = cautions(known, choice)
    return Say(choice, math.exp(heard.row.max()), math.exp(heard.row[id]), known, warnings)


def _breakers(settings: SamplerSettings, vocabulary: Vocabulary) -> Breakers | None:
    if not settings.dry_multiplier:
        return None
    return breaker_tokens(vocabulary, settings.dry_sequence_breakers)
