"""A text made by a mix, token by token, and what every model said at each."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

from llterm.core.comparison.mixed_place import Caution, cautions
from llterm.core.distribution import Constrained
from llterm.core.mixing.blend import Blend, MemberDistribution
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.sampler_chain import Chain, Chains, DrawnText
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Draft, Path, Token, Vocabulary, draft_tokens
from llterm.engine.mixture import Mix
from llterm.errors import LltermError

GREEDY = Sampling(SamplerSettings(temperature=0.0), None)
"""Takes the most probable token; VisuaLL's only way."""


@dataclass(frozen=True, slots=True)
class ModelVote:
    """What one model said at a place."""

    choice: Token
    choice_p: float
    p: float
    """Of the token that was taken."""
    known: float
    """Mass of the model's candidates that is known, 0 to 1."""
    warnings: tuple[Caution, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MixTurn:
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
    votes: tuple[ModelVote, ...]
    """By model; one of weight 0 is not asked and votes nothing."""
    unknown: float
    """Mass of the mix that is only estimated."""


class MixPlayer:
    """Goes on with a text, as the app's player does: by one chain, which remembers what it drew."""

    def __init__(
        self,
        mix: Mix,
        sampling: Sampling = GREEDY,
        story: bytes = b"",
        constraint: Constrained | None = None,
    ) -> None:
        """`story` is the text that is gone on with: a banned phrase may begin there. What is
        written fits the constraint."""
        self._mix = mix
        self._chains = Chains(mix.vocabulary)
        self._sampling = sampling
        self._story = story
        self._constraint = constraint

    async def play(self, path: Path, count: int) -> AsyncIterator[MixTurn]:
        """`count` tokens, fewer where the text ends; of a mix of bytes, the first model's tokens.

        Raises LltermError where nothing is left to draw from.
        """
        text = DrawnText()
        chain = await self._chains.told(self._sampling)
        left = due = count
        while left > 0:
            turn = self._take(await self._mix.look(path), path, text, chain)
            yield turn
            if turn.token.end:
                return
            path = Path(path.anchor, (*path.tail, turn.token.id))
            if text.count == due:
                # A byte is a token at the most: until so many have come none need be counted anew.
                left = count - await self._tokens(text)
                due = text.count + left

    async def _tokens(self, text: DrawnText) -> int:
        if self._mix.by_id:
            return text.count
        return len(await draft_tokens(Draft((text.text,)), self._mix.sources[0].vocabulary))

    def _take(self, blend: Blend, path: Path, text: DrawnText, chain: Chain) -> MixTurn:
        position = text.count
        at, held_to = text.here(path.tokens, self._story), self._constraint
        allowed, first = None, list[tuple[str, Stage]]()
        if held_to is not None:
            allowed = held_to.mask(path.tail).allowed
            first = chain.forced(at, held_to, path.tail)
        try:
            choice = chain.draw(blend.distribution(), at, mask=allowed, first=first)
        except NoCandidateLeft as error:
            raise LltermError(
                "Nothing is left to draw from",
                f"{error}.",
                "Loosen the constraint, the bans or the sampler settings.",
            ) from error
        names = self._mix.vocabulary
        token = names.token(choice.id)
        text.took(choice)
        text.text += b"" if token.special else token.data
        return MixTurn(
            position=position,
            token=token,
            p=math.exp(blend.row[token.id]),
            p_final=choice.p,
            by=blend.giver(token.id),
            votes=tuple(_vote(heard, token.id, names) for heard in blend.voices),
            unknown=blend.unknown,
        )


def _vote(heard: MemberDistribution, id: int, vocabulary: Vocabulary) -> ModelVote:
    choice = vocabulary.token(int(heard.row.argmax()))
    known = 1.0 - heard.unknown
    warnings = cautions(known, choice)
    return ModelVote(choice, math.exp(heard.row.max()), math.exp(heard.row[id]), known, warnings)
