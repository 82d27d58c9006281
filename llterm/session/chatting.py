"""A loom's chat as the model in use reads it."""

from __future__ import annotations

from contextlib import suppress

from llterm.backends.served import server_of
from llterm.core.chat_messages import ChatParts, read_chat
from llterm.core.query import Source
from llterm.engine.heads import open_chat
from llterm.errors import LltermError
from llterm.session.document import Document
from llterm.session.sources import told_more


def chat_parts(document: Document, source: Source) -> ChatParts:
    """The chat up to where the story, its reply, begins; empty where the loom has none.

    The hidden prefix joins the system message. Raises CapabilityMissing where the source has no
    template, ModelError where its template fails.
    """
    chat = read_chat(document.chat)
    if not chat:
        return ()
    return open_chat(source, chat.with_prefix(document.prefix))


async def open_first(document: Document, source: Source) -> None:
    """Have the chat opened by the model's own template, which may take a second at most, so that
    what was kept of a weave finds its place. A server is not waited for."""
    if server_of(source) is None:
        with suppress(LltermError):  # The next weave says it to the person.
            chat_parts(document, source)
            await told_more(source)


def root_text(document: Document) -> str:
    """Everything that stands before the story, as a key: the hidden prefix and the chat."""
    return f"{document.prefix}\0{document.chat}"
