"""Questions to a model and its answers: the protocol every backend, mix and test speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Protocol, runtime_checkable

from llterm.core.attention import Attention
from llterm.core.distribution import Distribution, Mask
from llterm.core.tokens import Path, Tail, Vocabulary
from llterm.errors import LltermError


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do. A gap is shown and explained, never faked."""

    full_vocabulary: bool
    """Distributions cover the whole vocabulary; otherwise `top` candidates."""
    top: int | None = None
    token_ids: bool = True
    """Takes and gives token ids; otherwise text."""
    masks: bool = True
    score: bool = True
    """Scores a given text."""
    batch: int = 256
    """How many queries one round serves well."""
    context: int = 2048
    """Most tokens of a path that the model can see."""
    shares: bool = True
    """Texts with a common beginning share its evaluation."""
    attention: bool = False
    """Shows what its layers attend to (`Attentive`)."""
    weights: FilePath | None = None
    """The GGUF file that it is, for methods that need the weights themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Ask for the distribution after `path`."""

    path: Path
    keep: int = 64
    """How many candidates to list."""
    mask: Mask | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer took. Sums over the facts of a weave give its counters."""

    tokens: int = 0
    """Tokens evaluated, all of them."""
    prompt_tokens: int = 0
    """Those of them that belong to the anchor (the story)."""
    decodes: int = 0
    """Calls of `llama_decode`; a batch's call is booked on one of its facts."""
    requests: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens + other.tokens,
            self.prompt_tokens + other.prompt_tokens,
            self.decodes + other.decodes,
            self.requests + other.requests,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens - other.tokens,
            self.prompt_tokens - other.prompt_tokens,
            self.decodes - other.decodes,
            self.requests - other.requests,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """The distribution after a path. Facts may come in any order and unasked."""

    path: Path
    distribution: Distribution
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A token that stands in a text, and what the model expected there."""

    index: int
    """Its place in the tokens that were given."""
    id: int
    logprob: float
    """−∞ where the source lists only its top candidates and this is none of them."""
    rank: int
    """1 = the first choice, ties by id; of a source's top candidates: at least this."""
    distribution: Distribution
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A query that could not be answered; the rest of the batch may still be."""

    path: Path
    error: LltermError


class Source(Protocol):
    """Anything that answers queries: a backend, or a mix of several."""

    @property
    def name(self) -> str:
        """The model's name, for people."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        """Answer each query once, in any order, as answers come.

        Closing the generator (`aclose`) cancels what is still open: the caller is free at once.
        Raises LltermError when nothing can be answered at all.
        """


class Backend(Source, Protocol):
    """A source that owns a model or a server."""

    @property
    def spent(self) -> Cost:
        """What this backend has done since it was opened."""

    def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[Scored]:
        """Each token from index `start` on, in order, given those before it.

        The first token has nothing before it: `start` is 1 at least. Closing the generator cancels.
        Raises LltermError, also where there are more tokens than the context holds.
        """

    async def close(self) -> None:
        """Stop what runs and free the model."""


@runtime_checkable
class Beside(Protocol):
    """A source that can answer out of the way of what it holds for the story."""

    def ask_beside(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        """As `ask`, with one anchor for all. The first is answered first: what the others have in
        common with it is not evaluated again. Closing the generator cancels."""


@runtime_checkable
class Attentive(Protocol):
    """A backend that shows what its layers attend to."""

    async def attention(self, tokens: Tail, rows: int, columns: int) -> Attention:
        """How the last `rows` tokens attend to the last `columns`, in every layer.

        Raises LltermError: CapabilityMissing where the model has no attention to show.
        """
