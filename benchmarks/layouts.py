"""One tree of suggestions, its paths laid into the cache in different ways.

`python -m benchmarks.layouts MODEL TREE OUT` evaluates a tree as llterm did before it gave lone
rows a company and k-quants one kernel: the choice of kernels is the process's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bare_context import BareContext
from llterm.core.tokens import Tail, common

Logprobs = NDArray[np.float32]
Rows = dict[Tail, Logprobs]
"""What follows each path."""
BEAMS, DEPTH, CHILDREN = 12, 6, 3
ROOM = 1024
"""Cells for the tree."""
KERNEL = "GGML_CPU_TILED_MM_FORCE"


class Context(BareContext):
    """A model in one context, one thread."""

    def __init__(self, path: Path, cells: int, *, unified: bool, double: bool) -> None:
        """`cells`: of all sequences together, or of each of them. `double`: no row is alone."""
        super().__init__(path, cells=cells, batch=128, sequences=BEAMS + 1, unified=unified)
        self._unified, self._double = unified, double
        self._sequence = 0
        """Of the batch's first row."""

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        if not self._unified:
            # Between streams only all of a sequence can be copied.
            self.drop(target, 0)
            start = stop = -1
        super().copy(source, target, start, stop)

    def read(self, tokens: Tail, start: int, sequence: int = 0) -> None:
        """Evaluate a text; its logits are not wanted."""
        for first in range(0, len(tokens), self.batch.size):
            part = tokens[first : first + self.batch.size]
            self.batch.clear()
            self.batch.add(part, start + first, sequence, last=False)
            self._sequence = sequence
            self.decode()

    def rows(self, rows: Sequence[tuple[int, int, int]]) -> list[Logprobs]:
        """Logprobs after each (token, position, sequence), evaluated in one decode."""
        self.batch.clear()
        for token, position, sequence in rows:
            self.batch.add((token,), position, sequence, last=True)
        self._sequence = rows[0][2]
        self.decode()
        raw = self.llama.llama_get_logits(self.context)
        logits = np.ctypeslib.as_array(raw, (len(rows), self.size)).copy()
        logits -= logits.max(axis=1, keepdims=True)
        norms = np.log(np.exp(logits).sum(axis=1, keepdims=True, dtype=np.float64))
        return list(logits - norms.astype(np.float32))

    def decode(self) -> None:
        alone = self._double and self.batch.count == 1
        # The next one is empty as long as there is one row; streams must be consecutive.
        spare = self._sequence + 1
        if alone:
            self.batch.add_double(spare)
        super().decode()
        if alone:
            self.drop(spare, 0)


@dataclass(frozen=True)
class Tree:
    """A story and the paths after it, the shorter ones first; each path's beginning is one too."""

    story: Tail
    levels: tuple[tuple[Tail, ...], ...]
    """Paths by their length."""

    @property
    def leaves(self) -> tuple[Tail, ...]:
        return self.levels[-1]

    def save(self, path: Path) -> None:
        np.savez(path, np.array(self.story), *(np.array(level) for level in self.levels[1:]))

    @classmethod
    def load(cls, path: Path) -> Tree:
        with np.load(path) as arrays:
            story, *levels = [arrays[name].tolist() for name in arrays.files]
        return cls(tuple(story), (((),), *(tuple(map(tuple, level)) for level in levels)))


Choose = Callable[[int, Sequence[Tail], Sequence[Logprobs]], Sequence[Tail]]


def grown(context: Context, story: Tail, choose: Choose) -> tuple[Tree, Rows]:
    """Evaluate a tree level by level, all paths of one in one decode, each in a sequence.

    `choose` names the next level's paths, from a length, the paths of that length, and what
    follows them.
    """
    context.clear()
    end = len(story) - 1
    context.read(story[:end], 0)
    context.copy(0, 1, 0, end)
    slots: dict[Tail, int] = {(): 1}
    level: Sequence[Tail] = ((),)
    levels, facts = [tuple(level)], Rows()
    for depth in range(DEPTH):
        tokens = (story + path for path in level)
        rows = context.rows(
            [(text[-1], len(text) - 1, slots[text[len(story) :]]) for text in tokens]
        )
        facts.update(zip(level, rows, strict=True))
        level = choose(depth + 1, level, rows)
        slots = _placed(context, slots, level, end)
        # llama.cpp takes only consecutive streams together.
        level = sorted(level, key=slots.__getitem__)
        levels.append(tuple(level))
    return Tree(story, tuple(levels)), facts


def _placed(
    context: Context, slots: dict[Tail, int], level: Sequence[Tail], end: int
) -> dict[Tail, int]:
    """A sequence for each path: the first child goes on in its parent's, the others in copies."""
    placed: dict[Tail, int] = {}
    copies = []
    for path in level:
        if slots[path[:-1]] in placed.values():
            copies.append(path)
        else:
            placed[path] = slots[path[:-1]]
    free = [slot for slot in range(1, BEAMS + 1) if slot not in placed.values()]
    for slot in free:
        context.drop(slot, 0)
    for path, slot in zip(copies, free, strict=False):
        context.copy(slots[path[:-1]], slot, 0, end + len(path))
        placed[path] = slot
    return placed


def plant(context: Context, story: Tail) -> tuple[Tree, Rows]:
    """The tree of the most probable paths."""
    joint: dict[Tail, float] = {(): 0.0}

    def choose(_: int, level: Sequence[Tail], rows: Sequence[Logprobs]) -> list[Tail]:
        children = {
            (*path, int(id)): joint[path] + float(row[id])
            for path, row in zip(level, rows, strict=True)
            for id in np.argsort(-row, kind="stable")[: CHILDREN if path else BEAMS]
        }
        best = sorted(children, key=lambda path: (-children[path], path))[:BEAMS]
        joint.update((path, children[path]) for path in best)
        return best

    return grown(context, story, choose)


def evaluated(context: Context, tree: Tree) -> Rows:
    """What follows each path, level by level."""
    return grown(context, tree.story, lambda depth, _, __: tree.levels[depth])[1]


def canonical(context: Context, tree: Tree) -> Rows:
    """What follows each path by itself: token by token, in two equal rows, its cells in order (the
    second row's cell is free again before the next token)."""
    end = len(tree.story) - 1
    context.clear()
    context.read(tree.story[:end], 0)
    facts = Rows()
    # Paths that go on further have beginnings that need not be evaluated by themselves.
    for leaf in {path[:-1] for path in tree.leaves}:
        context.copy(0, 1, 0, end)
        for depth, token in enumerate(tree.story[end:] + leaf):
            facts[leaf[:depth]] = context.rows([(token, end + depth, 1)])[0]
        context.drop(1, end)
    return facts


def in_order(context: Context, tree: Tree) -> Rows:
    """The canonical pass: paths one after another, each in the cells after the story's. What it
    has in common with the one before stays."""
    end = len(tree.story) - 1
    root = tree.story[end:]
    facts, before = Rows(), Tail()
    for sequence in range(1, BEAMS + 1):
        context.drop(sequence, 0)
    context.copy(0, 1, 0, end)
    for leaf in sorted({root + path[:-1] for path in tree.leaves}):
        same = common(before, leaf)
        context.drop(1, end + same)
        rows = context.rows([(leaf[n], end + n, 1) for n in range(same, len(leaf))])
        for n, row in enumerate(rows, same):
            facts[leaf[1 : n + 1]] = row
        before = leaf
    return facts


def joint(tree: Tree, facts: Rows) -> dict[Tail, float]:
    """ln P of every path one token longer than the tree's last evaluated ones, over the likeliest
    tokens there."""
    found: dict[Tail, float] = {}
    for path in {leaf[:-1] for leaf in tree.leaves}:
        base = sum(float(facts[path[:n]][id]) for n, id in enumerate(path))
        row = facts[path]
        for id in np.argsort(-row, kind="stable")[:CHILDREN]:
            found[(*path, int(id))] = base + float(row[id])
    return found


def timed(work: Callable[[], Rows], rounds: int = 2) -> tuple[Rows, float]:
    """What it gives, and the least CPU seconds it took."""
    took, facts = [], Rows()
    for _ in range(rounds):
        start = time.process_time()
        facts = work()
        took.append(time.process_time() - start)
    return facts, min(took)


def as_before(model: Path, trees: Sequence[Tree]) -> list[tuple[dict[Tail, float], float]]:
    """Each tree's joint logprobs and CPU seconds where kernels go by the number of rows."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, tree in enumerate(trees):
            given, made = Path(folder) / f"{number}.npz", Path(folder) / f"{number}-out.npz"
            tree.save(given)
            command = [
                sys.executable,
                "-m",
                "benchmarks.layouts",
                str(model),
                str(given),
                str(made),
            ]
            subprocess.run(command, env={**os.environ, KERNEL: "0"}, check=True)
            with np.load(made) as arrays:
                paths, values = arrays["paths"].tolist(), arrays["values"].tolist()
                found.append(
                    (dict(zip(map(tuple, paths), values, strict=True)), arrays["took"].item())
                )
    return found


def trunk_and(tree: Tree) -> int:
    return len(tree.story) + ROOM


def main(model: str, given: str, made: str) -> None:
    tree = Tree.load(Path(given))
    context = Context(Path(model), trunk_and(tree), unified=True, double=False)
    facts, took = timed(lambda: evaluated(context, tree))
    values = joint(tree, facts)
    np.savez(made, paths=np.array(list(values)), values=np.array(list(values.values())), took=took)
    context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
