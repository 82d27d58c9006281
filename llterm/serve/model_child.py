"""The process of a model that is served: opens it, and answers what comes through its stdin."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import stat
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

from llterm import child_processes
from llterm.backends.llamacpp import LlamaBackend, thread_budget
from llterm.backends.registry import open_model
from llterm.config import Config, ModelConfig
from llterm.core.conversation import read_conversation
from llterm.core.query import Failed, LogitRows, Query
from llterm.core.tokens import Anchor, Path
from llterm.engine.scheduler import Scheduler, open_scheduler
from llterm.errors import LltermError, code_places
from llterm.event_loop import run_coroutine
from llterm.serve.model_frames import (
    ANCHORS,
    AnswerPart,
    Ask,
    AttentionPart,
    Cancel,
    ChatPartsPart,
    Counts,
    EvaluationQuestion,
    FactPart,
    FailedPart,
    Finished,
    Generate,
    GiveRows,
    ModelOpened,
    OpenFailed,
    OpenModel,
    Progress,
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
    next_frame,
    read_questions,
    utf8,
)
from llterm.serve.model_outbox import ModelOutbox
from llterm.serve.open_generations import OpenGenerations

log = logging.getLogger(__name__)

UNREAD = 8
"""Parts of an answer, but for drawn tokens, that may be under way before any of them is read."""
_MOST_ROWS = 16 << 20
"""Bytes of whole rows in one part."""


def main() -> None:
    """Serve one model until the other end of stdin is closed."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode) and not stat.S_ISSOCK(os.fstat(0).st_mode):
        return  # No server is there.
    child_processes.end_if_the_parent_does()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    # Whatever writes to stdout in C, it does not write into a frame.
    out = os.dup(1)
    os.dup2(2, 1)
    run_coroutine(_serve_and_end(out))


async def _serve_and_end(out: int) -> None:
    try:
        await _serve(out)
    finally:
        # What runs in C, or is read, is not waited for.
        os._exit(1)


async def _serve(out: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    outbox = ModelOutbox(out)
    data = await next_frame(reader)
    opening = asyncio.create_task(_open(data, outbox))
    following = asyncio.create_task(next_frame(reader))
    await asyncio.wait({opening, following}, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done() and following.result() is None:
        return
    answers = await opening
    if answers is None:
        await outbox.written()
        return
    while (data := await following) is not None:
        for part in read_questions(data):
            answers.take(part)
        following = asyncio.create_task(next_frame(reader))


async def _open(data: bytes | None, outbox: ModelOutbox) -> _Answers | None:
    """The model, told; None where it cannot be had."""
    asked = read_questions(data)[0] if data else None
    if not isinstance(asked, OpenModel):
        return None
    loop = asyncio.get_running_loop()

    def progress(share: float) -> None:
        loop.call_soon_threadsafe(outbox.put, Progress(share))

    try:
        thread_budget.limit(asked.cores)
        backend = await open_model(asked.name, _config(asked), progress=progress)
        assert isinstance(backend, LlamaBackend)
        scheduler = await open_scheduler(
            backend,
            parallel=asked.parallel,
            context=asked.slot_context,
            memory=asked.cache_memory,
            cells=asked.cache_size,
            queue=asked.queue,
        )
    except LltermError as error:
        outbox.put(OpenFailed(*error_words(error)))
        return None
    vocabulary = backend.vocabulary
    tokens = map(vocabulary.token, range(vocabulary.size))
    outbox.put(
        ModelOpened(
            backend.capabilities,
            tuple((token.data, token.special, token.end) for token in tokens),
            vocabulary.prefix,
            vocabulary.fingerprint,
            scheduler.room,
            backend.chat_traits,
        )
    )
    answers = _Answers(backend, scheduler, outbox)
    outbox.counts = answers.counts
    return answers


def _config(asked: OpenModel) -> Config:
    settings = ModelConfig(
        path=asked.path,
        chat_template_file=asked.template_file,
        **asked.settings,  # type: ignore[arg-type]
    )
    return Config(models={asked.name: settings}, formats=asked.formats)


class _Answers:
    """Whatever is asked and not answered yet."""

    def __init__(self, backend: LlamaBackend, scheduler: Scheduler, outbox: ModelOutbox) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._outbox = outbox
        self._generations = OpenGenerations(scheduler, outbox)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room: dict[int, asyncio.Semaphore] = {}
        self._anchors: OrderedDict[int, Anchor] = OrderedDict()

    def take(self, part: object) -> None:
        match part:
            case Generate():
                self._generations.begin(part)
            case Cancel():
                self._generations.cancel(part.number)
                if task := self._tasks.get(part.number):
                    task.cancel()
            case Taken():
                if room := self._room.get(part.number):
                    for _ in range(min(part.count, UNREAD)):
                        room.release()
            case Ask() | Score() | GiveRows() | ShowAttention() | Tokenize() | WriteChat():
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
            kind = type(fault).__name__
            log.error("a question failed: %s\n%s", kind, code_places(fault))
            self._outbox.put(Refused(number, "LltermError", "The model failed", f"{kind}.", ""))

    def _forget(self, number: int) -> None:
        del self._tasks[number], self._room[number]

    def counts(self) -> Counts:
        """How it is doing."""
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
