"""A model in a process of its own: what ends it ends its answers, and it is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from msgspec import structs

from llterm.backends.registry import KnownModel, find_draft
from llterm.config import Config
from llterm.config.model_settings import FOR_A_RUN, OF_A_DRAFT
from llterm.core.anchor_numbers import AnchorNumbers
from llterm.core.attention_weights import Attention
from llterm.core.chat_messages import ChatParts
from llterm.core.conversation import ChatTraits, Conversation, conversation_text
from llterm.core.embeddings import Embeddings
from llterm.core.query import (
    Capabilities,
    Cost,
    Fact,
    Failed,
    LogitRows,
    Query,
    ScoreColumns,
    TokenScore,
    single_scores,
)
from llterm.core.tokens import Tail, Token
from llterm.engine.generation import Busy, GeneratedToken, GenerationEnd, GenerationRequest
from llterm.errors import BackendUnavailable, LltermError, reason
from llterm.serve.model_connection import ModelConnection, start_process
from llterm.serve.model_frames import (
    ANCHORS,
    AnswerPart,
    Ask,
    AttentionPart,
    ChatPartsPart,
    DraftFile,
    Embed,
    EmbeddingsPart,
    FactPart,
    FailedPart,
    Generate,
    GenerationEndPart,
    GiveRows,
    ModelOpened,
    ModelState,
    OpenModel,
    Question,
    RowsPart,
    Score,
    ScorePart,
    ShowAttention,
    Tokenize,
    TokenPart,
    TokensPart,
    WireQuery,
    WriteChat,
    told_error,
    utf8,
)
from llterm.serve.serve_limits import ServeLimits

log = logging.getLogger(__name__)

MOST_ENDS = 5
"""Ends in a row, without an answer between, after which it is not begun again."""


class ProcessVocabulary:
    """The vocabulary of a model in another process, which has the tokenizer. Implements
    `Vocabulary`."""

    def __init__(self, opened: ModelOpened, process: ModelProcess) -> None:
        self._process = process
        self._tokens = [
            Token(id, data, special, end) for id, (data, special, end) in enumerate(opened.tokens)
        ]
        self.size = len(self._tokens)
        self.prefix = opened.prefix
        self.fingerprint = opened.fingerprint

    def known_tokens(self, data: bytes) -> Tail | None:
        return None if data else ()

    async def tokenize(self, data: bytes) -> Tail:
        part = await self._process.one_part(lambda number: Tokenize(number, data))
        assert isinstance(part, TokensPart)
        return part.ids

    def token(self, id: int) -> Token:
        return self._tokens[id]


class ModelProcess:
    """A model of a file, drawn with and asked through a pipe. Implements `Generator` and `Backend`,
    with whole rows, scores in columns, questions beside, attention, embeddings, and chats.

    That of an encoder has embeddings alone, and refuses all else.
    """

    def __init__(
        self, opening: OpenModel, connection: ModelConnection, opened: ModelOpened
    ) -> None:
        self.name = opening.name
        self._opening = opening
        self._connection = connection
        self._opened = opened
        self.vocabulary = ProcessVocabulary(opened, self)
        self.state: ModelState = "ok"
        self._settled = asyncio.Event()
        """Set where it can be asked, or never again."""
        self._settled.set()
        self._generating = 0
        self._waiting = 0
        """Questions that wait until it is loaded again."""
        self._spent = Cost()
        """Of processes that have ended."""
        self._anchors = AnchorNumbers(ANCHORS)
        self._keeping = asyncio.create_task(self._keep())

    @property
    def capabilities(self) -> Capabilities:
        return self._opened.capabilities

    @property
    def room(self) -> int:
        return self._opened.room

    @property
    def pid(self) -> int:
        """The number of its process, or of the one that ended last."""
        return self._connection.pid

    @property
    def running(self) -> int:
        return min(self._connection.counts.running, self._generating)

    @property
    def waiting(self) -> int:
        return self._generating - self.running

    @property
    def spent(self) -> Cost:
        return self._spent + self._connection.counts.spent

    async def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[GeneratedToken | GenerationEnd]:
        self._generating += 1
        try:
            await self._ready()
            asked = self._connection.ask(lambda number: Generate(number, request))
            async with aclosing(asked) as parts:
                async for part in parts:
                    if isinstance(part, TokenPart):
                        yield part.token
                    else:
                        assert isinstance(part, GenerationEndPart)
                        yield part.end
        finally:
            self._generating -= 1

    def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        return self._facts(tuple(queries), beside=False)

    def ask_beside(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        return self._facts(tuple(queries), beside=True)

    def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[TokenScore]:
        return single_scores(self.score_columns(tokens, start, keep))

    async def score_columns(
        self, tokens: Tail, start: int = 1, keep: int = 64, *, aside: bool = True
    ) -> AsyncGenerator[ScoreColumns]:
        asked = self._ask(lambda number: Score(number, tokens, start, keep, aside))
        async with aclosing(asked) as parts:
            async for part in parts:
                assert isinstance(part, ScorePart)
                yield part.columns

    async def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        asked = self._ask(lambda number: GiveRows(number, tokens, start, aside))
        async with aclosing(asked) as parts:
            async for part in parts:
                assert isinstance(part, RowsPart)
                yield part.rows

    async def attention(self, tokens: Tail, rows: int, columns: int) -> Attention:
        part = await self.one_part(lambda number: ShowAttention(number, tokens, rows, columns))
        assert isinstance(part, AttentionPart)
        return part.attention

    async def embed(self, texts: Sequence[bytes | Tail]) -> Embeddings:
        part = await self.one_part(lambda number: Embed(number, tuple(texts)))
        assert isinstance(part, EmbeddingsPart)
        return part.embeddings

    @property
    def chat_traits(self) -> ChatTraits:
        return self._opened.chats

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        text = conversation_text(conversation)
        part = await self.one_part(lambda number: WriteChat(number, text))
        assert isinstance(part, ChatPartsPart)
        return part.parts

    async def one_part(self, question: Callable[[int], Question]) -> AnswerPart:
        """The answer to a question that has one part. Raises LltermError."""
        async with aclosing(self._ask(question)) as parts:
            (part,) = [part async for part in parts]
        return part

    async def close(self) -> None:
        """End its process: there is nothing in it that is to be kept."""
        self._keeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeping
        await self._connection.end()

    async def _ask(self, question: Callable[[int], Question]) -> AsyncGenerator[AnswerPart]:
        await self._ready()
        async with aclosing(self._connection.ask(question)) as parts:
            async for part in parts:
                yield part

    async def _ready(self) -> None:
        """Wait where it is loaded again. Raises LltermError where it cannot be asked."""
        if self.state == "loading":
            await self._loaded()
        if self.state == "failed":
            raise BackendUnavailable(
                f"The process of {self.name} cannot be kept alive",
                f"It ended {MOST_ENDS} times in a row.",
                "See the server's log, then have it loaded anew or start the server anew.",
            )

    async def _loaded(self) -> None:
        """Wait until it is loaded again, or is given up. Raises Busy where many wait already."""
        if self._waiting >= self._opening.queue:
            raise Busy(
                "Too many requests wait",
                f"{self.name} is loaded again, and {self._waiting:,} wait for it.",
                "Ask again later.",
            )
        self._waiting += 1
        try:
            await self._settled.wait()
        finally:
            self._waiting -= 1

    async def _facts(
        self, queries: tuple[Query, ...], *, beside: bool
    ) -> AsyncGenerator[Fact | Failed]:
        asked = [(self._anchors.of(query.path.anchor), query) for query in queries]
        anchors = {number: query.path.anchor.tokens for number, query in asked}
        wire = tuple(
            WireQuery(number, query.path.tail, query.keep, query.mask, query.full, query.need,
                      query.ahead)
            for number, query in asked
        )  # fmt: skip
        async with aclosing(self._ask(lambda number: Ask(number, anchors, wire, beside))) as parts:
            async for part in parts:
                assert isinstance(part, FactPart | FailedPart)
                path = queries[part.query].path
                if isinstance(part, FactPart):
                    yield Fact(path, part.distribution, part.cost)
                else:
                    yield Failed(path, told_error(part))

    async def _keep(self) -> None:
        """Begin the process again when it ends, until that is no use."""
        ends = 0
        while ends < MOST_ENDS:
            await self._connection.ended()
            self.state = "loading"
            self._settled.clear()
            ends = 1 if self._connection.answered else ends + 1
            while ends < MOST_ENDS and not await self._begun_again():
                ends += 1
        log.error("%s is given up: its process ended %d times in a row", self.name, ends)
        self.state = "failed"
        self._settled.set()

    async def _begun_again(self) -> bool:
        """Load it in another process. Returns False where that cannot be done."""
        try:
            connection, opened = await _opened(self._opening)
        except LltermError as error:
            log.error("%s cannot be loaded again: %s", self.name, error.title)
            return False
        if opened.fingerprint != self.vocabulary.fingerprint:
            log.error("%s cannot be loaded again: its file is another one now", self.name)
            await connection.end()
            return False
        self._spent += self._connection.counts.spent
        self._connection, self._opened = connection, opened
        self.state = "ok"
        self._settled.set()
        return True


async def _opened(
    opening: OpenModel, progress: Callable[[float], None] | None = None
) -> tuple[ModelConnection, ModelOpened]:
    """A model's process that can be asked. Raises LltermError. Cancelling ends it."""
    try:
        connection = await start_process(opening, progress)
    except OSError as error:
        raise LltermError(
            f"{opening.name} cannot have a process of its own", f"{reason(error)}.", ""
        ) from error
    try:
        opened = await connection.opened
        # Which file it is, is known here: what a model's process says of that is not believed.
        own = replace(opened.capabilities, weights=opening.path)
        return connection, structs.replace(opened, capabilities=own)
    except BaseException:
        await connection.end()
        raise


async def open_process(
    opening: OpenModel, progress: Callable[[float], None] | None = None
) -> ModelProcess:
    """A model in a process of its own, loaded. `progress` is told the share that is read. Raises
    LltermError, as opening it here would. Cancelling gives it up."""
    connection, opened = await _opened(opening, progress)
    return ModelProcess(opening, connection, opened)


def opening_of(
    known: KnownModel,
    config: Config,
    overrides: Mapping[str, Any],
    limits: ServeLimits,
    cores: int,
) -> OpenModel:
    """What a model of a file is to be opened as; `overrides` are typed settings of its own,
    `cores` those that its decodes may take. Raises LltermError for a draft that cannot be one."""
    names = ("batch", "chat_template", *OF_A_DRAFT, *FOR_A_RUN)
    settings = {name: getattr(known.settings, name) for name in names} | dict(overrides)
    # The slots share them; searches and readings have the usual ones beside.
    cells = settings.pop("cache_size")
    assert known.path is not None
    return OpenModel(
        utf8(known.name),
        known.path.absolute(),
        settings,
        known.settings.chat_template_file,
        config.formats,
        limits.parallel,
        limits.slot_context,
        cells,
        limits.cache_memory,
        limits.queue,
        cores,
        _draft_file(settings["draft"], config),
    )


def _draft_file(name: str | None, config: Config) -> DraftFile | None:
    """The file that this name means as a draft; None where it means none."""
    known = find_draft(name, config)
    if known is None:
        return None
    assert known.path is not None
    names = ("batch", *FOR_A_RUN)
    settings = {key: getattr(known.settings, key) for key in names}
    return DraftFile(utf8(known.name), known.path.absolute(), settings)
