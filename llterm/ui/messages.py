"""What panes tell the screen. Messages that come in bursts carry nothing and replace each other."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from llterm.core.tokens import Tail
from llterm.errors import LltermError


class SessionChanged(Message):
    """View, status or figures of the session changed: pull what you show from it."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SessionChanged)


class StoryChanged(Message):
    """The story's text or the cursor changed, by whatever way."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoryChanged)


class BranchHighlighted(Message):
    """Another row of the suggestion tree is selected, or none."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, BranchHighlighted)


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
