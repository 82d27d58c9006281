"""What the command line hands to the app, and the app to its main screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.config import Config
from llterm.config.schema import Ui
from llterm.constraints.spec import Constraint
from llterm.core.chat_messages import Chat
from llterm.core.query import Backend
from llterm.core.server_news import HearNews
from llterm.core.weave_settings import WeaveSettings
from llterm.keymap import Keymap
from llterm.session.label_reader import LabelForm

Opening = Callable[[Callable[[float], None], HearNews], Awaitable[Backend]]
"""Opens the model; calls back with the share that is loaded, from any thread, and with the news of
the server it is on, before that is asked. Raises LltermError.
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of the app."""

    path: Path | None
    """The loom to open or make; None makes a nameless one in the data folder."""
    text: bytes | None
    """Imported text, or `--prompt`: the story of a loom that is made now."""
    prefix: str | None
    """The hidden prefix, when typed as a flag."""
    rules: WeaveSettings | None
    """Weave settings, when flags were typed; else the loom's own count."""
    config: Config
    opening: Opening
    model_name: str
    auto_weave: bool
    """Weave as soon as the model is ready, if there is a story."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Sampler settings that were typed, by name; they count more than the loom's own."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Typed model flags by name; they hold for models that are chosen later too."""
    constraint: Constraint | None = None
    """What suggestions must fit, when typed as a flag."""
    chat: Chat | None = None
    """What the story is a reply to, when typed as flags."""
    offer: bool = False
    """Nothing was named: offer the looms there are, if there are any."""
    mix: bool = False
    """Begin on the mix screen."""


@dataclass(slots=True)
class ScreenOptions:
    """What the main screen needs to know that is neither story nor weave."""

    keymap: Keymap
    launch: Launch
    ui: Ui
    """What the configuration says of the app, and then the settings panel."""
    labels: LabelForm = field(default_factory=LabelForm)
    """The labels that were asked for last."""
