"""Feeds a weave from a source until it is done, its budget is spent, or it is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from llterm.core.query import Cost, Failed, Source
from llterm.core.weave import Weave
from llterm.errors import LltermError

ROOM = 64
"""Questions a round: about the batch at which a CPU evaluates the most tokens a second."""


async def drive(weave: Weave, source: Source) -> AsyncIterator[Cost]:
    """Ask what the weave wants, round after round; yields the cost of each round.

    Cancelling leaves the weave consistent: what was not answered is open again. A branch that the
    source cannot answer (past the context, say) stays open while the others go on; the first such
    error is raised at the end.
    """
    failure: LltermError | None = None
    while queries := weave.wants(min(ROOM, source.capabilities.batch)):
        cost = Cost()
        try:
            async with aclosing(source.ask(queries)) as answers:
                async for answer in answers:
                    if isinstance(answer, Failed):
                        weave.refuse(answer.path.tail)
                        failure = failure or answer.error
                    else:
                        weave.learn(answer)
                        cost += answer.cost
        finally:
            weave.release(queries)
        yield cost
    if failure is not None:
        raise failure
