"""Attribution for as long as somebody looks at it: keeps answers, and the process for gradients."""

from __future__ import annotations

from collections.abc import Callable

from llterm.backends.gradients import GradientProcess, check_installed
from llterm.core.attribution_methods import METHODS, Attribution, How, Question
from llterm.core.query import Source
from llterm.engine.attribution import Price, attribute, price


class Attributing:
    """One question, by any method."""

    def __init__(self, source: Source, question: Question) -> None:
        self._source = source
        self.question = question
        self._found: dict[How, Attribution] = {}
        weights = source.capabilities.weights
        self._gradients = GradientProcess(weights) if weights is not None else None

    def known(self, how: How) -> Attribution | None:
        """The answer, where it has been given already."""
        return self._found.get(how)

    def price(self, how: How) -> Price:
        """What an answer will take. Raises LltermError where there can be none."""
        if METHODS[how.method] == "gradient":
            check_installed()
        return price(self._source, self.question, how)

    async def ask(
        self, how: How, progress: Callable[[float], None] = lambda _: None
    ) -> Attribution:
        """The answer; `progress` is told the share that is done. Cancelling stops it.

        Raises LltermError.
        """
        if how not in self._found:
            self._found[how] = await attribute(
                self._source, self.question, how, self._gradients, progress
            )
        return self._found[how]

    async def close(self) -> None:
        """Let go of what was started for it."""
        if self._gradients is not None:
            await self._gradients.close()
