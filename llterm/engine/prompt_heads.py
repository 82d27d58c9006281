"""What stands before a text for each model: its own prefix, or a chat by its own template."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from llterm.core.chat_messages import (
    ROLES,
    Chat,
    ChatMessage,
    ChatPart,
    ChatParts,
    Chatting,
    Role,
    chat_draft,
    chat_of,
)
from llterm.core.conversation import (
    THOUGHTLESS,
    ChatTraits,
    Conversation,
    WritesChats,
    said_in,
)
from llterm.core.prompt import hidden_draft
from llterm.core.query import Source
from llterm.core.reasoning_markers import after_thoughts
from llterm.core.tokens import Tail, draft_tokens
from llterm.errors import CapabilityMissing

HEADS = 64
"""Chats of a mix that are remembered."""


def open_chat(source: Source, chat: Chat) -> ChatParts | None:
    """The chat up to where the reply begins, as this source reads it; None where it is not there
    yet.

    Raises CapabilityMissing where it has no template, ModelError where its template fails.
    """
    return _chatting(source).open_chat(chat)


async def opened_chat(source: Source, chat: Chat) -> ChatParts:
    """The same; waits for a template or a server. Nothing of an empty chat. Raises as that does."""
    return await _chatting(source).opened_chat(chat) if chat else ()


async def answering_chat(source: Source, chat: Chat) -> ChatParts:
    """The same, up to where the answer itself begins: after thoughts, which are none."""
    if isinstance(source, WritesChats):
        said = Conversation(tuple(chat.messages()), variables=THOUGHTLESS)
        return after_thoughts(await source.written_chat(said))
    return after_thoughts(await opened_chat(source, chat))


def chat_traits(source: Source) -> ChatTraits:
    """What writes this source's chats; not known where it can open none."""
    if isinstance(source, WritesChats):
        return source.chat_traits
    name = getattr(source, "chat_format", "")
    return ChatTraits(name, known=bool(name))


async def written_chat(source: Source, conversation: Conversation) -> ChatParts:
    """A conversation as this source reads it. Raises CapabilityMissing where it can only open
    chats, and this is more; as `open_chat` otherwise."""
    if isinstance(source, WritesChats):
        return await source.written_chat(conversation)
    *before, last = conversation.messages
    prefill = conversation.ending == "continued"
    said = [
        ChatMessage(cast(Role, message["role"]), said_in(message))
        for message in (before if prefill else conversation.messages)
    ]
    if (
        any(message.role not in ROLES for message in said)
        or conversation.tools
        or conversation.variables
        or conversation.ending == "closed"
        or any(set(message) - {"role", "content"} for message in conversation.messages)
    ):
        raise CapabilityMissing(
            f"{source.name} cannot write this chat",
            "Its server writes chats itself: texts of system, user and assistant with a reply after"
            " them.",
            "Leave out what is more, or take a model of a file.",
        )
    parts = await _chatting(source).opened_chat(chat_of(said))
    return (*parts, ChatPart(said_in(last), True)) if prefill else parts


def _chatting(source: Source) -> Chatting:
    if not hasattr(source, "open_chat"):
        raise CapabilityMissing(
            f"{source.name} cannot open a chat",
            "It has no chat template that llterm could use.",
            "Choose another model, or take the chat away and write a story.",
        )
    return cast(Chatting, source)


async def head_of(source: Source, chat: Chat | None, prefix: str = "") -> Tail:
    """The tokens before a text, its hidden prefix among them, or before the reply in a chat, which
    has that in it. Raises as `open_chat` does."""
    if not chat:
        return await draft_tokens(hidden_draft(prefix, source.vocabulary), source.vocabulary)
    draft = chat_draft(await opened_chat(source, chat), source.vocabulary)
    return await draft_tokens(draft, source.vocabulary)


class PromptHeads:
    """What one model of a mix reads in place of what the mix's texts begin with."""

    def __init__(self) -> None:
        self._own: OrderedDict[Tail, Tail] = OrderedDict()

    def learn(self, head: Tail, own: Tail) -> None:
        """Texts that begin with `head` begin with `own` for this model."""
        self._own[head] = own
        self._own.move_to_end(head)
        while len(self._own) > HEADS:
            self._own.popitem(last=False)

    def split(self, tokens: Tail) -> tuple[Tail, Tail] | None:
        """A text's beginning as the model reads it, and the rest; None where it opens no chat."""
        known = [head for head in tuple(self._own) if tokens[: len(head)] == head]
        if not known:
            return None
        # A chat that goes on with another one begins like it.
        head = max(known, key=len)
        return self._own[head], tokens[len(head) :]
