"""A generation under way: what its next token is drawn with, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from llterm.constraints.compiled import ConstraintWalk
from llterm.core.distribution import Mask
from llterm.core.healing import Healer
from llterm.core.sampling.drawn_rows import RowDraw, RowToDraw
from llterm.core.sampling.sampler_chain import Chain, DrawnText, Situation, barring
from llterm.core.sampling.stage_types import Stage
from llterm.core.sampling.token_counts import TokenCounts
from llterm.core.tokens import Tail, Vocabulary, text_bytes
from llterm.engine.draw import STORY
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationFinish,
    GenerationRequest,
)
from llterm.engine.request_tokens import RequestTokens, TextEnd
from llterm.engine.slot_plan import PlannedRequest
from llterm.errors import LltermError

News = GeneratedToken | GenerationEnd | LltermError


class GenerationListener(Protocol):
    """Whoever is told what comes of requests."""

    def take(self, news: Sequence[tuple[ActiveGeneration, Sequence[News]]]) -> None:
        """What came of a step, for all of its requests at once. On the thread that draws, which
        waits: what takes a while is to be done elsewhere. The last is an end or an error."""


@dataclass(slots=True, eq=False)
class ActiveGeneration:
    """One request from its coming to its end."""

    request: GenerationRequest
    planned: PlannedRequest
    listener: GenerationListener
    """Where its news go."""
    most: int
    """Tokens at which it ends: what was asked for, or what its slot has room for."""
    number: int = 0
    """What its listener knows it by."""
    unwanted: bool = False
    """Nobody listens any more."""
    chain: Chain | None = None
    """Made once it has come in."""
    walk: ConstraintWalk | None = None
    """Its text under its constraint; used on the thread of masks alone."""
    mask: Mask | None = None
    """What the constraint allows for the next token."""
    forced: Sequence[tuple[str, Stage]] = ()
    """Stages that drop the tokens after which the constraint leaves banned phrases alone."""
    healer: Healer | None = None
    """Needed while the end of its prompt's text has to be written again."""
    context: Tail = ()
    """Its prompt and what was drawn."""
    proposed: int = 0
    """Tokens that were written ahead for it."""
    accepted: int = 0
    """Those of them that were then drawn."""
    _counted: TokenCounts | None = None
    """Those of its prompt and what was drawn that are penalised."""
    _text: DrawnText = field(default_factory=DrawnText)
    _story: bytes = b""
    _residue: bytes = b""
    """Bytes at the end of its prompt's text that it has to write again."""
    _tokens: RequestTokens | None = None
    _text_end: TextEnd | None = None

    def begin(self, chain: Chain, vocabulary: Vocabulary, ends: Tail) -> None:
        """Everything that is drawn with is at hand. `ends`: the ids that end a text."""
        self.chain = chain
        self.context = self.request.prompt
        if chain.penalises:
            newest = chain.settings.penalty_last_n
            self._counted = TokenCounts(self.request.prompt, newest)
        self._tokens = RequestTokens(self.request, ends, vocabulary.size)
        self._text_end = TextEnd(self.request, vocabulary)
        self._residue = self.request.residue
        story = text_bytes(vocabulary, self.request.prompt[-STORY:]) + self._residue
        self._story = story[-STORY:]

    @property
    def looks_ahead(self) -> bool:
        """Whether bans may leave its constraint nothing further on."""
        return self.request.constraint is not None and bool(self.request.sampling.bans)

    @property
    def drawn(self) -> Tail:
        """The tokens after its prompt."""
        return self.context[len(self.request.prompt) :]

    @property
    def here(self) -> Situation:
        """Where its next token is drawn."""
        return self._text.here(self.context, self._story, self._residue)

    @property
    def left(self) -> int:
        """Tokens that may still be drawn."""
        return self.most - self._text.count

    @property
    def foreseeable(self) -> bool:
        """Whether what its tokens after the next one are drawn with is known before it."""
        return not self.looks_ahead and not self._residue

    def row(self) -> RowToDraw:
        """What its next token is drawn with."""
        first = self.forced
        if self._residue:
            assert self.healer is not None
            first = [("healing", barring(~self.healer.mask(self._residue).allowed))]
        row = self._row(self.here, self.mask)
        request = self.request
        return row._replace(
            first=first,
            top=request.top,
            watched=request.watched,
            kept=request.kept,
            counted=self._counted,
        )

    def row_after(self, proposed: Tail, text: DrawnText, mask: Mask | None) -> RowToDraw:
        """What a token after these would be drawn with. `text`: what is drawn, with them; `mask`:
        what its constraint allows then."""
        return self._row(text.here(self.context + proposed, self._story), mask)

    def _row(self, at: Situation, mask: Mask | None) -> RowToDraw:
        assert self.chain is not None
        assert self._tokens is not None
        allowed = self._tokens.allowed
        if mask is not None:
            allowed = mask.allowed if allowed is None else mask.allowed & allowed
        barred = self._tokens.barred(at.count)
        return RowToDraw(self.chain, at, self.request.choice, mask=allowed, barred=barred)

    def text_so_far(self) -> DrawnText:
        """A copy of what is drawn, to go on from apart."""
        return replace(self._text)

    def took(
        self, draw: RowDraw | None, vocabulary: Vocabulary
    ) -> Sequence[GeneratedToken | GenerationEnd]:
        """Its next token, and its end where that is one; the end alone where nothing may follow."""
        if draw is None:
            return [self._end("stuck")]
        if self._counted is not None:
            self._counted.add(draw.id)
        self.context += (draw.id,)
        self._text.count += 1
        self._text.mirostat = draw.mirostat
        token = GeneratedToken(draw.id, draw.logprob, draw.p, draw.top, draw.watched, draw.kept)
        finish = self._finish(draw.id, vocabulary)
        return [token] if finish is None else [token, self._end(finish)]

    def _end(self, finish: GenerationFinish) -> GenerationEnd:
        return GenerationEnd(finish, self.planned.cached, self.proposed, self.accepted)

    def _finish(self, id: int, vocabulary: Vocabulary) -> GenerationFinish | None:
        """Why it ends with this token, the last one drawn; None where it goes on."""
        assert self._text_end is not None
        token = vocabulary.token(id)
        written = b"" if token.special else token.data
        self._text.text += written[len(self._residue) :]
        self._residue = self._residue[len(written) :]
        if token.end:
            return "end"
        if self._text_end.reached(id):
            return "stop"
        return "length" if self._text.count >= self.most else None
