"""`llterm keys`: the keys in force, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from llterm.core.json_text import json_text
from llterm.keymap import LETTERED, resolve

VERSION = 1


def keys_table(own: Mapping[str, str]) -> str:
    """One action a line: id, keys, keys in its own pane or in the suggestion tree, help."""
    head = ("ACTION", "KEYS", "IN THE PANE", "WHAT IT DOES")
    rows = [head]
    for action, keys, tree in resolve(own).rows():
        shown = "" if action.where in LETTERED else " ".join(keys)
        inside = " ".join(keys if action.where in LETTERED else tree)
        mark = " *" if action.id in own else ""
        rows.append((action.id + mark, shown, inside, action.help))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + ("\n* set in [keys]" if own else "")


def keys_json(own: Mapping[str, str]) -> str:
    """The same as JSON (docs/json.md)."""
    actions = [
        {
            "id": action.id,
            "where": action.where,
            "keys": list(keys),
            "tree_keys": list(tree),
            "help": action.help,
            "own": action.id in own,
        }
        for action, keys, tree in resolve(own).rows()
    ]
    return json_text({"version": VERSION, "actions": actions}, indent=2)
