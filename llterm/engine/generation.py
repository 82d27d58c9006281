"""A request to go on from tokens, and what comes of it: what faces ask of whoever draws."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from llterm.constraints.spec import Constraint
from llterm.core.query import Capabilities
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Tail, Vocabulary
from llterm.errors import LltermError

GenerationFinish = Literal["end", "stop", "length", "stuck"]
"""Why a generation ended: an end-of-text token, a stop text or stop token, its length; nothing may
follow under bans and constraint."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One choice of one prompt: `n` choices are `n` requests."""

    prompt: Tail
    """Whole, the model's own prefix included; not empty."""
    sampling: Sampling
    """With its seed; without one it is drawn as chance has it."""
    choice: int = 0
    """With seed and place it decides what is drawn, as a line's number in `llterm sample`."""
    most: int = 16
    """Tokens at which it ends; 0: nothing is drawn."""
    least: int = 0
    """Tokens before which no end and no stop counts."""
    ignore_end: bool = False
    """No token ends it: those that would are never drawn."""
    stops: tuple[str, ...] = ()
    """Texts that end it, wherever they begin in what is drawn."""
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end it."""
    constraint: Constraint | None = None
    top: int = 0
    """Candidates told with each token, best first, whether or not they may be drawn."""
    watched: tuple[int, ...] = ()
    """Tokens whose logprob is told with each, however improbable they are."""
    kept: int = 0
    """Candidates told with each token that the chain left, by what they were drawn with."""
    allowed: frozenset[int] | None = None
    """The only tokens that may be drawn, besides those that end it; None: all."""
    spoken: frozenset[int] = frozenset()
    """Special tokens that may be drawn, and whose names are text, such as what stands around a
    model's thoughts."""
    residue: bytes = b""
    """The end of the prompt's text, which its tokens lack: the first ones drawn write it again
    (token healing). Not together with a constraint."""
    whose: str = ""
    """Who asks: equal turns are by this, and no two share what is cached."""
    further: bool = False
    """Of a client's request of several texts, not the first: they wait as one, and what was let in
    is not refused in part."""


class GeneratedToken(NamedTuple):
    """A token that was drawn."""

    id: int
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""
    top: tuple[tuple[int, float], ...] = ()
    """Id and natural logprob of the raw model's best candidates, best first, ties by id. The token
    itself, where it is among them, has the same number there as in `logprob`."""
    watched: tuple[float, ...] = ()
    """Natural logprobs of the raw model, of the tokens that were to be watched, in their order."""
    kept: tuple[tuple[int, float], ...] = ()
    """Id and probability of the candidates that the chain left, best first, ties by id."""


@dataclass(frozen=True, slots=True)
class GenerationEnd:
    """The last of what comes of a request."""

    finish: GenerationFinish
    cached: int = 0
    """Tokens of the prompt that were not evaluated for this request."""
    proposed: int = 0
    """Tokens that a draft wrote ahead."""
    accepted: int = 0
    """Those of them that were then drawn."""


class Generator(Protocol):
    """Whoever draws for many requests at once."""

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def room(self) -> int:
        """Most tokens of a prompt and what is drawn after it."""

    @property
    def running(self) -> int:
        """Requests that are drawn now."""

    @property
    def waiting(self) -> int:
        """Requests that wait until others have ended."""

    def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[GeneratedToken | GenerationEnd]:
        """Its tokens as they are drawn, then its end. Closing the generator cancels: the caller is
        free at once. Raises LltermError, `Busy` where too many wait already."""

    async def close(self) -> None:
        """End what is drawn, and tell who waits for it."""


class Busy(LltermError):
    """Too many requests wait: it is to be asked again later."""
