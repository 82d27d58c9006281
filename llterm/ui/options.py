"""What the main screen needs to know that is neither story nor weave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llterm.keymap import Keymap


@dataclass(slots=True)
class Options:
    """Set once at the start; `accept_sole` and `autopilot` by the settings panel too."""

    keymap: Keymap
    model_name: str
    named: bool
    """The loom has a name of the person's choosing."""
    keep_choice: Callable[[str, object], None]
    """Remembers a choice, by dotted setting name, for the next start."""
    accept_sole: bool = False
    autopilot: int = 5
    """Rounds at a time."""
