"""Samples that are drawn with a draft: the same texts as without one, in fewer decodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from llterm.backends.llamacpp import LlamaBackend
from llterm.constraints.spec import Constraint
from llterm.core.query import Cost
from llterm.core.tokens import Token
from llterm.engine.draft_opener import DraftChoice
from llterm.engine.draw import Drawing, Sample
from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest
from llterm.engine.scheduler import Scheduler, open_scheduler
from llterm.errors import LltermError, UsageError

_PARALLEL = 16
"""Samples drawn at once."""


@dataclass(frozen=True, slots=True)
class DraftCount:
    """What was written ahead."""

    name: str
    proposed: int = 0
    accepted: int = 0
    """Those of the tokens that were then drawn."""


@dataclass(frozen=True, slots=True)
class DraftedToken:
    """One token of a sample. The sample itself has it already."""

    sample: Sample
    token: Token
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""


class DraftedSamples:
    """A drawing whose samples are drawn in slots of their own, with what writes ahead."""

    def __init__(self, drawing: Drawing, constraint: Constraint | None) -> None:
        """`constraint`: what the drawing's is made of."""
        self._drawing = drawing
        self._constraint = constraint
        self.count = DraftCount("")

    async def run(self, choice: DraftChoice) -> AsyncGenerator[DraftedToken]:
        """As `Drawing.run`. Raises UsageError where nothing can write ahead for its model."""
        drawing = self._drawing
        backend = drawing.source
        if not isinstance(backend, LlamaBackend):
            raise UsageError(
                f"{backend.name} takes no draft",
                "Models of a file are drawn from here; a server writes ahead as it is set up to.",
                "Leave --draft out.",
            )
        samples = [each for each in drawing.samples if each.finish is None]
        longest = max(len(drawing.start.tokens) + each.most for each in samples)
        scheduler = await open_scheduler(
            backend,
            parallel=min(len(samples), _PARALLEL),
            keepers=0,
            context=min(longest, backend.capabilities.context),
            queue=len(samples),
            draft=choice,
        )
        before = Cost(scheduler.tokens, 0, scheduler.decodes)
        try:
            async with aclosing(self._all(scheduler, samples)) as tokens:
                async for token in tokens:
                    yield token
        finally:
            self.count = DraftCount(choice.name, *scheduler.written_ahead)
            prompt = len(drawing.start.tokens)
            drawing.cost += Cost(scheduler.tokens, prompt, scheduler.decodes) - before
            await scheduler.close()

    async def _all(
        self, scheduler: Scheduler, samples: Sequence[Sample]
    ) -> AsyncGenerator[DraftedToken]:
        ready: asyncio.Queue[tuple[Sample, GeneratedToken | GenerationEnd | LltermError]] = (
            asyncio.Queue()
        )

        async def draw(sample: Sample) -> None:
            try:
                async with aclosing(scheduler.generate(self._request(sample))) as news:
                    async for item in news:
                        ready.put_nowait((sample, item))
            except LltermError as error:
                ready.put_nowait((sample, error))

        drawing, vocabulary = self._drawing, self._drawing.source.vocabulary
        tasks = {sample.number: asyncio.create_task(draw(sample)) for sample in samples}
        try:
            while any(sample.finish is None for sample in samples):
                sample, item = await ready.get()
                if sample.finish is not None:
                    continue  # It had gone on behind its end.
                if isinstance(item, GenerationEnd):
                    sample.finish = item.finish
                elif isinstance(item, LltermError):
                    sample.finish, sample.error = "failed", item
                else:
                    drawing.take(sample, item.id)
                    yield DraftedToken(sample, vocabulary.token(item.id), item.logprob, item.p)
                if sample.finish is not None:
                    tasks[sample.number].cancel()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _request(self, sample: Sample) -> GenerationRequest:
        drawing = self._drawing
        return GenerationRequest(
            drawing.start.tokens,
            drawing.chain.sampling,
            sample.number,
            sample.most,
            constraint=self._constraint,
            residue=drawing.start.residue,
        )
