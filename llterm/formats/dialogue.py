"""A chat as a file of messages, as other programs and data sets keep it."""

from __future__ import annotations

from dataclasses import dataclass

from llterm.core.chat import ROLES, Chat, Said, chat_of
from llterm.errors import UsageError
from llterm.formats.reading import Place, parse, wrong

_FORM = 'Write it as [{"role": "user", "content": "Tell me a tale."}].'


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What such a file says."""

    chat: Chat
    reply: str | None
    """How the reply begins: the assistant's message at the end; None without one."""


def read_dialogue(data: bytes, name: str) -> Dialogue:
    """A list of `role` and `content`, or an object whose `messages` are one.

    Raises UsageError, with the place, for anything else, and where nothing is said before the
    reply.
    """
    try:
        top = parse(data)
        said = [_said(one) for one in _messages(top).items()]
        last = said.pop() if said and said[-1].role == "assistant" else None
        empty = next((n for n, one in enumerate(said) if not one.content), None)
        if empty is not None:
            raise wrong(f"The content of message {empty + 1:,} is empty.")
        chat = chat_of(said)
        if not chat:
            raise wrong("Nothing in it is said to the model.")
    except UsageError as error:
        raise UsageError(f"{name} is no chat", error.cause, _FORM) from error
    return Dialogue(chat, last.content if last is not None else None)


def _messages(top: Place) -> Place:
    return top.field("messages") if isinstance(top.value, dict) else top


def _said(place: Place) -> Said:
    for name, one in place.entries():
        if name not in Said._fields and one.value is not None:
            raise wrong(f"{one.path} is no part of a chat here: a message has role and content.")
    role = place.field("role")
    found = next((known for known in ROLES if known == role.value), None)
    if found is None:
        raise role.bad(f"one of {', '.join(ROLES)}")
    return Said(found, place.field("content").text())
