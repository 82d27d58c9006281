"""What a model's process answers: questions under way, each with its parts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.embedding_model import EmbeddingModel
from llterm.core.conversation import read_conversation
from llterm.core.query import Failed, LogitRows, Query
from llterm.core.tokens import Anchor, Path
from llterm.engine.scheduler import Scheduler
from llterm.errors import CapabilityMissing, LltermError
from llterm.faults import unforeseen
from llterm.serve.model_frames import (
    ANCHORS,
    AnswerPart,
    Ask,
    AttentionPart,
    Cancel,
    ChatPartsPart,
    Counts,
    Embed,
    EmbeddingsPart,
    EvaluationQuestion,
    FactPart,
    FailedPart,
    Finished,
    Generate,
    GiveRows,
    Refused,
    RowsPart,
    Score,
    ScorePart,
    ShowAttention,
    Taken,
    Tokenize,
    TokensPart,
    WriteChat,
    error_words,
    utf8,
)
from llterm.serve.model_outbox import ModelOutbox
from llterm.serve.open_generations import OpenGenerations

UNREAD = 8
"""Parts of an answer, but for drawn tokens, that may be under way before any of them is read."""
_MOST_ROWS = 16 << 20
"""Bytes of whole rows in one part."""


class Answers(ABC):
    """Whatever is asked and not answered yet."""

    def __init__(self, outbox: ModelOutbox) -> None:
        self._outbox = outbox
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room: dict[int, asyncio.Semaphore] = {}

    def take(self, part: object) -> None:
        """What came from the server."""
        match part:
            case Generate():
                self._generate(part)
            case Cancel():
                self._cancel(part.number)
                if task := self._tasks.get(part.number):
                    task.cancel()
            case Taken():
                if room := self._room.get(part.number):
                    for _ in range(min(part.count, UNREAD)):
                        room.release()
            case (
                Ask() | Score() | GiveRows() | ShowAttention() | Embed() | Tokenize() | WriteChat()
            ):  # fmt: skip
                self._room[part.number] = asyncio.Semaphore(UNREAD)
                task = self._tasks[part.number] = asyncio.create_task(self._answer(part))
                task.add_done_callback(lambda _: self._forget(part.number))

    async def _answer(self, question: EvaluationQuestion) -> None:
        number = question.number
        try:
            async with aclosing(self._parts(question)) as parts:
                async for part in parts:
                    await self._room[number].acquire()
                    self._outbox.put(part)
            self._outbox.put(Finished(number))
        except LltermError as error:
            self._outbox.put(Refused(number, *error_words(error)))
        except Exception as fault:  # noqa: BLE001  (told where somebody waits)
            told = unforeseen("The model failed", fault)
            self._outbox.put(Refused(number, *error_words(told)))

    def _forget(self, number: int) -> None:
        del self._tasks[number], self._room[number]

    @abstractmethod
    def _generate(self, part: Generate) -> None:
        """Begin to draw a text."""

    @abstractmethod
    def _cancel(self, number: int) -> None:
        """A text of this number is not drawn any more, if one is."""

    @abstractmethod
    def counts(self) -> Counts:
        """How it is doing."""

    @abstractmethod
    def _parts(self, question: EvaluationQuestion) -> AsyncGenerator[AnswerPart]:
        """The answer. Raises LltermError."""


class EncoderAnswers(Answers):
    """Those of a model that does not predict text."""

    def __init__(self, encoder: EmbeddingModel, outbox: ModelOutbox) -> None:
        super().__init__(outbox)
        self._encoder = encoder

    def _generate(self, part: Generate) -> None:
        self._outbox.put(Refused(part.number, *error_words(self._not_text())))

    def _cancel(self, number: int) -> None:
        """None is ever drawn."""

    def counts(self) -> Counts:
        return Counts(0, 0, self._encoder.spent)

    async def _parts(self, question: EvaluationQuestion) -> AsyncGenerator[AnswerPart]:
        encoder, number = self._encoder, question.number
        match question:
            case Embed():
                yield EmbeddingsPart(number, await encoder.embed(question.texts))
            case Tokenize():
                # Its tokens say less than the text: they are not to be joined again.
                yield TokensPart(number, encoder.vocabulary.alone(question.data, ends=False))
            case _:
                raise self._not_text()

    def _not_text(self) -> LltermError:
        return CapabilityMissing(
            f"{self._encoder.name} does not predict text",
            "It is an encoder: it tells embeddings alone.",
            "Ask another model.",
        )


class TextAnswers(Answers):
    """Those of a model for text generation."""

    def __init__(self, backend: LlamaBackend, scheduler: Scheduler, outbox: ModelOutbox) -> None:
        super().__init__(outbox)
        self._backend = backend
        self._scheduler = scheduler
        self._generations = OpenGenerations(scheduler, outbox)
        self._anchors: OrderedDict[int, Anchor] = OrderedDict()

    def _generate(self, part: Generate) -> None:
        self._generations.begin(part)

    def _cancel(self, number: int) -> None:
        self._generations.cancel(number)

    def counts(self) -> Counts:
        return Counts(self._scheduler.running, self._scheduler.waiting, self._backend.spent)

    async def _parts(self, question: EvaluationQuestion) -> AsyncGenerator[AnswerPart]:
        backend, number = self._backend, question.number
        match question:
            case Ask():
                async with aclosing(self._facts(question)) as facts:
                    async for fact in facts:
                        yield fact
            case Score():
                asked = question.tokens, question.start, question.keep
                async with aclosing(backend.score_columns(*asked, aside=question.aside)) as scores:
                    async for columns in scores:
                        yield ScorePart(number, columns)
            case GiveRows():
                rows = backend.rows(question.tokens, question.start, aside=question.aside)
                async with aclosing(rows) as given:
                    async for part in given:
                        for piece in _pieces(part):
                            yield RowsPart(number, piece)
            case ShowAttention():
                shown = await backend.attention(question.tokens, question.rows, question.columns)
                yield AttentionPart(number, shown)
            case Embed():
                yield EmbeddingsPart(number, await backend.embed(question.texts))
            case Tokenize():
                yield TokensPart(number, await backend.vocabulary.tokenize(question.data))
            case WriteChat():
                chat = await backend.written_chat(read_conversation(question.conversation))
                parts = tuple(part._replace(text=utf8(part.text)) for part in chat)
                yield ChatPartsPart(number, parts)
            case _:
                assert_never(question)

    async def _facts(self, question: Ask) -> AsyncGenerator[FactPart | FailedPart]:
        for anchor, tokens in question.anchors.items():
            self._anchors.setdefault(anchor, Anchor(tokens))
            self._anchors.move_to_end(anchor)
        queries = [
            Query(Path(self._anchors[one.anchor], one.tail), one.keep, one.mask, one.full,
                  one.need, one.ahead)
            for one in question.queries
        ]  # fmt: skip
        while len(self._anchors) > ANCHORS:
            self._anchors.popitem(last=False)
        # By identity: one path may be asked about under several masks.
        places = {id(query.path): place for place, query in enumerate(queries)}
        ask = self._backend.ask_beside if question.beside else self._backend.ask
        async with aclosing(ask(queries)) as answers:
            async for answer in answers:
                place = places[id(answer.path)]
                if isinstance(answer, Failed):
                    yield FailedPart(question.number, place, *error_words(answer.error))
                else:
                    yield FactPart(question.number, place, answer.distribution, answer.cost)


def _pieces(rows: LogitRows) -> list[LogitRows]:
    """The same in parts of few bytes; the first has the cost."""
    size = max(_MOST_ROWS // max(rows.logits[:1].nbytes, 1), 1)
    pieces = [
        LogitRows(rows.first + begin, rows.logits[begin : begin + size])
        for begin in range(size, len(rows.logits), size)
    ]
    return [LogitRows(rows.first, rows.logits[:size], rows.cost), *pieces]
