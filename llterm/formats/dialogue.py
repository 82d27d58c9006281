"""A chat as a file of messages, as other programs and data sets keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llterm.core.chat_messages import ROLES, Chat, ChatMessage, chat_of
from llterm.errors import UsageError, reason
from llterm.formats.json_place import JsonPlace, parse, wrong
from llterm.regular_file import read_file, text_of

_FORM = 'Write it as [{"role": "user", "content": "Tell me a tale."}].'


MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages: a chat, and perhaps how the reply begins."""

    chat: Chat
    reply: str = ""
    """The assistant's message at the end."""

    @classmethod
    def of(cls, said: Sequence[ChatMessage]) -> Dialogue:
        """Of these messages, in order."""
        if said and said[-1].role == "assistant":
            return cls(chat_of(said[:-1]), said[-1].content)
        return cls(chat_of(said))


def load_dialogue(path: Path) -> Dialogue:
    """`read_dialogue` of a file. Raises UsageError, also where it cannot be read."""
    try:
        data = text_of(read_file(path, MOST_BYTES), path.name)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", f"{reason(error)}.", "Name a JSON file of messages."
        ) from error
    return read_dialogue(data, path.name)


def read_dialogue(data: bytes, name: str) -> Dialogue:
    """A list of `role` and `content`, or an object whose `messages` are one.

    Raises UsageError, with the place, for anything else, and where nothing is said before the
    reply.
    """
    try:
        top = parse(data)
        said = [_said(message) for message in _messages(top).items()]
        for number, message in enumerate(said, 1):
            # How the reply begins may be left open.
            if not message.content and not (number == len(said) and message.role == "assistant"):
                raise wrong(f"The content of message {number:,} is empty.")
        dialogue = Dialogue.of(said)
        if not dialogue.chat:
            raise wrong("Nothing in it is said to the model.")
    except UsageError as error:
        raise UsageError(f"{name} is no chat", error.cause, _FORM) from error
    return dialogue


def _messages(top: JsonPlace) -> JsonPlace:
    return top.field("messages") if isinstance(top.value, dict) else top


def _said(place: JsonPlace) -> ChatMessage:
    for name, field in place.entries():
        if name not in ChatMessage._fields and field.value is not None:
            raise wrong(f"{field.path} is no part of a chat here: a message has role and content.")
    role = place.field("role")
    known_role = next((known for known in ROLES if known == role.value), None)
    if known_role is None:
        raise role.bad(f"one of {', '.join(ROLES)}")
    return ChatMessage(known_role, place.field("content").text())
