"""What panes tell the screen, and screens the app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from llterm.backends.registry import KnownModel
from llterm.core.tokens import Tail
from llterm.errors import LltermError


class ChangeMessage(Message):
    """Comes in bursts, carries nothing, and replaces one of its kind that waits."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


class SessionChanged(ChangeMessage):
    """View, status or figures of the session changed: pull what you show from it."""


class StoryChanged(ChangeMessage):
    """The story's text or the cursor changed, by whatever way."""


class BranchHighlighted(ChangeMessage):
    """Another row of the suggestion tree is selected, or none."""


@dataclass
class BranchChosen(Message):
    """A row was picked with the mouse, to be accepted."""

    tail: Tail


@dataclass
class TokenChosen(Message):
    """Another token of the story is chosen in the heat panel."""

    number: int


@dataclass
class Trouble(Message):
    """Something a person should hear about did not work."""

    error: LltermError


# --- to the app


@dataclass
class LoadModel(Message):
    """A model is to be the one in use; None: the one that was wanted last."""

    known: KnownModel | None = None


class UnloadModel(Message):
    """The memory that the model takes is to be freed."""


@dataclass
class OpenLoom(Message):
    """Another loom is to be gone on with, or begun with a text."""

    path: Path | None
    text: bytes | None = None
    notices: tuple[str, ...] = ()
    """What is to be told of it, once it is open."""


class OpenLoomScreen(Message):
    """The whole tree is to be looked at."""


class OpenMixScreen(Message):
    """The models are to be seen side by side."""


@dataclass
class PlayEnded(Message):
    """What the model wrote by itself ended: why."""

    reason: LltermError | str
