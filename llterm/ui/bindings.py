"""Keys on panes, from the action registry. The only file that touches Textual's binding maps.

Every binding runs `screen.run(id)`. A pane's own binding stands before one it inherits for the same
key, which stays reachable when the action does not apply (`right` at a ghost, `right` elsewhere).
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode

from llterm.keymap import ACTIONS, Action, Keymap, Pane


def pane_bindings(keymap: Keymap, pane: Pane) -> list[Binding]:
    """The bindings that a pane adds to those of everywhere, or those of everywhere."""
    return [
        Binding(
            key,
            f"screen.run('{action.id}')",
            action.help,
            show=False,
            id=action.id,
            priority=pane == "everywhere",
        )
        for action in ACTIONS
        for key in keymap.keys(action, pane)
    ]


def bind(node: DOMNode, bindings: Iterable[Binding]) -> None:
    """Put these before what the node inherits."""
    added = BindingsMap(bindings).key_to_bindings
    inherited = node._bindings.key_to_bindings
    node._bindings.key_to_bindings = {
        **inherited,
        **{key: [*new, *inherited.get(key, [])] for key, new in added.items()},
    }


def first_key(keymap: Keymap, action: Action, pane: Pane) -> str:
    """The key to show for an action while `pane` has the focus; empty where it has none."""
    keys = keymap.keys(action, pane) or keymap.keys(action, "everywhere")
    return keys[0] if keys else ""
