"""What keys, palette and mouse can do on the main screen: one table, an entry an action id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.dom import DOMNode


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Deed:
    """What an action does, and whether it does anything now."""

    run: Callable[[], object]
    applies: Callable[[], bool] = _always


HelpParts = list[tuple[str, DOMNode, bool]]
"""Title, node, and whether the keys are of the registry or those that the node inherits."""

Table = dict[str, Deed]
