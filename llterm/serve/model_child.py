"""The process of a model that is served: opens it, and answers what comes through its stdin."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import stat
import sys
from collections.abc import Callable

from llterm import child_processes
from llterm.backends.llamacpp import LlamaBackend, thread_budget
from llterm.backends.llamacpp.embedding_model import open_encoder
from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.registry import file_settings, find_model, open_model
from llterm.config import Config, ModelConfig
from llterm.core.conversation import ChatTraits
from llterm.core.query import Capabilities
from llterm.core.tokens import Vocabulary
from llterm.engine.draft_opener import DraftChoice, draft_choice
from llterm.engine.scheduler import open_scheduler
from llterm.errors import LltermError
from llterm.event_loop import run_coroutine
from llterm.serve.child_answers import Answers, EncoderAnswers, TextAnswers
from llterm.serve.model_frames import (
    ModelOpened,
    OpenFailed,
    OpenModel,
    Progress,
    error_words,
    next_frame,
    read_questions,
)
from llterm.serve.model_outbox import ModelOutbox, OutboxLog

NO_CHATS = ChatTraits("", known=False)


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
    for name in ("llterm", "llama.cpp"):
        logging.getLogger(name).addHandler(OutboxLog(outbox))
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


async def _open(data: bytes | None, outbox: ModelOutbox) -> Answers | None:
    """The model, told; None where it cannot be had."""
    asked = read_questions(data)[0] if data else None
    if not isinstance(asked, OpenModel):
        return None
    loop = asyncio.get_running_loop()

    def progress(share: float) -> None:
        loop.call_soon_threadsafe(outbox.put, Progress(share))

    answers: Answers
    try:
        thread_budget.limit(asked.cores)
        if inspect_gguf(asked.path).encoder:
            answers = await _open_encoder(asked, progress, outbox)
        else:
            answers = await _open_text_model(asked, progress, outbox)
    except LltermError as error:
        outbox.put(OpenFailed(*error_words(error)))
        return None
    outbox.counts = answers.counts
    return answers


async def _open_encoder(
    asked: OpenModel, progress: Callable[[float], None], outbox: ModelOutbox
) -> EncoderAnswers:
    # No trial before: this process is one.
    known = find_model(asked.name, _config(asked))
    encoder = await open_encoder(asked.path, file_settings(known), progress, asked.name)
    room = encoder.capabilities.context
    outbox.put(_opened(encoder.capabilities, encoder.vocabulary, room, NO_CHATS))
    return EncoderAnswers(encoder, outbox)


async def _open_text_model(
    asked: OpenModel, progress: Callable[[float], None], outbox: ModelOutbox
) -> TextAnswers:
    backend = await open_model(asked.name, _config(asked), progress=progress)
    assert isinstance(backend, LlamaBackend)
    scheduler = await open_scheduler(
        backend,
        parallel=asked.parallel,
        context=asked.slot_context,
        memory=asked.cache_memory,
        cells=asked.cache_size,
        queue=asked.queue,
        draft=_draft(asked),
    )
    told = _opened(backend.capabilities, backend.vocabulary, scheduler.room, backend.chat_traits)
    outbox.put(told)
    return TextAnswers(backend, scheduler, outbox)


def _opened(
    capabilities: Capabilities, vocabulary: Vocabulary, room: int, chats: ChatTraits
) -> ModelOpened:
    tokens = map(vocabulary.token, range(vocabulary.size))
    return ModelOpened(
        capabilities,
        tuple((token.data, token.special, token.end) for token in tokens),
        vocabulary.prefix,
        vocabulary.fingerprint,
        room,
        chats,
    )


def _config(asked: OpenModel) -> Config:
    settings = ModelConfig(
        path=asked.path,
        chat_template_file=asked.template_file,
        **asked.settings,  # type: ignore[arg-type]
    )
    return Config(models={asked.name: settings}, formats=asked.formats)


def _draft(asked: OpenModel) -> DraftChoice | None:
    """What writes ahead: a file by the settings that its own name has, or what needs none."""
    config = Config()
    if asked.draft is not None:
        settings = ModelConfig(path=asked.draft.path, **asked.draft.settings)  # type: ignore[arg-type]
        config = Config(models={asked.draft.name: settings})
    named = _config(asked).models[asked.name]
    name = asked.draft.name if asked.draft is not None else named.draft
    return draft_choice(name, named.draft_tokens, config)
