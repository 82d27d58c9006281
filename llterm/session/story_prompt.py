"""A story as the model in use reads it: its chat, its hidden prefix, its settings."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from llterm.backends.served_models import server_of
from llterm.core.chat_messages import ChatParts, read_chat
from llterm.core.prompt import Prompt, make_prompt
from llterm.core.query import Source
from llterm.engine.prompt_heads import open_chat
from llterm.engine.weave import told_more
from llterm.errors import LltermError
from llterm.session.document import Document


async def story_prompt(document: Document, source: Source) -> Prompt:
    """The whole story as a model reads it, with nothing left for it to finish."""
    runs = document.runs_before(len(document.text))
    rules = replace(document.rules, heal=False)
    context = source.capabilities.context
    chat = await asyncio.to_thread(chat_parts, document, source)
    return await asyncio.to_thread(
        make_prompt, runs, document.prefix, source.vocabulary, rules, context, chat
    )


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
