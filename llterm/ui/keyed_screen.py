"""What keys, palette and mouse can do on the main screen: one table, an entry an action id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Handler:
    """What an action does, and whether it does anything now."""

    run: Callable[[], object]
    applies: Callable[[], bool] = _always


Table = dict[str, Handler]
