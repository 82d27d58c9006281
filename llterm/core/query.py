"""Questions to a model and its answers: the protocol every backend, mix and test speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from pathlib import Path as FilePath
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llterm.core.attention_weights import Attention
from llterm.core.distribution import Distribution, Ids, Logprobs, Mask, Reals
from llterm.core.embeddings import Embeddings
from llterm.core.kernels import KernelKind, Kernels
from llterm.core.server_news import ServerNews
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
    rounds: int = 2
    """How many rounds under way at once keep it busy."""
    lines: int = 0
    """Most further positions that may come with an answer, along the first choices."""
    abreast: int = 1
    """Questions under way that take hardly longer than one (where there are lines)."""
    gather: float = 0.0
    """Seconds that are well spent on waiting for more questions to go along."""
    context: int = 2048
    """Most tokens of a path that the model can see."""
    cells: int | None = None
    """How many tokens of all paths together it remembers; beyond, it evaluates them again. None
    where that is not known."""
    shares: bool = True
    """Texts with a common beginning share its evaluation."""
    ordered: bool = False
    """What was asked before shows in the figures, in their last digits at least: rounds are taken
    in by turns, so that chance has no part in what is asked together."""
    anchored: bool = False
    """It shows in more than those: what is known of a path holds for the search that asked, and
    another one, after an anchor of its own, is answered as if nothing had been asked before."""
    attention: bool = False
    """Shows what its layers attend to (`ProvidesAttention`)."""
    embeddings: bool = False
    """Tells what texts are to it (`ProvidesEmbeddings`)."""
    predicts: bool = True
    """Tells what may follow a text; an encoder does not."""
    weights: FilePath | None = None
    """The GGUF file that it is, for methods that need the weights themselves."""
    kernels: Kernels | None = None
    """What its figures are computed with; None where llterm does not compute them."""
    pieces: int = 1
    """How many of its tokens are about one of a usual vocabulary: a mix of bytes has more."""

    @property
    def kernel_kind(self) -> KernelKind | None:
        """What its figures are computed with, in a word; None where llterm does not."""
        return None if self.kernels is None else self.kernels.kind


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Ask for the distribution after `path`."""

    path: Path
    keep: int = 64
    """How many candidates to list."""
    mask: Mask | None = None
    full: bool = False
    need: int = 0
    """How many of them the rules look at; the others are for later, where they cost little."""
    ahead: int = 0
    """How many positions further, along the first choices, the answers are wanted too."""


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
    again: int = 0
    """Those of the tokens that were evaluated once more, for canonical figures."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens + other.tokens,
            self.prompt_tokens + other.prompt_tokens,
            self.decodes + other.decodes,
            self.requests + other.requests,
            self.again + other.again,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens - other.tokens,
            self.prompt_tokens - other.prompt_tokens,
            self.decodes - other.decodes,
            self.requests - other.requests,
            self.again - other.again,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """The distribution after a path. Facts may come in any order and unasked."""

    path: Path
    distribution: Distribution
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True, eq=False)
class TokenScore:
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
class ScoreColumns:
    """Scores of n successive tokens in arrays, of a model whose whole vocabulary was seen.

    Shapes are (n,); of what is listed (n, k), the k best candidates of each, best first.
    """

    first: int
    """Index, in the tokens that were given, of the first of them."""
    ids: Ids
    logprobs: Reals
    ranks: NDArray[np.int64]
    """1 = the first choice, ties by id."""
    listed: Ids
    listed_logprobs: Logprobs
    rests: Reals
    """Probability mass of what is not listed."""
    entropies: Reals
    """Bits."""
    varentropies: Reals
    """Bits²."""
    log_zs: Reals
    """See `Distribution.log_z`."""
    cost: Cost = field(default_factory=Cost)
    """Of all of them."""

    def __len__(self) -> int:
        return len(self.ids)

    def scores(self) -> Iterator[TokenScore]:
        """The same one by one; the first has the cost."""
        figures = zip(
            count(self.first), self.ids.tolist(), self.logprobs.tolist(), self.ranks.tolist(),
            self.listed, self.listed_logprobs, self.rests.tolist(), self.entropies.tolist(),
            self.varentropies.tolist(), self.log_zs.tolist(), chain([self.cost], repeat(Cost())),
            strict=False,
        )  # fmt: skip
        for index, id, logprob, rank, listed, below, rest, entropy, spread, log_z, cost in figures:
            distribution = Distribution(
                ids=listed,
                logprobs=below,
                rest=rest,
                permitted=1.0,
                entropy=(entropy, entropy),
                exact=True,
                log_z=log_z,
                varentropy=spread,
            )
            yield TokenScore(index, id, logprob, rank, distribution, cost)


async def single_scores(parts: AsyncGenerator[ScoreColumns]) -> AsyncGenerator[TokenScore]:
    """Scores in arrays, one by one. Closing it closes the parts. Raises what they do."""
    async with aclosing(parts) as columns:
        async for part in columns:
            for scored in part.scores():
                yield scored


@dataclass(frozen=True, slots=True, eq=False)
class LogitRows:
    """What a model expected at successive places of a text, whole."""

    first: int
    """Index, in the tokens that were given, of the token that the first row is about."""
    logits: NDArray[np.float32]
    """Shape (rows, vocabulary size), as the model gives them; each row up to a constant."""
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


def members_of(source: Source) -> Sequence[Source]:
    """The models of a mix; of any other source itself."""
    members: Sequence[Source] = getattr(source, "sources", (source,))
    return members


class Backend(Source, Protocol):
    """A source that owns a model or a server."""

    @property
    def spent(self) -> Cost:
        """What this backend has done since it was opened."""

    def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[TokenScore]:
        """Each token from index `start` on, in order, given those before it.

        The first token has nothing before it: `start` is 1 at least. Closing the generator cancels.
        Raises LltermError, also where there are more tokens than the context holds.
        """

    async def close(self) -> None:
        """Stop what runs and free the model."""


@runtime_checkable
class ProvidesLogits(Protocol):
    """A backend that gives whole rows for the tokens of a text; those with all of a model can."""

    def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        """Rows for the tokens from index `start` on (1 at least), in order, in parts.

        `aside`: a short part leaves the cached story where it is. Without it, a text that is read
        part after part is evaluated once. Closing the generator cancels. Raises LltermError.
        """


@runtime_checkable
class ScoresInColumns(Protocol):
    """A backend that scores a text in arrays, so that a long one takes no objects for each token;
    those with all of a model can."""

    def score_columns(
        self, tokens: Tail, start: int = 1, keep: int = 64, *, aside: bool = True
    ) -> AsyncGenerator[ScoreColumns]:
        """As `score`, in parts, in order. Closing the generator cancels. Raises LltermError.

        `aside`: as in `ProvidesLogits.rows`.
        """


@runtime_checkable
class SideQueries(Protocol):
    """A source that can answer out of the way of what it holds for the story."""

    def ask_beside(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        """As `ask`, with one anchor for all, and tails that are not empty. The first is answered
        first: what the others have in common with it is not evaluated again. Closing the generator
        cancels."""


@runtime_checkable
class AnswersInOrder(Protocol):
    """A source that can give canonical figures: those of each path by itself."""

    def ask_in_order(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        """As `ask`, with one anchor for all: each path is evaluated alone behind the story, where
        what else is there shows in the figures (`Capabilities.anchored`). What was asked after the
        story goes then. Closing the generator cancels."""


@dataclass(frozen=True, slots=True)
class HeldPath:
    """How much of a token path is evaluated already."""

    tokens: int
    """From its beginning on: a question about the path does without evaluating these."""
    pinned: bool
    """Its state is kept until it is released."""


@runtime_checkable
class KeepsStates(Protocol):
    """A backend whose cached states can be looked at and kept: each is derived from a token path,
    and is of use to whatever begins with it. All raise LltermError."""

    async def held(self, tokens: Tail) -> HeldPath:
        """How much of a path is evaluated already."""

    async def pin(self, tokens: Tail) -> None:
        """Evaluate a path, and keep its state whatever else is asked."""

    async def release(self, tokens: Tail) -> bool:
        """Keep it no longer. Returns whether it was pinned."""

    async def saved_state(self, tokens: Tail) -> bytes:
        """A path's state as a file has it; the path is evaluated and pinned where it was not."""

    async def load_state(self, data: bytes, name: str) -> Tail:
        """Pin the state of a file of this name. Returns its path. Raises UsageError for another
        model's, and for one that is damaged."""


@runtime_checkable
class OnServers(Protocol):
    """A source on a server, or on several, which may go away and are asked again for a while."""

    @property
    def news(self) -> ServerNews:
        """How they are doing."""


@runtime_checkable
class TriesRoom(Protocol):
    """A source that may learn only by trying how much its model sees."""

    def has_taken(self, count: int) -> bool:
        """Whether it is known that so many tokens are seen: nothing is tried then."""

    async def narrowed(self, tokens: Tail) -> bool:
        """Whether the model turns out to see less than these tokens: `capabilities.context` tells
        then how much, and what was cut for the former one is to be cut again. Raises LltermError.
        """


@runtime_checkable
class Accelerated(Protocol):
    """A backend that may have layers on a GPU."""

    @property
    def on_gpu(self) -> bool:
        """Whether it has."""

    def on_cpu(self) -> AbstractAsyncContextManager[Backend]:
        """The same model once more, on the CPU alone; freed at the end. Raises LltermError where it
        cannot be loaded beside the other."""


@runtime_checkable
class ProvidesEmbeddings(Protocol):
    """A model that tells what texts are to it."""

    async def embed(self, texts: Sequence[bytes | Tail]) -> Embeddings:
        """A unit vector for each text. Texts are read as ones that stand alone, tokens are taken as
        they are.

        Raises LltermError: UsageError where a text is empty or too large.
        """


@runtime_checkable
class ProvidesAttention(Protocol):
    """A backend that shows what its layers attend to."""

    async def attention(self, tokens: Tail, rows: int, columns: int) -> Attention:
        """How the last `rows` tokens attend to the last `columns`, in every layer.

        Raises LltermError: CapabilityMissing where the model has no attention to show.
        """
