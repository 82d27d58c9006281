"""Feeds a weave from a source until it is done, its budget is spent, or it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from llterm.core.query import Cost, Failed, Query, Source
from llterm.core.weave import Weave
from llterm.errors import LltermError

ROOM = 64
"""Questions a round: about the batch at which a CPU evaluates the most tokens a second."""
LANES = 2
"""Rounds under way at once: the source answers one while the search takes in the other."""


async def drive(weave: Weave, source: Source) -> AsyncIterator[Cost]:
    """Ask what the weave wants, round after round; yields the cost of each round.

    Cancelling leaves the weave consistent: what was not answered is open again. A branch that the
    source cannot answer (past the context, say) stays open while the others go on; the first such
    error is raised at the end.
    """
    room = min(ROOM, source.capabilities.batch)
    failures: list[LltermError] = []
    lanes: set[asyncio.Task[Cost]] = set()
    try:
        while True:
            while len(lanes) < LANES and (queries := weave.wants(room)):
                lanes.add(asyncio.create_task(_round(weave, source, queries, failures)))
            if not lanes:
                break
            done, lanes = await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
            for lane in done:
                yield lane.result()
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
    if failures:
        raise failures[0]


async def _round(
    weave: Weave, source: Source, queries: Sequence[Query], failures: list[LltermError]
) -> Cost:
    """Ask these questions and take in the answers."""
    cost = Cost()
    try:
        async with aclosing(source.ask(queries)) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    weave.refuse(answer.path.tail)
                    failures.append(answer.error)
                else:
                    weave.learn(answer)
                    cost += answer.cost
    finally:
        weave.release(queries)
    return cost
