"""Numbers for anchors, which are compared by identity: by them another process knows which is
meant."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

from llterm.core.tokens import Anchor


class AnchorNumbers:
    """A number for each anchor. Those asked for last are kept; one that comes again after that has
    a new one."""

    def __init__(self, most: int) -> None:
        """`most`: how many are kept."""
        self._most = most
        self._numbers: OrderedDict[Anchor, int] = OrderedDict()
        self._count = count()

    def of(self, anchor: Anchor) -> int:
        """Its number, which no other anchor has had."""
        if anchor not in self._numbers:
            self._numbers[anchor] = next(self._count)
        self._numbers.move_to_end(anchor)
        if len(self._numbers) > self._most:
            self._numbers.popitem(last=False)
        return self._numbers[anchor]
