"""What an answer tells along one line: a distribution at each of its positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llterm.backends.remote.client import Client
from llterm.backends.remote.steps import CompletionStep
from llterm.core.query import Cost, Fact
from llterm.core.tokens import Path

UNLISTED = 1e-3
"""Share of an answer that is not listed: with less nobody was left out, the rest is rounding."""


class LineFacts:
    """The facts along one line, as long as its positions come without a gap."""

    def __init__(
        self, path: Path, client: Client, top: int, short: Callable[[int], None],
        untold: Callable[[float], None],
    ) -> None:  # fmt: skip
        """`top` candidates were asked for; `short` hears how many came instead, `untold` the share
        of those that had to be left out."""
        self._path = path
        self._client = client
        self._top = top
        self._short = short
        self._untold = untold
        self._next: int | None = 0

    def take(self, step: CompletionStep, extra: Cost) -> Fact | None:
        """The fact that a step tells, or None where it cannot be placed."""
        client = self._client
        if self._next is None or step.number not in (None, self._next):
            self._next = None
            return None
        distribution = client.distribution(step.listed)
        self._untold(client.untold(step.listed))
        if distribution is None:
            self._next = None
            return None
        if distribution.exact and distribution.rest > UNLISTED and len(step.listed) < self._top:
            # All that this server tells: asked again it would tell the same.
            distribution = replace(distribution, exact=False)
            self._short(len(step.listed))
        path, first = self._path, self._next == 0
        chosen = client.id_of(step.chosen)
        self._next = None if chosen is None else self._next + 1
        if chosen is not None:
            self._path = Path(path.anchor, (*path.tail, chosen))
        story = max(step.evaluated - len(path.tail), 0) if first else 0
        return Fact(path, distribution, Cost(step.evaluated, story) + extra)
