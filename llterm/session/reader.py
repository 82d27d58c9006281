"""Reads the story with the model, in the background: every token's place in its distribution.

Runs only while somebody looks, and never beside a weave. The part around the cursor comes first,
then what is before it. What was read stays as long as the tokens up to it are the same.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from llterm.core.distribution import Logprobs
from llterm.core.futures import Futures, futures, ways
from llterm.core.prompt import Prompt, draft_prompt
from llterm.core.query import Backend, Failed, Query, Source, TokenScore
from llterm.core.scored_text import TokenReading, read
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary, common
from llterm.core.windows import SeenStory
from llterm.engine.prompt_heads import opened_chat
from llterm.errors import LltermError
from llterm.session.background_task import BackgroundTask, Reason, outcome
from llterm.session.cursor import Cursor
from llterm.session.document import Document
from llterm.session.suggestions import root_chat

CHUNK = 48
"""Tokens a request: a weave or an edit waits for no more than this."""
KEEP = 12
"""Candidates kept with each token."""
PATIENCE = 0.15
"""Seconds without a change before the story is looked at again: typing goes first."""


@dataclass(frozen=True, slots=True)
class StoryToken:
    """A token of the story."""

    id: int
    data: bytes
    start: int
    """Where its bytes begin in the story."""


class StoryReader(ABC):
    """Reads a story again whenever something changed that it depends on. What was read stays as
    long as the tokens up to it are the same.

    How the story is looked at and read is said by those that derive from this.
    """

    failure = "The story could not be read"

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._task = BackgroundTask(self.failure)
        self._stirred = asyncio.Event()
        self._seen: object = None
        self._end_listening: Callable[[], None] = lambda: None
        self._tokens: Tail = ()
        self._head = 0
        """How many of the tokens stand before the story."""
        self.error: LltermError | None = None

    @property
    def open(self) -> bool:
        """Whether somebody looks."""
        return self._task.running

    def start(self) -> None:
        """Somebody looks: begin to read, and go on reading."""
        if not self.open:
            self._end_listening()
            self._end_listening = self._cursor.listen(self._heard)
            self._seen = self._depends_on()
            self._task.start(self._work)
        self.stir()

    def stop(self) -> None:
        """Nobody looks any more; what was read stays."""
        self._end_listening()
        self._end_listening = lambda: None
        self._task.stop()

    def stir(self) -> None:
        """Look at the story again."""
        if self.open:
            self._stirred.set()

    def context_of(self, number: int) -> Tail:
        """All tokens before a place, the hidden ones too."""
        return self._tokens[: self._head + number]

    def _heard(self) -> None:
        seen = self._depends_on()
        if seen != self._seen:
            self._seen = seen
            self.stir()

    async def _work(self) -> Reason:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            if not await self._quiet():
                continue
            reason = await outcome(self._pass, self.failure)
            self.error = reason if isinstance(reason, LltermError) else None
            self._changed()
            await self._rest()

    async def _pass(self) -> Reason:
        await self._look()
        while not self._stirred.is_set() and await self._read():
            self._changed()
        return ""

    def _take(self, prompt: Prompt) -> int:
        """The story has these tokens now. Returns how many of its first ones stand as they did."""
        same = common(prompt.tokens, self._tokens) - prompt.head if prompt.head == self._head else 0
        self._tokens, self._head = prompt.tokens, prompt.head
        return max(same, 0)

    @abstractmethod
    def _depends_on(self) -> object:
        """What the readings depend on; another value stirs."""

    def _changed(self) -> None:
        """Something was read."""
        self._cursor.changed()

    async def _quiet(self) -> bool:
        """Wait before a pass. Returns whether nothing changed meanwhile."""
        return True

    async def _rest(self) -> None:
        """Wait after a pass."""
        return

    @abstractmethod
    async def _look(self) -> None:
        """Find the story's tokens; keep what was read of an unchanged beginning."""

    @abstractmethod
    async def _read(self) -> bool:
        """Read a part. Returns whether there may be more to read now."""


class Reader(StoryReader):
    """The story's tokens and what the model makes of them."""

    def __init__(self, cursor: Cursor) -> None:
        super().__init__(cursor)
        self._places: list[StoryToken] = []
        self._readings: list[TokenReading | None] = []
        self.sight = SeenStory()
        """How much of the story the model sees."""
        self.scored = 0
        """Tokens scored since the beginning."""

    @property
    def places(self) -> Sequence[StoryToken]:
        """The tokens that the model sees, in order."""
        return self._places

    @property
    def readings(self) -> Sequence[TokenReading | None]:
        """One a place; None where it is not read yet, or has nothing before it."""
        return self._readings

    @property
    def waiting(self) -> int:
        """Tokens that are still to be read."""
        return len(self._todo())

    def place_at(self, size: int) -> int:
        """The place whose token holds the story's byte before offset `size`; -1 without any."""
        last = -1
        for number, place in enumerate(self._places):
            if place.start >= size and number:
                break
            last = number
        return last

    def forget(self) -> None:
        """Another model: nothing read holds any more."""
        self._tokens, self._places, self._readings = (), [], []
        self.stir()

    async def candidates(self, context: Tail, id: int) -> tuple[Vocabulary, TokenScore]:
        """The whole vocabulary after these tokens, where `id` stands. Raises LltermError."""
        backend = self._awake()
        scores = backend.score((*context, id), len(context), backend.vocabulary.size)
        async with aclosing(scores) as answers:
            async for scored in answers:
                return backend.vocabulary, scored
        raise LltermError("Nothing stands before this token", "", "Choose a later one.")

    async def joint(self, context: Tail, text: str) -> tuple[int, float]:
        """How many tokens a text would be after these, and their joint logprob: they are
        evaluated. Raises LltermError."""
        backend = self._awake()
        ids = await backend.vocabulary.tokenize(text.encode("utf-8", "surrogateescape"))
        scores = backend.score(context + ids, len(context), 1)
        async with aclosing(scores) as answers:
            logprobs = [scored.logprob async for scored in answers]
        return len(ids), math.fsum(logprobs)

    async def futures(self, number: int) -> Futures:
        """How far apart what follows the likeliest candidates of a place is: a token evaluated for
        each of them. Raises LltermError."""
        backend, reading = self._cursor.backend, self._readings[number]
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
        backend = self._cursor.backend
        if backend is None:
            raise LltermError("No model reads here", "It rests, or there is none yet.", "")
        return backend

    def _depends_on(self) -> object:
        cursor, document = self._cursor, self._cursor.document
        return (
            document.revision, document.cursor, cursor.source, cursor.resting, cursor.weaving,
            cursor.status, cursor.returns,
        )  # fmt: skip

    async def _quiet(self) -> bool:
        await asyncio.sleep(PATIENCE)
        return not self._stirred.is_set()

    async def _look(self) -> None:
        backend = self._cursor.backend
        if backend is None:
            return
        prompt = await story_prompt(self._cursor.document, backend)
        if prompt.tokens == self._tokens:
            return
        known = self._readings[: self._take(prompt)]
        self.sight = prompt.sight
        self._places = []
        start = prompt.sight.start
        for id in prompt.tokens[prompt.head :]:
            token = backend.vocabulary.token(id)
            self._places.append(StoryToken(id, token.data, start))
            start += 0 if token.special else len(token.data)
        self._readings = [*known, *([None] * (len(self._places) - len(known)))]
        self._changed()

    def _todo(self) -> list[int]:
        return [
            number
            for number, reading in enumerate(self._readings)
            if reading is None and self._head + number > 0
        ]

    async def _read(self) -> bool:
        """Read a chunk: the nearest one before the cursor, else one after it."""
        backend, todo = self._cursor.backend, self._todo()
        if not todo or backend is None or self._cursor.weaving or not backend.capabilities.score:
            return False
        document = self._cursor.document
        cursor = self.place_at(len(document.bytes_before(document.cursor)))
        stop = max((n for n in todo if n <= cursor + CHUNK // 4), default=todo[0] + CHUNK - 1)
        stop = min(stop, len(self._places) - 1)
        start = max(stop - CHUNK + 1, 0)
        start = next(n for n in range(start, stop + 1) if self._readings[n] is None)
        tokens = self._tokens
        scores = backend.score(tokens[: self._head + stop + 1], self._head + start, KEEP)
        async with aclosing(scores) as answers:
            async for scored in answers:
                if tokens is not self._tokens:
                    return False
                number = scored.index - self._head
                self._readings[number] = read(scored, backend.vocabulary, number)
                self.scored += 1
        return True


async def story_prompt(document: Document, source: Source) -> Prompt:
    """The whole story as a model reads it, with nothing left for it to finish."""
    runs = document.runs_before(len(document.text))
    rules = replace(document.rules, heal=False)
    context = source.capabilities.context
    chat = await opened_chat(source, root_chat(document))
    draft = draft_prompt(runs, document.prefix, source.vocabulary, rules, context, chat)
    return await draft.told(source.vocabulary)
