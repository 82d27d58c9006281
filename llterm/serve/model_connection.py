"""The server's end of the pipe to a model's process: questions by number, and their answers."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from itertools import count
from typing import BinaryIO

from llterm import child_processes
from llterm.backends.llamacpp.trial_process import TrialEnd
from llterm.core.display_text import field_text
from llterm.core.query import Cost
from llterm.errors import BackendUnavailable, LltermError
from llterm.serve.model_frames import (
    AnswerPart,
    AttentionPart,
    BrokenFrame,
    Cancel,
    Counts,
    EmbeddingsPart,
    FactPart,
    Finished,
    FromModel,
    GenerationEndPart,
    Logged,
    ModelOpened,
    OpenFailed,
    OpenModel,
    Progress,
    Question,
    Refused,
    RowsPart,
    ScorePart,
    Taken,
    TokenPart,
    ToModel,
    frame,
    next_frame,
    read_answers,
    told_error,
)

log = logging.getLogger(__name__)

_GENERATED = (TokenPart, GenerationEndPart)
_EVALUATED = (GenerationEndPart, FactPart, ScorePart, RowsPart, AttentionPart, EmbeddingsPart)
_LUMP = 4
"""Parts that are read before it is said that they were; fewer than may be under way."""
_ENDING_SECONDS = 5.0
"""That a process may take to end after it closed its pipe."""
_MOST_LOGGED = 8_000
"""Characters of one thing that a process logs."""
_LAST_WORDS = 1 << 16
"""Bytes of what a process said that are looked through."""


class ModelConnection:
    """One process of a model, from its start to its end."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, said: BinaryIO,
        progress: Callable[[float], None] | None,
    ) -> None:  # fmt: skip
        """`said`: the file that its stderr goes to."""
        self._name = name
        self._process = process
        self._said = said
        self._progress = progress
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Queue[AnswerPart | LltermError]] = {}
        self.opened: asyncio.Future[ModelOpened] = asyncio.get_running_loop().create_future()
        """Done when the model can be asked; an error where it cannot be opened."""
        self.counts = Counts(0, 0, Cost())
        """How it was doing of late."""
        self.answered = False
        """Whether it evaluated anything to an answer."""
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, question: Callable[[int], Question]) -> AsyncGenerator[AnswerPart]:
        """The parts of its answer. Closing the generator cancels. Raises LltermError, also where
        the process ends."""
        if self._reading.done():
            raise self._gone()
        number = next(self._numbers)
        parts: asyncio.Queue[AnswerPart | LltermError] = asyncio.Queue()
        self._answers[number] = parts
        unsaid = 0
        try:
            self._send(question(number))
            while True:
                part = await parts.get()
                if isinstance(part, _GENERATED):
                    yield part
                    continue
                if isinstance(part, LltermError):
                    raise part
                if isinstance(part, Finished | Refused):
                    del self._answers[number]
                    if isinstance(part, Refused):
                        raise told_error(part)
                    return
                yield part
                unsaid += 1
                if unsaid == _LUMP:
                    self._send(Taken(number, unsaid))
                    unsaid = 0
        finally:
            if self._answers.pop(number, None) is not None:
                self._send(Cancel(number))

    async def ended(self) -> None:
        """Wait until its process has ended, and whoever waits for an answer was told."""
        await asyncio.wait({self._reading})

    async def end(self) -> None:
        """End its process now."""
        self._kill()
        await self.ended()

    def _send(self, part: ToModel) -> None:
        assert self._process.stdin is not None
        if not self._reading.done():
            self._process.stdin.write(frame([part]))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while (data := await next_frame(self._process.stdout)) is not None:
                for part in read_answers(data):
                    self._take(part)
        except BrokenFrame as broken:
            log.error("the process of %s does not speak as it should: %s", self._name, broken)
            self._kill()
        self._tell_end(await self._code())

    async def _code(self) -> int:
        """How its process ended, once it closed its pipe: which is by its end, or it is ended."""
        try:
            # Not killed at once: that would ask for the code, and asyncio would miss it.
            return await asyncio.wait_for(self._process.wait(), _ENDING_SECONDS)
        except TimeoutError:
            self._kill()
            return await self._process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _take(self, part: FromModel) -> None:
        match part:
            case TokenPart():
                if parts := self._answers.get(part.number):
                    parts.put_nowait(part)
            case Progress():
                if self._progress is not None:
                    self._progress(part.share)
            case Logged():
                log.log(part.level, "in the process of %s: %s", self._name, _shown(part.message))
            case Counts():
                self.counts = part
            case ModelOpened() if not self.opened.done():
                self.opened.set_result(part)
            case OpenFailed() if not self.opened.done():
                self.opened.set_exception(told_error(part))
            case ModelOpened() | OpenFailed():
                raise BrokenFrame("it opens twice")
            case _:
                self.answered = self.answered or isinstance(part, _EVALUATED)
                if parts := self._answers.get(part.number):
                    parts.put_nowait(part)

    def _tell_end(self, code: int) -> None:
        """Whoever waits is told; the log has what llama.cpp said of its end, where it did."""
        with self._said as said:
            said.seek(max(said.seek(0, os.SEEK_END) - _LAST_WORDS, 0))
            words = said.read().decode("utf-8", "replace").splitlines()
        # Other words may hold somebody's text.
        asserted = [line for line in words if "GGML_ASSERT" in line]
        if self._answers or not self.opened.done():
            log.error(
                "process %d of %s ended %s", self.pid, self._name, TrialEnd(code, "", asserted).told
            )
        if not self.opened.done():
            self.opened.set_exception(self._gone())
        for parts in self._answers.values():
            parts.put_nowait(self._gone())
        self._answers.clear()

    def _gone(self) -> LltermError:
        code = self._process.returncode
        how = TrialEnd(code, "", ()).told if code is not None else "early"
        return BackendUnavailable(
            f"The process of {self._name} ended",
            f"It ended {how} while it worked.",
            "It is loaded again: ask again in a moment.",
        )


def _shown(message: str) -> str:
    """What a process logs, as few lines that are no lines of anybody else's."""
    return "\n  ".join(field_text(line) for line in message[:_MOST_LOGGED].splitlines())


async def start_process(
    opening: OpenModel, progress: Callable[[float], None] | None = None
) -> ModelConnection:
    """Begin a model's process. What it is doing then is told by `ModelConnection.opened`."""
    said = tempfile.TemporaryFile()  # noqa: SIM115  (the connection closes it)
    process = await asyncio.create_subprocess_exec(
        *child_processes.command(f"{__package__}.model_child"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        # ctrl+c comes to the server alone, which drains.
        start_new_session=True,
    )
    connection = ModelConnection(opening.name, process, said, progress)
    assert process.stdin is not None
    process.stdin.write(frame([opening]))
    return connection
