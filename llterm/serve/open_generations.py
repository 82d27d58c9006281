"""What is drawn in a model's process, and what is told of it: a frame a step, for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from llterm.engine.active_generation import ActiveGeneration, News
from llterm.engine.generation import GeneratedToken, GenerationEnd
from llterm.engine.scheduler import Scheduler
from llterm.errors import LltermError
from llterm.serve.model_frames import (
    Finished,
    FromModel,
    Generate,
    GenerationEndPart,
    Refused,
    TokenPart,
    error_words,
)
from llterm.serve.model_outbox import ModelOutbox


class OpenGenerations:
    """Those that were asked for and have not ended, by the numbers of the questions. Implements
    `GenerationListener`."""

    def __init__(self, scheduler: Scheduler, outbox: ModelOutbox) -> None:
        self._scheduler = scheduler
        self._outbox = outbox
        self._open: dict[int, ActiveGeneration] = {}

    def begin(self, question: Generate) -> None:
        """Have it drawn; where it cannot be, that is told."""
        number = question.number
        try:
            self._open[number] = self._scheduler.prepare(question.request, self, number)
        except LltermError as error:
            self._outbox.put(Refused(number, *error_words(error)))
        else:
            self._scheduler.begin(self._open[number])

    def cancel(self, number: int) -> None:
        """Nobody wants the rest of it."""
        generation = self._open.pop(number, None)
        if generation is not None:
            self._scheduler.cancel(generation)

    def take(self, news: Sequence[tuple[ActiveGeneration, Sequence[News]]]) -> None:
        parts: list[FromModel] = []
        for generation, items in news:
            number = generation.number
            for item in items:
                if isinstance(item, GeneratedToken):
                    parts.append(TokenPart(number, item))
                    continue
                self._open.pop(number, None)
                if isinstance(item, GenerationEnd):
                    parts += (GenerationEndPart(number, item), Finished(number))
                else:
                    parts.append(Refused(number, *error_words(item)))
        self._outbox.write(parts)
