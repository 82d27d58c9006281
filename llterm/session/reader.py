"""Reads the story with the model, in the background: every token's place in its distribution.

Runs only while somebody looks, and never beside a weave. The part around the cursor comes first,
then what is before it. What was read stays as long as the tokens up to it are the same.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from llterm.core.distribution import Logprobs
from llterm.core.futures import Futures, futures, ways
from llterm.core.prompt import Prompt
from llterm.core.query import Backend, Failed, Query, Scored
from llterm.core.scored_text import Reading, read
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary
from llterm.core.windows import SeenStory
from llterm.errors import LltermError
from llterm.session.document import Document
from llterm.session.weaves import story_prompt

log = logging.getLogger(__name__)

CHUNK = 48
"""Tokens a request: a weave or an edit waits for no more than this."""
KEEP = 12
"""Candidates kept with each token."""
PATIENCE = 0.15
"""Seconds without a change before the story is looked at again: typing goes first."""


class Host(Protocol):
    """What the reader needs of a session."""

    @property
    def document(self) -> Document: ...

    @property
    def weaving(self) -> bool: ...

    @property
    def backend(self) -> Backend | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A token of the story."""

    id: int
    data: bytes
    start: int
    """Where its bytes begin in the story."""


class Reader:
    """The story's tokens and what the model makes of them."""

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._changed = changed
        self._open = False
        self._task: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self._tokens: Tail = ()
        self._head = 0
        self._places: list[Place] = []
        self._readings: list[Reading | None] = []
        self.sight = SeenStory()
        """How much of the story the model sees."""
        self.error: LltermError | None = None
        self.scored = 0
        """Tokens scored since the beginning."""

    @property
    def open(self) -> bool:
        return self._open

    @property
    def places(self) -> Sequence[Place]:
        """The tokens that the model sees, in order."""
        return self._places

    @property
    def readings(self) -> Sequence[Reading | None]:
        """One a place; None where it is not read yet, or has nothing before it."""
        return self._readings

    @property
    def waiting(self) -> int:
        """Tokens that are still to be read."""
        return len(self._todo())

    def place_at(self, size: int) -> int:
        """The place whose token holds the story's byte before offset `size`; -1 without any."""
        found = -1
        for number, place in enumerate(self._places):
            if place.start >= size and number:
                break
            found = number
        return found

    def start(self) -> None:
        """Somebody looks."""
        self._open = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())
        self.stir()

    def stop(self) -> None:
        """Nobody looks any more; what was read stays."""
        self._open = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def forget(self) -> None:
        """Another model: nothing read holds any more."""
        self._tokens, self._places, self._readings = (), [], []
        self.stir()

    def stir(self) -> None:
        """The story, the cursor, the model or the weave changed."""
        if self._open:
            self._stirred.set()

    def context_of(self, number: int) -> Tail:
        """All tokens before a place, the hidden ones too."""
        return self._tokens[: self._head + number]

    async def candidates(self, context: Tail, id: int) -> tuple[Vocabulary, Scored]:
        """The whole vocabulary after these tokens, where `id` stands. Raises LltermError."""
        backend = self._awake()
        scores = backend.score((*context, id), len(context), backend.vocabulary.size)
        async with aclosing(scores) as found:
            async for scored in found:
                return backend.vocabulary, scored
        raise LltermError("Nothing stands before this token", "", "Choose a later one.")

    async def joint(self, context: Tail, text: str) -> tuple[int, float]:
        """How many tokens a text would be after these, and their joint logprob: they are
        evaluated. Raises LltermError."""
        backend = self._awake()
        ids = backend.vocabulary.encode(text.encode("utf-8", "surrogateescape"))
        scores = backend.score(context + ids, len(context), 1)
        async with aclosing(scores) as found:
            logprobs = [scored.logprob async for scored in found]
        return len(ids), math.fsum(logprobs)

    async def futures(self, number: int) -> Futures:
        """How far apart what follows the likeliest candidates of a place is: a token evaluated for
        each of them. Raises LltermError."""
        backend, reading = self._host.backend, self._readings[number]
        chosen = ways(reading) if reading is not None else ()
        if backend is None or len(chosen) < 2:
            raise LltermError("There is no fork here", "The model sees one way only.", "")
        anchor = Anchor(self.context_of(number))
        queries = [Query(Path(anchor, (one.token.id,)), full=True) for one in chosen]
        after: dict[Tail, Logprobs] = {}
        async with aclosing(backend.ask(queries)) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    raise answer.error
                if answer.distribution.full is not None:
                    after[answer.path.tail] = answer.distribution.full
        if len(after) < len(queries):
            raise LltermError(
                "Futures cannot be compared here",
                "This model's server tells its first candidates only.",
                "A model in process tells all of them.",
            )
        return futures(chosen, [after[query.path.tail] for query in queries])

    def _awake(self) -> Backend:
        backend = self._host.backend
        if backend is None:
            raise LltermError("No model reads here", "It rests, or there is none yet.", "")
        return backend

    async def _work(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            await asyncio.sleep(PATIENCE)
            if self._stirred.is_set():
                continue
            try:
                await self._look()
                await self._read()
                self.error = None
            except LltermError as error:
                self.error = error
            except Exception:
                log.exception("the story could not be read")
                self.error = LltermError("The story could not be read", "", "See the log.")
            self._changed()

    async def _look(self) -> None:
        """Find the story's tokens; keep what was read of an unchanged beginning."""
        backend, document = self._host.backend, self._host.document
        if backend is None:
            return
        prompt = await story_prompt(document, backend)
        if prompt.tokens != self._tokens:
            self._take(prompt, backend)
            self._changed()

    def _take(self, prompt: Prompt, backend: Backend) -> None:
        same = 0
        for one, other in zip(prompt.tokens, self._tokens, strict=False):
            if one != other:
                break
            same += 1
        kept = self._readings[: max(same - self._head, 0)] if prompt.head == self._head else []
        self._tokens, self._head, self.sight = prompt.tokens, prompt.head, prompt.sight
        self._places = []
        start = prompt.sight.start
        for id in prompt.tokens[prompt.head :]:
            token = backend.vocabulary.token(id)
            self._places.append(Place(id, token.data, start))
            start += 0 if token.special else len(token.data)
        self._readings = [*kept, *([None] * (len(self._places) - len(kept)))]

    def _todo(self) -> list[int]:
        return [
            number
            for number, reading in enumerate(self._readings)
            if reading is None and self._head + number > 0
        ]

    async def _read(self) -> None:
        """Read chunk after chunk until all is read or something else changed."""
        while not self._stirred.is_set() and (todo := self._todo()):
            backend = self._host.backend
            if backend is None or self._host.weaving or not backend.capabilities.score:
                return
            document = self._host.document
            cursor = self.place_at(len(document.bytes_before(document.cursor)))
            # The nearest ones before the cursor, else those after it.
            stop = max((n for n in todo if n <= cursor + CHUNK // 4), default=todo[0] + CHUNK - 1)
            stop = min(stop, len(self._places) - 1)
            start = max(stop - CHUNK + 1, 0)
            start = next(n for n in range(start, stop + 1) if self._readings[n] is None)
            tokens = self._tokens
            scores = backend.score(tokens[: self._head + stop + 1], self._head + start, KEEP)
            async with aclosing(scores) as found:
                async for scored in found:
                    if tokens is not self._tokens:
                        return
                    number = scored.index - self._head
                    self._readings[number] = read(scored, backend.vocabulary, number)
                    self.scored += 1
            self._changed()
