"""Compares models with a reference over a text, place by place."""

from __future__ import annotations

import time
from contextlib import ExitStack, aclosing, closing
from dataclasses import dataclass

from llterm.core.chat_messages import Chat
from llterm.core.comparison.conditions import Condition
from llterm.core.comparison.reference_comparison import ReferenceComparison
from llterm.core.query import Cost
from llterm.engine import compare as engine
from llterm.engine.base_file import BaseFile, BaseWriter
from llterm.engine.compare import BaseFileReference, ModelReference, ReferenceSource
from llterm.jobs.comparison_plan import CompareOptions, ComparisonPlan
from llterm.jobs.mix import mix_sampling
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener, all_opened, names_of


@dataclass(frozen=True, slots=True)
class CompareResult:
    """Models compared with a reference over a text."""

    comparison: ReferenceComparison
    source: str
    """Where the text is from."""
    plan: ComparisonPlan
    conditions: tuple[Condition, ...]
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""


async def compare(
    request: Request, options: CompareOptions, listener: Listener = SILENCE
) -> CompareResult:
    """Compare all places; each model opens a chat by its own template.

    The reference's own text is drawn by the request's sampler settings. Raises LltermError.
    Cancelling stops it.
    """
    mix_sampling(request.sampling, request.config)
    names_of(request)
    with ExitStack() as files:
        base = files.enter_context(closing(BaseFile(options.base))) if options.base else None
        async with all_opened(request, listener) as backends:
            start = time.monotonic()
            plan = await ComparisonPlan.of(request, options, backends, base, listener)
            writer = plan.writer(options.write_base)
            if writer is not None:
                files.enter_context(writer)
            comparison = await _compared(plan, base, writer, listener)
            return CompareResult(
                comparison=comparison,
                source=options.source if options.base is None else options.base.name,
                plan=plan,
                conditions=options.conditions,
                cost=sum((backend.spent for backend in backends), Cost()),
                seconds=time.monotonic() - start,
                chat=request.chat,
            )


async def _compared(
    plan: ComparisonPlan, base: BaseFile | None, writer: BaseWriter | None, listener: Listener
) -> ReferenceComparison:
    reference: ReferenceSource
    if base is not None:
        reference = BaseFileReference(base)
    else:
        assert plan.reference is not None
        reference = ModelReference(plan.reference, writer, plan.reference_name)
    comparison = engine.begin_comparison(reference, plan.views, plan.names)
    places = engine.compare(comparison, reference, plan.candidates, plan.views)
    async with aclosing(places) as going:  # type: ignore[type-var]
        async for done in going:
            listener.say(_progress(comparison, done))
    return comparison


def _progress(comparison: ReferenceComparison, done: int) -> str:
    text = f"Comparing: {done / max(len(comparison.places), 1):.0%}"
    for candidate in comparison.candidates[:2] if done else ():
        now = candidate.statistics.now()
        kld, same, ratio = now["kld"], now["same-top"], now["ppl-ratio"]
        figure = f"{kld.value:.5f} ± {kld.error:.5f} nats" if kld.known else f"{ratio.value:.4f}×"
        share = f", {same.value:.1%} same" if same.known else ""
        text += f" · {candidate.name} {figure}{share}"
    return text
