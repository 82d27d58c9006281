"""Slots as plain lists of tokens: what llama.cpp's streams would hold, and what it would refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llterm.core.tokens import Tail
from llterm.engine.slot_plan import (
    PlannedRequest,
    SlotCopy,
    SlotCosts,
    SlotPlan,
    SlotTrim,
    StepPlan,
)

COSTS = SlotCosts(copy=0.004, token=0.001, graph=0.002)
"""A copy is worth four tokens."""


@dataclass
class SlotModel:
    """Makes every step of a plan, and checks that it can be made."""

    plan: SlotPlan
    slots: int
    whole: bool = False
    now: float = 0.0
    evaluated: list[Tail] = field(default_factory=list)
    """The path that ends with each prompt's token that was evaluated in a chunk."""
    copies: int = 0
    drawn: dict[int, int] = field(default_factory=dict)
    """Tokens drawn by request."""
    steps: list[StepPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells: list[list[int]] = [[] for _ in range(self.slots)]
        self.ends: dict[int, int] = {}

    def ask(
        self, tokens: Tail, most: int, key: str = "", *, further: bool = False
    ) -> PlannedRequest:
        request = PlannedRequest(list(tokens), key, most, further=further)
        self.plan.join(request, self.now)
        self.ends[request.number] = most
        self.drawn[request.number] = 0
        return request

    def step(
        self, budget: int = 64, *, abort: bool = False, token: Callable[[], int] = lambda: 1
    ) -> StepPlan:
        """Plan a step and make it; `abort`: give it up in the middle of it."""
        step = self.plan.plan(self.now, budget)
        self.steps.append(step)
        for move in step.moves:
            self._make(move)
        if abort:
            for chunk in step.chunks:
                self.cells[chunk.slot] += chunk.tokens[:1]
            for trim in self.plan.undone(step):
                self._make(trim)
        else:
            self._evaluate(step)
            self.plan.done(step, self.now)
            for row in step.rows:
                self._draw(row.request, token())
        self.check()
        return step

    def run(self, budget: int = 64, most: int = 10_000) -> int:
        """Steps until nobody waits or runs. Returns how many that took."""
        for count in range(most):
            if not self.plan.waiting and not self.plan.running:
                return count
            self.step(budget)
            self.now += 0.01
        raise AssertionError(f"{self.plan.waiting} wait, {len(self.plan.running)} run")

    def check(self) -> None:
        """The plan knows what slots hold."""
        for number, cells in enumerate(self.cells):
            assert list(self.plan.holds(number)) == cells, number

    def _make(self, move: SlotCopy | SlotTrim) -> None:
        if isinstance(move, SlotTrim):
            assert not self.whole or move.keep in (0, len(self.cells[move.slot]))
            assert move.keep <= len(self.cells[move.slot])
            del self.cells[move.slot][move.keep :]
            return
        assert move.source != move.target
        assert move.keep <= len(self.cells[move.source])
        assert not self.whole or move.keep == len(self.cells[move.source])
        self.cells[move.target] = self.cells[move.source][: move.keep]
        self.copies += 1

    def _evaluate(self, step: StepPlan) -> None:
        slots = [part.slot for part in step.parts]
        assert len(set(slots)) == len(slots)
        assert [row.slot for row in step.rows] == sorted(row.slot for row in step.rows)
        for chunk in step.chunks:
            assert len(self.cells[chunk.slot]) == chunk.start
            assert chunk.tokens
            self.cells[chunk.slot] += chunk.tokens
            path = tuple(self.cells[chunk.slot])
            assert path == tuple(chunk.request.tokens[: len(path)])
            assert len(path) < len(chunk.request.tokens)
            self.evaluated += [path[: chunk.start + n + 1] for n in range(len(chunk.tokens))]
        for row in step.rows:
            assert len(self.cells[row.slot]) == row.start
            self.cells[row.slot].append(row.token)
            assert self.cells[row.slot] == row.request.tokens

    def _draw(self, request: PlannedRequest, token: int) -> None:
        self.drawn[request.number] += 1
        if self.drawn[request.number] < self.ends[request.number]:
            self.plan.took(request, token)
        else:
            self.plan.leave(request)
