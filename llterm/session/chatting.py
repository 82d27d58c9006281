"""A loom's chat as the model in use reads it."""

from __future__ import annotations

from typing import cast

from llterm.core.chat import Chat, Chatting, Parts, read_chat
from llterm.core.query import Source
from llterm.errors import CapabilityMissing
from llterm.session.document import Document


def chat_parts(document: Document, source: Source) -> Parts:
    """The chat up to where the story, its reply, begins; empty where the loom has none.

    The hidden prefix joins the system message. Raises CapabilityMissing where the source has no
    template, ModelError where its template fails.
    """
    chat = read_chat(document.chat)
    if not chat:
        return ()
    if not hasattr(source, "open_chat"):
        raise CapabilityMissing(
            f"{source.name} cannot open a chat",
            "It has no chat template that llterm could use.",
            "Choose another model, or take the chat away and write a story.",
        )
    system = "\n\n".join(filter(None, (chat.system, document.prefix)))
    return cast(Chatting, source).open_chat(Chat(system, chat.message))


def root_text(document: Document) -> str:
    """Everything that stands before the story, as a key: the hidden prefix and the chat."""
    return f"{document.prefix}\0{document.chat}"
