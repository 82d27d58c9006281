"""How near a model's figures come to those of each path evaluated alone, and at what cost.

The canonical value of a path: decoded in a new context, each token in a batch of two equal rows,
its cells in order. First a tree whose paths are laid into the cache in different ways; then
`suggest` against a best-first search that has only canonical values.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.layouts import (
    BEAMS,
    Context,
    Rows,
    Tree,
    as_before,
    canonical,
    evaluated,
    in_order,
    joint,
    plant,
    timed,
    trunk_and,
)
from benchmarks.rows import Row
from benchmarks.weaving import begin, read_again, run
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.tokens import Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.session.stories import STORIES

PROMPTS = [
    *(story.text for story in STORIES),
    "Once upon a time there was a little fox who lived at the edge of a dark forest. One evening",
]
LONG = " ".join(story.text for story in STORIES) * 3
"""Some 350 tokens."""
SETTINGS = (
    WeaveSettings(depth=5, cutoff=0.08, split_limit=3, beams=8, auto_stop=False, heal=False),
    WeaveSettings(depth=8, cutoff=0.1, split_limit=3, beams=12, auto_stop=False, heal=False),
)
Joint = dict[Tail, float]


def measure(models: list[Path]) -> list[Row]:
    rows: list[Row] = []
    for model in models:
        rows += asyncio.run(_measure(model))
    return rows


async def _measure(model: Path) -> list[Row]:
    backend = await open_llama(model, LlamaSettings(threads=1))
    try:
        texts = [*PROMPTS[:3], LONG]
        stories = [_tokens(backend, text) for text in texts]
        return [*await _suggested(model, backend), *_layouts(model, stories)]
    finally:
        await backend.close()


def _tokens(backend: LlamaBackend, text: str) -> Tail:
    return backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())


# --- one tree, laid out in different ways


def _layouts(model: Path, stories: Sequence[Tail]) -> list[Row]:
    cells = max(map(len, stories)) + trunk_and(Tree((), ()))
    with closing(Context(model, cells, unified=True, double=True)) as context:
        trees = [plant(context, story)[0] for story in stories]
        truth = [joint(tree, canonical(context, tree)) for tree in trees]
        doubled = [_valued(tree, lambda tree: evaluated(context, tree)) for tree in trees]
        passes = [
            _valued(
                tree,
                lambda tree: in_order(context, tree),
                before=lambda tree: evaluated(context, tree),
            )
            for tree in trees
        ]
    with closing(Context(model, cells - 768, unified=False, double=True)) as context:
        streams = [_valued(tree, lambda tree: evaluated(context, tree)) for tree in trees]
    usual = sum(took for _, took in doubled)
    extra = [(values, took + own) for (values, took), (_, own) in zip(passes, doubled, strict=True)]
    return [
        row
        for name, found in (
            ("alone", as_before(model, trees)),
            ("doubled, one kernel", doubled),
            ("streams", streams),
            ("and a canonical pass", extra),
        )
        for row in _layout_rows(f"{model.name}: {name}", found, truth, usual)
    ]


def _valued(
    tree: Tree, work: Callable[[Tree], Rows], *, before: Callable[[Tree], Rows] | None = None
) -> tuple[Joint, float]:
    if before is not None:
        before(tree)
    facts, took = timed(lambda: work(tree))
    return joint(tree, facts), took


def _layout_rows(
    name: str, found: Sequence[tuple[Joint, float]], truth: Sequence[Joint], usual: float
) -> list[Row]:
    same = sum(_best(values) == _best(true) for (values, _), true in zip(found, truth, strict=True))
    apart = [
        abs(values[path] - true[path])
        for (values, _), true in zip(found, truth, strict=True)
        for path in values.keys() & true.keys()
    ]
    took = sum(took for _, took in found)
    note = (
        f"worst {max(apart):.2g}; the same {BEAMS} in {same} of {len(truth)}; "
        f"CPU {took:.2f} s, {took / usual:.2f} ×"
    )
    return [Row(f"{name}: ln P off by", float(np.mean(apart)), "nats", note=note)]


def _best(values: Joint) -> set[Tail]:
    return set(sorted(values, key=lambda path: (-values[path], path))[:BEAMS])


# --- suggest against brute force


async def _suggested(model: Path, backend: LlamaBackend) -> list[Row]:
    searched, read = _Compared(), _Compared()
    with closing(Context(model, 2048, unified=True, double=True)) as context:
        for text in PROMPTS:
            for rules in SETTINGS:
                search = begin(backend, text, rules)
                begun = time.process_time()
                cost = await run(search, backend)
                took = time.process_time() - begun
                woven, again = await read_again(search, backend)
                whole = time.process_time() - begun
                plain = _brute(context, backend, _tokens(backend, text), rules)
                searched.compare(search, plain, cost.tokens, took)
                read.compare(woven, plain, cost.tokens + again.tokens, whole)
    name = f"{model.name}: suggest against brute force, ln P off by"
    return [searched.row(f"{name}, as searched", searched), read.row(name, searched)]


@dataclass
class _Compared:
    """Suggestions beside those of brute force, and what they took."""

    same: int = 0
    ordered: int = 0
    apart: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    def compare(self, weave: Weave, plain: Joint, tokens: int, seconds: float) -> None:
        mine = weave.view().suggestions
        self.same += {one.tail for one in mine} == set(plain)
        self.ordered += [one.tail for one in mine] == list(plain)
        self.apart += [abs(one.logprob - plain[one.tail]) for one in mine if one.tail in plain]
        self.tokens += tokens
        self.seconds += seconds

    def row(self, name: str, usual: _Compared) -> Row:
        count = len(PROMPTS) * len(SETTINGS)
        note = (
            f"worst {max(self.apart):.2g}; the same set in {self.same} of {count}, the same order "
            f"in {self.ordered}; {self.tokens} tokens, CPU {self.seconds:.2f} s, "
            f"{self.seconds / usual.seconds:.2f} ×"
        )
        return Row(name, float(np.mean(self.apart)), "nats", note=note)


def _brute(context: Context, backend: LlamaBackend, story: Tail, rules: WeaveSettings) -> Joint:
    """The best N by best-first search, each prefix evaluated by itself; most probable first."""
    context.clear()
    end = len(story) - 1
    context.read(story[:end], 0)
    context.copy(0, 1, 0, end)
    waiting: list[tuple[float, Tail, bool]] = [(0.0, (), False)]
    best: Joint = {}
    while waiting and len(best) < rules.beams:
        cost, tail, ended = heapq.heappop(waiting)
        if ended:
            best[tail] = -cost
            continue
        context.drop(1, end)
        path = story[end:] + tail
        row = context.rows([(token, end + n, 1) for n, token in enumerate(path)])[-1]
        for rank, id in enumerate(np.argsort(-row, kind="stable")[: rules.split_limit].tolist()):
            if rank and row[id] < rules.least(len(tail)):
                break
            child = (*tail, id)
            over = backend.vocabulary.token(id).end or len(child) >= rules.depth
            heapq.heappush(waiting, (cost - float(row[id]), child, over))
    return best
