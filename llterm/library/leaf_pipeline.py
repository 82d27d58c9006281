"""Pipelines over the leaves of a branch: stages that run one after the other when results are
asked for, each over all leaves at once.

The leaves are found when a stage begins and stay those until it ends; the next one finds them anew.
A leaf at which a stage fails is left out of the later ones, and is told at the end.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from llterm.errors import LltermError
from llterm.library.call_settings import DrawSettings, Texts, growth_rules
from llterm.library.loom_core import LoomCore
from llterm.library.loop_thread import DocumentThread, LoopThread
from llterm.library.tree_node import TreeNode
from llterm.number_format import count_of
from llterm.session.growth import GrowthRules

N = TypeVar("N", bound=TreeNode)
R = TypeVar("R")

Work = Generator[Callable[[], Awaitable[Any]], Any, R]
"""Yields what is to be awaited, and is sent what comes of it: run by either face."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline."""

    work: Callable[[PipelineRun[Any]], Work[None]]
    gives_results: bool = False
    """Else the leaves that are left are what comes of it."""


@dataclass(frozen=True, slots=True)
class LeafFailure(Generic[N]):
    """A leaf that a stage could not be done at."""

    node: N
    error: Exception


class LeavesFailed(LltermError, Generic[R]):
    """Some leaves failed. The others' results are here, and in the loom."""

    def __init__(self, results: list[R], failures: Sequence[LeafFailure[Any]]) -> None:
        super().__init__(
            f"{count_of(len(failures), 'leaf', 'leaves')} failed",
            str(failures[0].error),
            "What the others gave is in `results`, and in the loom.",
        )
        self.results = results
        self.failures = tuple(failures)


@dataclass(frozen=True, slots=True)
class LeafResults(Generic[R]):
    """What a pipeline came to."""

    results: list[R]
    failures: tuple[LeafFailure[Any], ...]

    def checked(self) -> list[R]:
        """The results. Raises LeavesFailed where a leaf failed."""
        if self.failures:
            raise LeavesFailed(self.results, self.failures)
        return self.results


class PipelineRun(Generic[N]):
    """A pipeline under way."""

    def __init__(
        self, core: LoomCore, thread: DocumentThread, node: Callable[[int], N], start: int
    ):
        self.core = core
        self.start = start
        self.failures: list[LeafFailure[N]] = []
        self.results: list[Any] = []
        """Of the last stage that has any."""
        self.thread = thread
        self._node = node
        self._under = [start]
        """Whose leaves the next stage is about."""

    def call(self, work: Callable[[], R]) -> R:
        """Do this where the loom is."""
        return self.thread.call(work)

    def leaves(self) -> list[N]:
        """Found now."""
        ids = self.call(lambda: self.core.leaves(self._under))
        return [self._node(id) for id in ids]

    def keep(self, leaves: Sequence[N]) -> None:
        """What follows is about these, and what hangs below them by then."""
        self._under = [leaf.id for leaf in leaves]

    def failed(self, leaf: N, error: Exception) -> None:
        """It takes no further part."""
        self.failures.append(LeafFailure(leaf, error))

    def work(self, stages: Sequence[Stage]) -> Work[LeafResults[Any]]:
        """All stages; without a result of its own the leaves are what comes of it."""
        for stage in stages:
            self.results = []
            yield from stage.work(self)
        if not stages or not stages[-1].gives_results:
            self.results = list(self.leaves())
        return LeafResults(self.results, tuple(self.failures))


def _called(
    run: PipelineRun[N], work: Callable[[N], Any], results: list[tuple[N, Any]]
) -> Work[None]:
    """Call `work` with each leaf, one after the other, and await what can be: leaves and results,
    in order. A leaf with which it fails takes no further part."""
    for leaf in run.leaves():
        try:
            result = work(leaf)
            if isawaitable(result):
                result = yield _given(result)
        except Exception as error:  # noqa: BLE001  (the others go on; it is told at the end)
            run.failed(leaf, error)
            continue
        results.append((leaf, result))


def each(work: Callable[[Any], Any]) -> Stage:
    """A stage that calls `work` with each leaf, one after the other."""

    def visit(run: PipelineRun[Any]) -> Work[None]:
        results = list[tuple[Any, Any]]()
        yield from _called(run, work, results)
        run.results += [result for _, result in results]
        run.keep([leaf for leaf, _ in results])

    return Stage(visit, gives_results=True)


def where(test: Callable[[Any], Any]) -> Stage:
    """Only the leaves of which this holds."""

    def choose(run: PipelineRun[Any]) -> Work[None]:
        results = list[tuple[Any, Any]]()
        yield from _called(run, test, results)
        run.keep([leaf for leaf, holds in results if holds])

    return Stage(choose)


def best(count: int, key: Callable[[Any], Any] | None) -> Stage:
    """Only the leaves with the largest keys, largest first."""

    def rank(run: PipelineRun[Any]) -> Work[None]:
        ranked = list[tuple[Any, Any]]()
        yield from _called(run, partial(path_mean, run) if key is None else key, ranked)
        ranked.sort(key=lambda pair: -math.inf if pair[1] != pair[1] else pair[1], reverse=True)
        run.keep([leaf for leaf, _ in ranked[:count]])

    return Stage(rank)


def path_mean(run: PipelineRun[Any], leaf: TreeNode) -> float:
    """Mean logprob of the tokens that the model made from the pipeline's start down to a leaf;
    nan where it made none."""

    def logprobs() -> list[float]:
        path = run.core.path(leaf.id)
        below = path[path.index(run.start) + 1 :] if run.start in path else path
        return [logprob for id in below for logprob in run.core.logprobs(id) or ()]

    known = run.call(logprobs)
    return math.fsum(known) / len(known) if known else math.nan


def write(text: str | Callable[[Any], str]) -> Stage:
    """A text below each leaf, one step of the history."""

    def add(run: PipelineRun[Any]) -> Work[None]:
        texts: list[tuple[int, str]] = []
        kept = []
        for leaf in run.leaves():
            try:
                texts.append((leaf.id, text if isinstance(text, str) else text(leaf)))
            except Exception as error:  # noqa: BLE001
                run.failed(leaf, error)
                continue
            kept.append(leaf)
        if texts:
            run.call(lambda: run.core.document.branches.write(texts))
        run.keep(kept)
        return
        yield  # A generator, as every stage is.

    return Stage(add)


def grow(rules: GrowthRules, settings: DrawSettings) -> Stage:
    """Children for each leaf, drawn in one batch. One where the model ended its text stays."""

    def branch(run: PipelineRun[Any]) -> Work[None]:
        leaves = run.leaves()
        open_leaves = [leaf for leaf in leaves if not leaf.terminal]
        ids = [leaf.id for leaf in open_leaves]
        grown = yield lambda: run.core.grow(ids, rules, settings)
        kept = [leaf for leaf in leaves if leaf.id not in grown.errors or grown.nodes.get(leaf.id)]
        for leaf in leaves:
            if leaf.id in grown.errors:
                run.failed(leaf, grown.errors[leaf.id])
        run.keep(kept)

    return Stage(branch)


def clip(count: int) -> Stage:
    """Each leaf's first tokens; of a count below 0, all but so many at its end."""

    def cut(run: PipelineRun[Any]) -> Work[None]:
        kept = []
        for leaf in run.leaves():
            try:
                yield partial(run.core.clip, leaf.id, count)
            except LltermError as error:
                run.failed(leaf, error)
                continue
            kept.append(leaf)
        run.keep(kept)

    return Stage(cut)


def _given(awaitable: Awaitable[Any]) -> Callable[[], Awaitable[Any]]:
    return lambda: awaitable


class LeafPipeline(Generic[N]):
    """Stages over the leaves of a branch. Nothing is done until results are asked for; asked again
    it is done again."""

    def __init__(self, begin: Callable[[], PipelineRun[N]], stages: tuple[Stage, ...] = ()) -> None:
        self._begin = begin
        self._stages = stages

    def where(self, test: Callable[[N], Any]) -> Self:
        """Only the leaves of which this holds."""
        return self._then(where(test))

    def write(self, text: str | Callable[[N], str]) -> Self:
        """A text below each leaf, also where the model ended its own: all in one step."""
        return self._then(write(text))

    def grow(
        self,
        n: int = 4,
        *,
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> Self:
        """`n` children below each leaf, all drawn in one batch and hung there in one step. A leaf
        where the model ended its text stays as it is. As `Node.grow`."""
        rules = growth_rules(n, tokens, stop, sentence=sentence, heal=heal)
        return self._then(grow(rules, settings))

    def clip(self, count: int) -> Self:
        """Keep each leaf's first tokens; below 0: all but so many at its end."""
        return self._then(clip(count))

    def trim(self, count: int) -> Self:
        """Take so many tokens off each leaf's end."""
        return self._then(clip(-count))

    def best(self, count: int, key: Callable[[N], Any] | None = None) -> Self:
        """Only the leaves with the largest keys, largest first. Without a key: those whose tokens,
        from the pipeline's start on, the model found most probable in the mean."""
        return self._then(best(count, key))

    def apply(self, work: Callable[[N], Any]) -> Self:
        """Call this with each leaf, one after the other. Its results are the pipeline's where no
        stage follows."""
        return self._then(each(work))

    def _then(self, stage: Stage) -> Self:
        return type(self)(self._begin, (*self._stages, stage))


class Leaves(LeafPipeline[N]):
    """A pipeline of the sync face: iterating runs it."""

    def run(self) -> LeafResults[Any]:
        """Run it. Failures are told beside the results."""
        run = self._begin()
        assert isinstance(run.thread, LoopThread)
        work = run.work(self._stages)
        go_on = partial(work.send, None)
        while True:
            try:
                wanted = go_on()
            except StopIteration as end:
                return cast("LeafResults[Any]", end.value)
            try:
                go_on = partial(work.send, run.thread.run(_awaited(wanted())))
            except Exception as error:  # noqa: BLE001  (the stage knows whose it is)
                go_on = partial(work.throw, error)

    def __iter__(self) -> Iterator[Any]:
        """The leaves, or the last stage's results. Raises LeavesFailed after them where a leaf
        failed."""
        ran = self.run()
        yield from ran.results
        ran.checked()


class AsyncLeaves(LeafPipeline[N]):
    """A pipeline of the async face: iterating runs it."""

    async def run(self) -> LeafResults[Any]:
        """As `Leaves.run`."""
        work = self._begin().work(self._stages)
        go_on = partial(work.send, None)
        while True:
            try:
                wanted = go_on()
            except StopIteration as end:
                return cast("LeafResults[Any]", end.value)
            try:
                go_on = partial(work.send, await wanted())
            except Exception as error:  # noqa: BLE001
                go_on = partial(work.throw, error)

    async def __aiter__(self) -> AsyncIterator[Any]:
        ran = await self.run()
        for result in ran.results:
            yield result
        ran.checked()


async def _awaited(awaitable: Awaitable[R]) -> R:
    return await awaitable
