"""The in-process backend: one owner thread a context, queries in, facts out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import Any, Generic

from llterm.backends.chat_formats import ChatFormat
from llterm.backends.chat_opener import ChatOpener, opener
from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import StopFlag, Stopped, library
from llterm.backends.llamacpp.context_turns import ContextTurns
from llterm.backends.llamacpp.gguf_header import check_gguf, weights_digest
from llterm.backends.llamacpp.gpu_placement import gpus_here, placed
from llterm.backends.llamacpp.llama_chat import format_of, named_format
from llterm.backends.llamacpp.llama_vocabulary import LlamaVocabulary
from llterm.backends.llamacpp.loader import LlamaSettings, load
from llterm.backends.llamacpp.memory_estimate import check_room
from llterm.backends.llamacpp.model_runner import Answer, Burst, Bursts, ModelRunner
from llterm.backends.llamacpp.path_states import read_state, state_bytes
from llterm.backends.llamacpp.stream_context import StreamContext
from llterm.core.attention_weights import Attention
from llterm.core.chat_messages import Chat, ChatParts
from llterm.core.conversation import ChatTraits, Conversation
from llterm.core.embeddings import Embeddings
from llterm.core.query import (
    Capabilities,
    Cost,
    Fact,
    Failed,
    HeldPath,
    LogitRows,
    Query,
    ScoreColumns,
    TokenScore,
    single_scores,
)
from llterm.core.tokens import Tail
from llterm.errors import Interrupted, LltermError, UsageError
from llterm.faults import unforeseen

UNREAD = 2
"""Decodes ahead of the reading of their logits: more would only take memory."""


@dataclass(slots=True, eq=False)
class _OwnerJob(Generic[Answer]):
    """One `ask` or `score`: work for the owner thread, and where its answers go."""

    work: Callable[[ModelRunner], Bursts[Answer]]
    loop: asyncio.AbstractEventLoop
    bursts: Bursts[Answer] | None = None
    """The work once it has begun."""
    answers: asyncio.Queue[Sequence[Answer] | BaseException | None] = field(
        default_factory=asyncio.Queue
    )
    unread: deque[Future[None]] = field(default_factory=deque)
    """Bursts that are being read."""
    cancelled: bool = False

    def tell(self, answers: Sequence[Answer] | BaseException | None) -> None:
        """Hand over to the event loop; one that has ended wants nothing any more."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.answers.put_nowait, answers)

    def read(self, burst: Burst[Answer]) -> None:
        """Make facts of a burst and hand them over."""
        if self.cancelled:
            return
        try:
            self.tell(burst())
        except LltermError as error:
            self.tell(error)


class _ContextThread(threading.Thread):
    """The only thread that touches the context once it is loaded. Jobs take turns on it.

    Logits are read on a thread beside it, so that the next decode need not wait for that.
    """

    def __init__(self, runner: ModelRunner, stop: StopFlag) -> None:
        super().__init__(name="llama.cpp", daemon=True)
        self.runner = runner
        runner.crowded = self._crowded
        self._stop_flag = stop
        self._turns: ContextTurns[_OwnerJob[Any]] = ContextTurns()
        self._unwanted: list[_OwnerJob[Any]] = []
        """Jobs that had begun and were cancelled while they waited."""
        self._changed = threading.Condition()
        self._current: _OwnerJob[Any] | None = None
        self._ended = False
        self.streamed = False
        """Streams on the same weights are open: they wait for each decode here."""
        self._reader = ThreadPoolExecutor(1, "llama.cpp rows")

    def put(self, job: _OwnerJob[Any], *, apart: bool) -> None:
        """Let it wait for its turn; `apart`: it works in a context of its own."""
        with self._changed:
            if self._ended:
                job.tell(None)
                return
            self._turns.join(job, apart=apart)
            self._changed.notify()

    def cancel(self, job: _OwnerJob[Any]) -> None:
        """Drop a job; if it is the one that runs, stop it inside its decode."""
        with self._changed:
            job.cancelled = True
            if self._current is job:
                self._stop_flag.set()
            elif self._turns.leave(job):
                self._unwanted.append(job)
                self._changed.notify()

    def end(self) -> None:
        """Stop what runs and end the thread, which then frees the model."""
        with self._changed:
            self._ended = True
            self._stop_flag.set()
            self._changed.notify()

    def run(self) -> None:
        while self._begin_turn():
            assert self._current is not None
            if not self._work(self._current):
                self._end_turn()
        for job in (*self._turns, *self._unwanted):
            self._close(job, None)
        self._reader.shutdown()
        self.runner.free()

    def _crowded(self) -> bool:
        with self._changed:
            crowded = self._turns.crowded
        return crowded or (self.streamed and thread_budget.contended())

    def _begin_turn(self) -> bool:
        """Wait for a job that may work; returns False at the end."""
        while True:
            self._free_unwanted()
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._unwanted or self._turns.crowded)
                if self._ended:
                    return False
                self._current = self._turns.next(time.monotonic())
                if self._current is not None:
                    self._stop_flag.clear()
                    return True

    def _gives_way(self) -> bool:
        """End the turn of the job that runs if others are to have theirs; it waits for its next."""
        with self._changed:
            now = time.monotonic()
            job = self._current
            assert job is not None
            if job.cancelled or self._ended or not self._turns.gives_way(now):
                return False
            self._turns.pause(now)
            self._current = None
            return True

    def _end_turn(self) -> None:
        with self._changed:
            self._turns.end(time.monotonic())
            self._current = None

    def _free_unwanted(self) -> None:
        with self._changed:
            unwanted, self._unwanted = self._unwanted, []
        for job in unwanted:
            self._close(job, None)

    def _work(self, job: _OwnerJob[Any]) -> bool:
        """Let it go on until it has ended, or others are to have their turn: True then."""
        end: LltermError | None = None
        try:
            if job.bursts is None:
                job.bursts = job.work(self.runner)
            for burst in job.bursts:
                if burst is not None:
                    job.unread.append(self._reader.submit(job.read, burst))
                if len(job.unread) > UNREAD:
                    job.unread.popleft().result()
                self._free_unwanted()
                if job.cancelled:
                    break
                if self._gives_way():
                    return True
        except Stopped:
            pass
        except LltermError as error:
            end = error
        except Exception as fault:  # noqa: BLE001  (told where somebody waits)
            end = unforeseen("The model failed", fault)
        self._close(job, end)
        return False

    def _close(self, job: _OwnerJob[Any], end: LltermError | None) -> None:
        """Free what it holds, and tell it that nothing more comes."""
        if job.bursts is not None:
            job.bursts.close()
        self._reader.submit(job.tell, end)


class LlamaBackend:
    """A GGUF model in this process."""

    def __init__(
        self,
        name: str,
        vocabulary: LlamaVocabulary,
        capabilities: Capabilities,
        owner: _ContextThread,
        form: ChatFormat,
        chats: ChatOpener,
    ) -> None:
        """`chats`: what opens chats of this form."""
        self.name = name
        self._form = form
        self._chats = chats
        self.vocabulary = vocabulary
        self.capabilities = capabilities
        self._owner = owner
        self._embedding = asyncio.Lock()
        """One question at a time has the context of embeddings, while others have turns."""
        owner.start()

    @property
    def spent(self) -> Cost:
        return self._owner.runner.spent

    @property
    def chat_format(self) -> str:
        return self._chats.name

    def open_chat(self, chat: Chat) -> ChatParts | None:
        return self._chats.open(chat)

    async def opened_chat(self, chat: Chat) -> ChatParts:
        return await self._chats.opened(chat)

    def hear_chats(self, told: Callable[[], None]) -> None:
        self._chats.hear(told)

    @property
    def chat_traits(self) -> ChatTraits:
        return self._form.traits

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        # A template from outside may take a second, and formats are in C.
        return await asyncio.to_thread(self._form.write, conversation)

    def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        asked = tuple(queries)
        return self._run(lambda runner: runner.ask(asked))

    def ask_beside(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        asked = tuple(queries)
        return self._run(lambda runner: runner.ask_beside(asked), apart=True)

    def ask_in_order(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        asked = tuple(queries)
        return self._run(lambda runner: runner.ask_in_order(asked))

    @property
    def on_gpu(self) -> bool:
        return self.settings.layers > 0

    @property
    def settings(self) -> LlamaSettings:
        """What it was opened with."""
        return self._owner.runner.settings

    @asynccontextmanager
    async def on_cpu(self) -> AsyncIterator[LlamaBackend]:
        path = self.capabilities.weights
        assert path is not None
        settings = replace(self.settings, gpu_layers=0, gpus=())
        other = await open_llama(path, settings, name=self.name, cpu_alone=True)
        try:
            yield other
        finally:
            await other.close()

    async def attention(self, tokens: Tail, rows: int, columns: int) -> Attention:
        answers = self._run(lambda runner: runner.attention(tokens, rows, columns), apart=True)
        async with aclosing(answers):
            async for answer in answers:
                return answer
        raise Interrupted("Reading the attention was stopped")

    async def embed(self, texts: Sequence[bytes | Tail]) -> Embeddings:
        tails = await asyncio.to_thread(lambda: [self.vocabulary.alone(text) for text in texts])
        async with self._embedding:
            answers = self._run(lambda runner: runner.embed(tails), apart=True)
            async with aclosing(answers):
                async for answer in answers:
                    return answer
        raise Interrupted("Reading the texts was stopped")

    async def held(self, tokens: Tail) -> HeldPath:
        return await self._told(lambda runner: runner.held(tokens))

    async def pin(self, tokens: Tail) -> None:
        await self._told(lambda runner: runner.pin(tokens))

    async def release(self, tokens: Tail) -> bool:
        return (await self._told(lambda runner: runner.release(tokens))).pinned

    async def saved_state(self, tokens: Tail) -> bytes:
        state = await self._told(lambda runner: runner.pin(tokens))
        return await asyncio.to_thread(state_bytes, state, await self._maker())

    async def load_state(self, data: bytes, name: str) -> Tail:
        state = await asyncio.to_thread(read_state, data, await self._maker(), name)
        size = self.vocabulary.size
        fits = len(state.tokens) <= self.capabilities.context
        if not fits or not all(0 <= id < size for id in state.tokens):
            raise UsageError(
                f"{name} does not fit", "The context is smaller than its path.", "Enlarge it."
            )
        return (await self._told(lambda runner: runner.take(state))).tokens

    async def _maker(self) -> str:
        """What a state can be read by again."""
        path, settings = self.capabilities.weights, self.settings
        assert path is not None
        digest = await asyncio.to_thread(weights_digest, path)
        made = version("llama-cpp-python")
        kinds = f"{settings.kv_type}, flash attention {settings.flash_attention}"
        return f"{path.name} ({digest[:16]}), cache {kinds}, llama-cpp-python {made}"

    async def _told(self, work: Callable[[ModelRunner], Bursts[Answer]]) -> Answer:
        """The one answer to a question."""
        async with aclosing(self._run(work)) as answers:
            async for answer in answers:
                return answer
        raise Interrupted("The model was stopped")

    def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[TokenScore]:
        return single_scores(self.score_columns(tokens, start, keep))

    def score_columns(
        self, tokens: Tail, start: int = 1, keep: int = 64, *, aside: bool = True
    ) -> AsyncGenerator[ScoreColumns]:
        return self._run(
            lambda runner: runner.score(tokens, start, keep, aside=aside),
            apart=self._owner.runner.apart(tokens, start, aside=aside),
        )

    def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        return self._run(
            lambda runner: runner.rows(tokens, start, aside=aside),
            apart=self._owner.runner.apart(tokens, start, aside=aside),
        )

    async def open_streams(
        self, slots: int, cells: int, stop: StopFlag | None = None
    ) -> StreamContext:
        """A context of streams on the same weights, to be closed before this backend is. `stop`:
        the flag that stops its decodes, where it is another's. Raises LltermError where memory is
        too small."""
        loaded = self._owner.runner.loaded
        streams = await asyncio.to_thread(StreamContext, loaded, slots, cells, stop)
        self._owner.streamed = True
        return streams

    def end(self) -> None:
        """Stop what runs; the model is freed soon after, and nobody waits for that."""
        self._owner.end()

    async def close(self) -> None:
        self.end()
        await self._chats.close()
        while self._owner.is_alive():
            await asyncio.to_thread(self._owner.join, 0.05)

    async def _run(
        self, work: Callable[[ModelRunner], Bursts[Answer]], *, apart: bool = False
    ) -> AsyncGenerator[Answer]:
        job = _OwnerJob(work, asyncio.get_running_loop())
        self._owner.put(job, apart=apart)
        try:
            while (answers := await job.answers.get()) is not None:
                if isinstance(answers, BaseException):
                    raise answers
                for answer in answers:
                    yield answer
        finally:
            self._owner.cancel(job)


async def open_llama(
    path: FilePath,
    settings: LlamaSettings | None = None,
    progress: Callable[[float], None] | None = None,
    name: str | None = None,
    *,
    cpu_alone: bool = False,
) -> LlamaBackend:
    """Load a GGUF file; `progress` is called on the event loop with the share done, 0 to 1.

    `name` is what the model is called; unset: the file's stem. `cpu_alone`: no GPU takes part,
    whatever the settings say. Raises ModelError where the file
    cannot be read, does not predict text or does not fit into memory, UsageError for more threads
    than cores. Cancelling gives up the loading and frees what there
    is of it.
    """
    asked = settings or LlamaSettings()
    loop = asyncio.get_running_loop()
    wanted = threading.Event()
    wanted.set()
    name = name or path.stem

    def tell(share: float) -> bool:
        if progress is not None:
            loop.call_soon_threadsafe(progress, share)
        return wanted.is_set()

    def work() -> LlamaBackend:
        thread_budget.thread_count(asked.threads)
        info = check_gguf(path)
        settings = placed(info, asked, gpus_here())
        check_room(info, settings)
        chosen = settings.chat_template
        if isinstance(chosen, str):
            chosen = named_format(library(), chosen)
        loaded = load(path, settings, tell, cpu_alone=cpu_alone)
        ends = chosen.ends if isinstance(chosen, ChatFormat) else ()
        vocabulary = LlamaVocabulary(library(), loaded.model, ends)
        runner = ModelRunner(loaded, vocabulary.size, name)
        capabilities = Capabilities(
            full_vocabulary=True,
            batch=min(256, loaded.sequences - 1),
            context=loaded.window,
            cells=loaded.cells,
            shares=not loaded.whole,
            ordered=True,
            anchored=loaded.ordered,
            attention=loaded.attentive,
            embeddings=True,
            weights=path,
            kernels=settings.kernels,
        )
        form = format_of(library(), chosen, loaded.model, vocabulary)
        owner = _ContextThread(runner, loaded.stop)
        return LlamaBackend(name, vocabulary, capabilities, owner, form, opener(form, loop))

    opening = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        wanted.clear()
        opening.add_done_callback(_unwanted)
        raise


def _unwanted(opening: asyncio.Task[LlamaBackend]) -> None:
    """A model that was ready after nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().end()
