"""`llterm batch --dry-run`: what a batch would take, by a few of its rows; nothing is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from llterm.core.batch_row import BatchInput
from llterm.jobs.batch import BatchOptions, body_of, planned
from llterm.jobs.batch_answers import Answering, RowAnswer, RowRefused, tokens_of_answer
from llterm.jobs.batch_models import opened_answers
from llterm.jobs.batch_output import new_seed
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener

ROWS = 10
"""Rows from all over the input that are answered."""


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """What all rows would take, by those that were tried."""

    model: str
    rows: int
    tried: int
    failures: Sequence[RowRefused]
    prompt_tokens: float
    """Of a row, on the average; as `tokens`."""
    tokens: float
    seconds: float
    """Of those that were tried, all at once."""

    @property
    def seconds_of_all(self) -> float:
        """About, and more than it takes where rows begin alike, or more are drawn at once."""
        return self.seconds * self.rows / self.tried


async def try_batch(
    request: Request,
    rows: BatchInput,
    options: BatchOptions,
    answering: Answering,
    listener: Listener = SILENCE,
) -> BatchTrial:
    """Read every row, and answer a few. Raises LltermError."""
    plan = await planned(rows, options.limit, listener)
    places = plan.spread(ROWS)
    seed = new_seed() if options.seed is None else options.seed
    async with opened_answers(request, options.slots, answering, listener) as model:
        free = asyncio.Semaphore(max(model.answers.width, 1))

        async def tried(number: int) -> RowAnswer | RowRefused:
            row = rows.row(places[number])
            async with free:
                try:
                    return await model.answers.answer(row, body_of(row, options, seed)[0])
                except RowRefused as refused:
                    return refused

        start = time.monotonic()
        listener.say(f"Trying {len(places)} rows")
        outcomes = await asyncio.gather(*map(tried, range(len(places))))
        seconds = time.monotonic() - start
    counts = [tokens_of_answer(one.body) for one in outcomes if isinstance(one, RowAnswer)]
    answered = max(len(counts), 1)
    return BatchTrial(
        str(model.facts["model"]),
        len(plan),
        len(places),
        [one for one in outcomes if isinstance(one, RowRefused)],
        sum(prompt for prompt, _ in counts) / answered,
        sum(drawn for _, drawn in counts) / answered,
        seconds,
    )
