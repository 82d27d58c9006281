"""A chat at a story's root: what the person says to the model; the story is its reply.

A model's chat template turns it into text with special tokens in it (`conversation.py`). What
people wrote is known in that text, so that a name of a special token inside it stays ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args, runtime_checkable

from llterm.core.json_text import json_text, parsed
from llterm.core.tokens import Draft, LearnsTokens, Tail, Vocabulary, grows

OWN = "its own template"
"""What the format of a model with a template is called."""
UNSEEN = "the server's template, which is not told"
"""What the format is called where a server writes chats and shows them to nobody."""


Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)


class ChatMessage(NamedTuple):
    """One message of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """What stands before the reply, as it was said: no blank is taken away."""

    system: str = ""
    """How the model is to behave."""
    message: str = ""
    """What the person says last."""
    earlier: tuple[ChatMessage, ...] = ()
    """What was said between the two."""

    def __bool__(self) -> bool:
        return any(one.content.strip() for one in self.said())

    def said(self) -> tuple[ChatMessage, ...]:
        """All of it, in order."""
        first, last = ChatMessage("system", self.system), ChatMessage("user", self.message)
        return tuple(one for one in (first, *self.earlier, last) if one.content)

    def messages(self) -> list[dict[str, str]]:
        """As templates want them: role and content each."""
        return [one._asdict() for one in self.said()]

    def with_system(self, text: str) -> Chat:
        """With another system message."""
        return replace(self, system=text)

    def with_prefix(self, prefix: str) -> Chat:
        """With the hidden text before a story, which joins the system message."""
        return self.with_system("\n\n".join(filter(None, (self.system, prefix))))


def chat_of(said: Sequence[ChatMessage]) -> Chat:
    """A chat of these messages, in order. Those without content are left out."""
    left = [one for one in said if one.content]
    system = left.pop(0).content if left and left[0].role == "system" else ""
    message = left.pop().content if left and left[-1].role == "user" else ""
    return Chat(system, message, tuple(left))


class ChatPart(NamedTuple):
    """A stretch of a chat as the model reads it."""

    text: str
    written: bool
    """By people; otherwise by the template, where names of special tokens mean these tokens."""
    ids: Tail | None = None
    """Its tokens, where a server said them."""


ChatParts = tuple[ChatPart, ...]


class Chatting(Protocol):
    """A source that can open a chat."""

    @property
    def chat_format(self) -> str:
        """What the template is called, for people."""

    def open_chat(self, chat: Chat) -> ChatParts | None:
        """The chat up to where the reply begins; None where it is not there yet: it is asked for,
        and `ChatsTold` says when it is. Raises LltermError where it cannot be."""

    async def opened_chat(self, chat: Chat) -> ChatParts:
        """The same; waits until it is there."""


@runtime_checkable
class ChatsTold(Protocol):
    """A source whose chats are opened elsewhere, and which says when one is there."""

    def hear_chats(self, told: Callable[[], None]) -> None:
        """Have `told` called when a chat that was not there yet is."""


def chat_fields(chat: Chat) -> dict[str, Any]:
    """As JSON has it."""
    earlier = [one._asdict() for one in chat.earlier]
    return {"system": chat.system, "message": chat.message, "earlier": earlier}


def chat_text(chat: Chat) -> str:
    """As a loom keeps it; empty without one. One with a single turn is as it always was."""
    fields = chat_fields(chat)
    if not chat.earlier:
        del fields["earlier"]
    return json_text(fields, ascii=False) if chat else ""


def read_chat(text: str) -> Chat:
    """What `chat_text` wrote; none where it is broken."""
    try:
        fields = parsed(text) if text else {}
    except ValueError:
        return Chat()
    try:
        return chat_from(fields)
    except ValueError:
        return Chat()


def chat_from(fields: object) -> Chat:
    """What `chat_fields` gave. Raises ValueError for anything else."""
    if not isinstance(fields, Mapping):
        raise ValueError("a chat is no object")
    earlier = fields.get("earlier", [])
    if not isinstance(earlier, list):
        raise ValueError("a chat's messages are no list")
    return Chat(
        _text(fields.get("system", "")),
        _text(fields.get("message", "")),
        tuple(map(_said_from, earlier)),
    )


def _said_from(fields: object) -> ChatMessage:
    if not isinstance(fields, Mapping) or fields.get("role") not in ROLES:
        raise ValueError("a message of a chat is none")
    return ChatMessage(cast(Role, fields["role"]), _text(fields.get("content")))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("what is said in a chat is no text")
    return value


def chat_draft(parts: ChatParts, vocabulary: Vocabulary) -> Draft:
    """A chat as a model is to read it, begun as the model wants it begun.

    Text between special tokens is encoded as a whole, whoever wrote it.
    """
    drafted: list[bytes | Tail] = []
    text = b""
    for part in parts:
        if part.ids is not None:
            drafted += [text, part.ids]
            text = b""
            continue
        names, pattern = (
            _named(vocabulary) if grows(vocabulary) else _special(cast(Hashable, vocabulary))
        )
        for piece, id in _pieces(part, names, pattern):
            text += piece
            if id is not None:
                drafted += [text, (id,)]
                text = b""
    return Draft(tuple(part for part in (*drafted, text) if part), vocabulary.prefix)


@lru_cache(maxsize=4)
def _special(key: Hashable) -> tuple[Mapping[bytes, int], re.Pattern[bytes]]:
    return _named(cast(Vocabulary, key))


def _named(vocabulary: Vocabulary) -> tuple[Mapping[bytes, int], re.Pattern[bytes]]:
    """Special tokens by name, and what finds them: a look through all that is known."""
    bound = vocabulary.bound if isinstance(vocabulary, LearnsTokens) else vocabulary.size
    tokens = map(vocabulary.token, range(bound))
    names = {one.data: one.id for one in tokens if one.special and one.data}
    longest_first = sorted(names, key=len, reverse=True)
    return names, re.compile(b"|".join(map(re.escape, longest_first)) or rb"(?!)")


def _pieces(
    part: ChatPart, names: Mapping[bytes, int], pattern: re.Pattern[bytes]
) -> Iterator[tuple[bytes, int | None]]:
    """Text, each with the special token that follows it."""
    data = part.text.encode("utf-8", "replace")
    start = 0
    for match in () if part.written else pattern.finditer(data):
        yield data[start : match.start()], names[match.group()]
        start = match.end()
    yield data[start:], None
