"""The weaves of a session: the one on show, and lately used ones to come back to after an undo."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from llterm.constraints.spec import Constraint
from llterm.core.query import Cost
from llterm.core.weave import Weave
from llterm.session.prompt import Prompt

MOST_CANDIDATES = 2_500_000
"""Candidates kept for weaves that are not on show: some 25 MB."""

Place = tuple[bytes, str, int, Constraint | None]
"""What a weave depends on: the story's bytes before it, what stands before the story, which of the
session's models it was, what suggestions must fit."""


@dataclass(slots=True)
class Woven:
    """A weave with where it hangs and what it took."""

    weave: Weave
    place: Place
    prompt: Prompt
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0


class Weaves:
    """Lately used weaves by place; the oldest go when they are too large."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Place, Woven] = OrderedDict()

    def keep(self, woven: Woven) -> None:
        self._kept[woven.place] = woven
        self._kept.move_to_end(woven.place)
        while len(self._kept) > 1 and self._candidates() > MOST_CANDIDATES:
            self._kept.popitem(last=False)

    def find(self, place: Place) -> Woven | None:
        return self._kept.get(place)

    def _candidates(self) -> int:
        weaves = (woven.weave for woven in self._kept.values())
        return sum(len(one.ids) for weave in weaves for one in weave.facts.values())
