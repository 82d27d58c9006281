"""`llterm batch` as a function: many requests in, a line of results for each as it ends.

What a row is drawn with depends on its id and the run's seed alone, so that neither the order nor a
stop in between changes what comes of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llterm.core.batch_row import COMPLETIONS, BatchInput, BatchRow, RowPlace
from llterm.errors import LltermError
from llterm.jobs.batch_answers import (
    Answering,
    Body,
    RowAnswer,
    RowAnswers,
    RowRefused,
    tokens_of_answer,
)
from llterm.jobs.batch_duplicates import Dropped, DuplicateCounts, drop_duplicates
from llterm.jobs.batch_models import OpenedAnswers, SlotOptions, opened_answers
from llterm.jobs.batch_output import BatchFiles, BatchOutput, opened_output
from llterm.jobs.batch_plan import BatchPlan, plan_rows
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener, run_together
from llterm.number_format import count_of

_STREAMS = ("stream", "stream_options")
"""What a batch has no use for."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is answered."""

    files: BatchFiles
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Fields of bodies that do not have them."""
    logprobs: int | None = None
    """Candidates told with each token, in bodies that do not say; None: no logprobs."""
    seed: int | None = None
    """Of the run; None: by chance, or as it was begun."""
    slots: SlotOptions = field(default_factory=SlotOptions)
    limit: int | None = None
    """Only so many rows, from the first on."""
    most_failures: int | None = None
    """With more it stops; None: never."""
    accept_changes: bool = False
    """Go on though model, settings or input are not those that it was begun with."""
    dropped: Dropped = "none"
    """Which results are taken out at the end, because another one says the same."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row and what came of it."""

    row: BatchRow
    seed: int
    """What it was drawn with."""
    answer: RowAnswer | None = None
    """None of a row that failed."""
    refused: RowRefused | None = None


@dataclass(slots=True)
class BatchProgress:
    """How far a batch is."""

    rows: int = 0
    before: int = 0
    """Rows that earlier runs answered."""
    answered: int = 0
    """By this one."""
    failed: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    """Drawn."""
    seconds: float = 0.0

    @property
    def left(self) -> int:
        """Rows that were not asked yet."""
        return self.rows - self.before - self.answered - self.failed

    @property
    def rate(self) -> float:
        """Tokens drawn a second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """About; None where nothing was answered yet."""
        asked = self.answered + self.failed
        return self.seconds * self.left / asked if asked else None


Show = Callable[[BatchProgress], None]
LineOf = Callable[[RowResult], str]
"""A result as a line of JSON."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch came to."""

    model: str
    files: BatchFiles
    seed: int
    progress: BatchProgress
    duplicates: DuplicateCounts
    first_failure: RowRefused | None


class TooManyFailures(LltermError):
    """As many rows failed as were not to."""


async def batch(
    request: Request,
    rows: BatchInput,
    options: BatchOptions,
    answering: Answering,
    line_of: LineOf,
    listener: Listener = SILENCE,
    show: Show = lambda _: None,
) -> BatchResult:
    """Answer every row that has no result yet, and write each as it ends. `show` is told after
    each how far it is.

    Raises LltermError; what is done stays then, and also where it is cancelled.
    """
    plan = await planned(rows, options.limit, listener)
    digest = await asyncio.to_thread(rows.digest)
    async with opened_answers(request, options.slots, answering, listener) as model:
        header = {
            "model": model.facts,
            "settings": {**options.defaults, "logprobs": options.logprobs},
            "input": {"sha256": digest},
        }
        with opened_output(
            options.files, header, options.seed, accept_changes=options.accept_changes
        ) as output:
            run = _Run(model, rows, options, line_of, output, show)
            await run.answer_all(plan)
            counts = await asyncio.to_thread(
                drop_duplicates, options.files, plan, options.dropped, _from_thread(listener.say)
            )
    return BatchResult(
        str(model.facts["model"]), options.files, output.seed, run.progress, counts, run.first
    )


async def planned(rows: BatchInput, limit: int | None, listener: Listener) -> BatchPlan:
    """The rows' order, while `listener` is told how many were read. Raises UsageError."""
    say = _from_thread(listener.say)

    def hear(count: int) -> None:
        say(f"Reading {rows.name}: {count_of(count, 'row')}")

    return await asyncio.to_thread(plan_rows, rows, limit, hear)


def _from_thread(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same for another thread than the one that listens."""
    loop = asyncio.get_running_loop()

    def told(text: str) -> None:
        loop.call_soon_threadsafe(say, text)

    return told


def body_of(row: BatchRow, options: BatchOptions, seed: int) -> tuple[Body, int]:
    """What is asked of a row, and the seed that it is drawn with: its own counts more."""
    body = {name: value for name, value in row.body.items() if name not in _STREAMS}
    if options.logprobs is not None and "logprobs" not in body:
        completions = row.url == COMPLETIONS
        body["logprobs"] = options.logprobs if completions else True
        if not completions:
            body["top_logprobs"] = options.logprobs
    given = body.get("seed")
    own = given if isinstance(given, int) and given >= 0 else row.seed(seed)
    # The model is the one that was opened, whatever a file for another server says.
    body.pop("model", None)
    return {**options.defaults, **body, "seed": own}, own


class _Run:
    """The rows of one run."""

    def __init__(
        self,
        model: OpenedAnswers,
        rows: BatchInput,
        options: BatchOptions,
        line_of: LineOf,
        output: BatchOutput,
        show: Show,
    ) -> None:
        self._answers: RowAnswers = model.answers
        self._rows = rows
        self._options = options
        self._line_of = line_of
        self._output = output
        self._show = show
        self._begun = time.monotonic()
        self.progress = BatchProgress()
        self.first: RowRefused | None = None

    async def answer_all(self, plan: BatchPlan) -> None:
        """Ask and write every row that has no result, as many at once as the model takes."""
        done = self._output.done
        self.progress.rows = len(plan)
        self.progress.before = sum(plan.id_of(row) in done for row in range(len(plan)))
        self._show(self.progress)
        places = plan.places(but=done.__contains__)
        await run_together(self._work(places) for _ in range(max(self._answers.width, 1)))

    async def _work(self, places: Iterator[RowPlace]) -> None:
        """Take the next place, again and again; others do too."""
        for place in places:
            row = self._rows.row(place)
            body, seed = body_of(row, self._options, self._output.seed)
            try:
                answer = await self._answers.answer(row, body)
            except RowRefused as error:
                self._failed(RowResult(row, seed, refused=error))
            else:
                self._answered(RowResult(row, seed, answer))

    def _answered(self, result: RowResult) -> None:
        assert result.answer is not None
        self._output.write(self._line_of(result))
        prompt, drawn = tokens_of_answer(result.answer.body)
        self.progress.prompt_tokens += prompt
        self.progress.tokens += drawn
        self.progress.answered += 1
        self._tell()

    def _failed(self, result: RowResult) -> None:
        self._output.fail(self._line_of(result))
        self.first = self.first or result.refused
        self.progress.failed += 1
        self._tell()
        most = self._options.most_failures
        if most is not None and self.progress.failed > most:
            raise TooManyFailures(
                f"{count_of(self.progress.failed, 'row')} failed",
                str(self.first),
                f"{self._options.files.errors} has them. The same command goes on with what is"
                " left, and asks them again.",
            )

    def _tell(self) -> None:
        self.progress.seconds = time.monotonic() - self._begun
        self._show(self.progress)
