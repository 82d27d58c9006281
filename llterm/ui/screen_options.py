"""What the main screen needs to know that is neither story nor weave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llterm.config import Config
from llterm.keymap import Keymap


@dataclass(slots=True)
class ScreenOptions:
    """Set once at the start; what has a default by the settings panel too."""

    keymap: Keymap
    model_name: str
    named: bool
    """The loom has a name of the person's choosing."""
    keep_choice: Callable[[str, object], None]
    """Remembers a choice, by dotted setting name, for the next start."""
    config: Config
    overrides: Mapping[str, int] = field(default_factory=dict)
    """Typed model flags by name, for models that are opened later."""
    accept_sole: bool = False
    autopilot: int = 5
    """Rounds at a time."""
    sample_lines: int = 5
    sample_tokens: int = 40
    sample_sentence: bool = False
    """How many continuations are sampled at a time, how long, and whether sentences end them."""
