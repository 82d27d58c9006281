"""What a command asks of its models, whichever command it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.config import Config
from llterm.constraints.spec import Constraint
from llterm.core.chat_messages import Chat
from llterm.core.mixing.mix_recipe import Recipe


@dataclass(frozen=True, slots=True)
class Request:
    """A text, the models that it goes to, and how they are to take it.

    What one command alone has is a record of options beside it.
    """

    config: Config
    models: tuple[str, ...]
    """Names, paths of .gguf files, or addresses of servers."""
    text: bytes = b""
    """The story so far; of a chat, what there is of the reply."""
    loom: Path | None = None
    """A loom whose story is meant, and which is not changed. `text` is empty then."""
    prefix: str | None = None
    """Hidden text before the story; None: what a loom says itself."""
    chat: Chat | None = None
    """What the text is a reply to; None: what a loom says itself."""
    recipe: Recipe | None = None
    """How several models are mixed; None: there is one, or each is for itself."""
    overrides: Mapping[str, int] = field(default_factory=dict)
    """Settings of the models that were typed, by name."""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """Weave settings that were typed, by `WeaveSettings` field: they count more than a loom's."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Sampler settings that were typed, by name: they count more than a loom's own."""
    constraint: Constraint | None = None
    """What every suggestion or continuation must fit."""

    @property
    def model(self) -> str:
        """The one model, or the first of several."""
        return self.models[0]
