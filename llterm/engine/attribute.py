"""What led a model to a token: asks the source, method by method."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from llterm.backends.gradients_process import GradientProcess, check_installed
from llterm.backends.llamacpp import inspect_gguf
from llterm.core.attention_weights import last_row, rollout
from llterm.core.attribution import (
    Attribution,
    Omissions,
    Question,
    begin,
    cut,
    omission_cost,
    omissions,
)
from llterm.core.attribution_methods import METHODS, AttributionSettings
from llterm.core.query import (
    Accelerated,
    Cost,
    Fact,
    Failed,
    ProvidesAttention,
    Query,
    SideQueries,
    Source,
)
from llterm.core.tokens import Anchor, Path
from llterm.errors import CapabilityMissing, Interrupted, LltermError, UsageError
from llterm.number_format import of_logprob

log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""
ASTRAY = 0.05
"""Nats between two readings of one model from which its gradients are another model's."""


@dataclass(frozen=True, slots=True)
class AttributionPrice:
    """What an answer will take, known before it starts."""

    tokens: int
    """Tokens to evaluate, without those before them that the model may hold already."""
    before: int = 0
    """Those: at most so many."""
    told: str = ""
    """The same in words."""


def price(source: Source, question: Question, how: AttributionSettings) -> AttributionPrice:
    """What a method will take here. Raises LltermError where it cannot be used at all."""
    check(source, question, how)
    count = len(question.tokens)
    family = METHODS[how.method]
    if family == "omission":
        left_out = omissions(question, how.last)
        tokens = omission_cost(left_out, shares=source.capabilities.shares)
        before = len(left_out.anchor)
        words = f"{len(left_out.tails)} texts, {tokens:,} tokens to evaluate"
        held = f", and up to {before:,} before them" if before else ""
        return AttributionPrice(tokens, before, words + held)
    if family == "gradient":
        assert source.capabilities.weights is not None
        size = 4 * inspect_gguf(source.capabilities.weights).parameters / 1e6
        return AttributionPrice(
            min(count, how.limit), 0, f"the model is loaded again: {size:,.0f} MB"
        )
    rows = max(count - begin(question, how.limit), 2) if how.method == "rollout" else 2
    tokens = min(rows, count)
    return AttributionPrice(tokens, count - tokens, f"up to {count:,} tokens to evaluate")


def check(source: Source, question: Question, how: AttributionSettings) -> None:
    """Raises LltermError where a question has no answer by this method."""
    if len(question.tokens) <= question.head:
        raise UsageError(
            "Nothing of the text stands before this token", "", "Choose a later token."
        )
    family = METHODS[how.method]
    if family == "omission" and len(question.tokens) < 2:
        raise UsageError("Without this token nothing would be left", "", "Choose a later one.")
    capabilities = source.capabilities
    if family == "attention" and not (
        capabilities.attention and isinstance(source, ProvidesAttention)
    ):
        raise CapabilityMissing(
            f"{source.name} shows no attention",
            "It has no attention layers, or its weights are not read by llterm itself.",
            "Leaving tokens out works with it too.",
        )
    if family == "omission" and not capabilities.full_vocabulary:
        raise CapabilityMissing(
            f"{source.name} does not tell every token's probability",
            "What a token is worth cannot be said where the chosen one is not listed.",
            "A model in this process (a GGUF file) tells all.",
        )
    if family == "gradient" and capabilities.weights is None:
        raise CapabilityMissing(
            f"{source.name} has no weights here to differentiate",
            "Gradients need the model's own GGUF file.",
            "Leaving tokens out works with it too.",
        )


async def attribute(
    source: Source,
    question: Question,
    how: AttributionSettings,
    gradients: GradientProcess | None = None,
    progress: Progress = lambda _: None,
) -> Attribution:
    """Each token's value. Cancelling stops it. Raises LltermError.

    What fails on a GPU is tried again on the CPU, with the model loaded once more, and the notes
    say so.
    """
    check(source, question, how)
    if METHODS[how.method] == "gradient":
        assert gradients is not None
        return await _differentiate(source, question, how, gradients, progress)
    try:
        return await _asked(source, question, how, progress)
    except (UsageError, Interrupted):
        raise
    except LltermError as error:
        if not (isinstance(source, Accelerated) and source.on_gpu):
            raise
        log.warning("on the GPU: %s", error)
        async with source.on_cpu() as other:
            attribution = await _asked(other, question, how, progress)
        note = f"done on the CPU, because it failed on the GPU: {error.title}"
        return replace(attribution, notes=(*attribution.notes, note))


class Attributions:
    """What led to one token, by any method: keeps answers, and the process for gradients."""

    def __init__(self, source: Source, question: Question) -> None:
        self._source = source
        self.question = question
        self._known: dict[AttributionSettings, Attribution] = {}
        weights = source.capabilities.weights
        self._gradients = GradientProcess(weights) if weights is not None else None

    def known(self, how: AttributionSettings) -> Attribution | None:
        """The answer, where it has been given already."""
        return self._known.get(how)

    def price(self, how: AttributionSettings) -> AttributionPrice:
        """What an answer will take. Raises LltermError where there can be none."""
        if METHODS[how.method] == "gradient":
            check_installed()
        return price(self._source, self.question, how)

    async def ask(
        self, how: AttributionSettings, progress: Progress = lambda _: None
    ) -> Attribution:
        """The answer; `progress` is told the share that is done. Cancelling stops it.

        Raises LltermError.
        """
        if how not in self._known:
            self._known[how] = await attribute(
                self._source, self.question, how, self._gradients, progress
            )
        return self._known[how]

    async def close(self) -> None:
        """Let go of what was started for it."""
        if self._gradients is not None:
            await self._gradients.close()


async def _asked(
    source: Source, question: Question, how: AttributionSettings, progress: Progress
) -> Attribution:
    if METHODS[how.method] == "attention":
        return await _attention(source, question, how)
    return await _leave_one_out(source, question, how, progress)


async def _attention(source: Source, question: Question, how: AttributionSettings) -> Attribution:
    assert isinstance(source, ProvidesAttention)
    count = len(question.tokens)
    first = begin(question, how.limit)
    columns = count - first
    whole = how.method == "rollout"
    rows = await source.attention(question.tokens, columns if whole else 1, columns)
    if whole:
        values = rollout(rows)
    else:
        layer = {"attention-last": rows.layers[-1], "attention-layer": how.layer}
        try:
            values = last_row(rows, layer.get(how.method))
        except KeyError:
            numbers = ", ".join(map(str, rows.layers))
            raise UsageError(
                f"Layer {how.layer} has no attention", f"These have: {numbers}.", "Choose another."
            ) from None
    return Attribution(
        how,
        first,
        values,
        elsewhere=max(1.0 - float(values.sum()), 0.0),
        layers=rows.layers,
        cost=Cost(rows.evaluated),
        notes=_limited(first - question.head, columns),
    )


def _limited(earlier: int, shown: int) -> tuple[str, ...]:
    if earlier <= 0:
        return ()
    return (f"the last {shown:,} tokens one by one, the {earlier:,} before them together",)


async def _differentiate(
    source: Source,
    question: Question,
    how: AttributionSettings,
    gradients: GradientProcess,
    progress: Progress,
) -> Attribution:
    given = cut(question, how.limit, len(source.vocabulary.prefix))
    attribution = await gradients.ask(given, how, progress)
    notes = [] if given == question else [f"the model was given the last {how.limit:,} tokens only"]
    own = await _logprob(source, given)
    assert attribution.logprob is not None
    if abs(own - attribution.logprob) > ASTRAY:
        notes.append(
            f"transformers reads this model otherwise: {of_logprob(attribution.logprob)} for this "
            f"token, where llterm has {of_logprob(own)}"
        )
    first = len(question.tokens) - len(attribution.values)
    return replace(attribution, first=first, notes=tuple(notes))


async def _logprob(source: Source, question: Question) -> float:
    """The target's, as the source itself says."""
    path = Path(Anchor(question.tokens[:-1]), question.tokens[-1:])
    async with aclosing(_ask(source, [Query(path, keep=1, full=True)])) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            if answer.distribution.full is not None:
                return float(answer.distribution.full[question.target])
    raise CapabilityMissing(f"{source.name} does not tell every token's probability")


def _ask(source: Source, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
    """Out of the way of what the source holds, where it can."""
    return source.ask_beside(queries) if isinstance(source, SideQueries) else source.ask(queries)


async def _leave_one_out(
    source: Source, question: Question, how: AttributionSettings, progress: Progress
) -> Attribution:
    left_out = omissions(question, how.last)
    wanted = omission_cost(left_out, shares=source.capabilities.shares) + len(left_out.anchor)
    logprobs: dict[tuple[int, ...], float] = {}
    cost = Cost()
    queries = _queries(left_out)
    async with aclosing(_ask(source, queries)) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            assert answer.distribution.full is not None
            logprobs[answer.path.tail] = float(answer.distribution.full[question.target])
            cost += answer.cost
            progress(min(cost.tokens / max(wanted, 1), 1.0))
    if len(logprobs) < len(queries):
        raise LltermError("It was stopped", "", "Start it again.")
    logprob = logprobs[left_out.whole]
    without = np.array([logprobs[tail] for tail in left_out.tails], np.float64)
    earlier = left_out.first - question.head
    notes = (f"the last {len(without):,} tokens; {earlier:,} before them stay",) if earlier else ()
    return Attribution(
        how,
        left_out.first,
        logprob - without,
        logprob=logprob,
        without=without,
        cost=cost,
        notes=notes,
    )


def _queries(left_out: Omissions) -> Sequence[Query]:
    """One a text; equal ones (of two equal tokens in a row) once. The whole one comes first."""
    anchor = Anchor(left_out.anchor)
    tails = dict.fromkeys([left_out.whole, *left_out.tails])
    return [Query(Path(anchor, tail), keep=1, full=True) for tail in tails]
