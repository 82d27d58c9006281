"""Chat formats: a chat as a model wants it written, by a Jinja template or a table of texts.

A template comes from strangers, with the model, from its server, or in a file: it is run apart.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llterm.backends.template_process import renderer
from llterm.config import Config, ModelConfig
from llterm.config.schema import FormatConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.chat_messages import OWN, ROLES, Chat, ChatParts
from llterm.core.conversation import (
    PLAIN_STOPS,
    THOUGHTLESS,
    ChatTraits,
    Conversation,
    Render,
    conversation_parts,
    plain_text,
    said_in,
)
from llterm.core.json_text import json_text
from llterm.errors import LltermError, ModelError, reason
from llterm.regular_file import read_file, text_of

Messages = list[dict[str, str]]
PLAIN = "plain"
MOST_BYTES = 1 << 20
"""Of a template's file."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way to write chats."""

    name: str
    render: Render
    ends: tuple[str, ...] = ()
    """Names of tokens that end a reply, besides the model's own."""
    template: str = ""
    """One from outside, in Jinja: rendering it takes as long as the template likes, up to a limit.
    """
    known: bool = True
    """False: for want of any that the model is known to want."""

    @property
    def traits(self) -> ChatTraits:
        stops = PLAIN_STOPS if self.name == PLAIN else ()
        return ChatTraits(self.name, self.template, self.known, stops)

    def open(self, chat: Chat) -> ChatParts:
        """The chat up to where the reply begins. Raises ModelError where the template fails."""
        return self.write(Conversation(tuple(chat.messages()), variables=THOUGHTLESS))

    def write(self, conversation: Conversation) -> ChatParts:
        """Any conversation. Raises ModelError where the template fails."""
        try:
            return conversation_parts(conversation, self.render)
        except ModelError:
            # Some templates know no system message: it goes before what the person says.
            merged = conversation.without_system()
            if merged is None:
                raise
        return conversation_parts(merged, self.render)


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A template of the person's choosing, in Jinja."""

    name: str
    text: str


Chosen = str | ChatFormat | TemplateFile
"""A built-in format by name, or one of the person's own."""


def own_format(template: str, begin: str, end: str, name: str = OWN) -> ChatFormat:
    """By a model's own template, or one with another `name`; `begin` and `end` name its tokens
    around a text, or are empty.

    It comes from outside: rendering waits for another process (`template_process.py`).
    """

    def render(conversation: Conversation) -> str:
        seen = {
            **conversation.variables,
            "messages": conversation.messages,
            "bos_token": begin,
            "eos_token": end,
            "add_generation_prompt": conversation.ending == "opened",
            "tools": conversation.tools or None,
        }
        try:
            return renderer.render(template, seen)
        except ModelError:
            if "tools" not in template and "functions" not in template:
                raise
            # Some go through the tools without a look whether there are any, or want them as text.
            functions = json_text(conversation.tools, indent=2) if conversation.tools else ""
            again = {**seen, "tools": conversation.tools, "functions": functions}
            with suppress(ModelError):
                return renderer.render(template, again)
            raise

    return ChatFormat(name, render, template=template)


def plain_format(*, known: bool = True) -> ChatFormat:
    """A dialogue in plain text; not `known` where nobody chose it."""
    return ChatFormat(PLAIN, plain_text, known=known)


def chosen_format(settings: ModelConfig | ServerSettings, config: Config) -> Chosen | None:
    """The format that a model's settings choose; None: its own.

    Raises ModelError for a file that cannot be read.
    """
    if settings.chat_template_file is not None:
        return _of_file(settings.chat_template_file)
    name = settings.chat_template
    own = config.formats.get(name) if name is not None else None
    return name if own is None or name is None else table_format(name, own)


def table_format(name: str, table: FormatConfig) -> ChatFormat:
    """By the texts of a `[formats.NAME]`."""

    def render(conversation: Conversation) -> str:
        parts = [table.begin]
        for message in conversation.messages:
            role = message["role"]
            start, end = table.around(role if role in ROLES else "user")
            if role == "system" and not (start or end):
                # It goes before what the person says then, as with templates that refuse it.
                raise ModelError(f"The chat format {name} has no system messages")
            parts += [start, said_in(message), end]
        return "".join(parts) + (table.assistant_start if conversation.ending == "opened" else "")

    return ChatFormat(name, render, ends=table.end)


def _of_file(path: Path) -> TemplateFile:
    title = "The chat template cannot be read"
    try:
        data = text_of(read_file(path, MOST_BYTES), str(path))
    except OSError as error:
        raise ModelError(
            title, f"{path}: {reason(error)}.", "Correct chat_template_file."
        ) from error
    except LltermError as error:
        raise ModelError(title, f"{error.title}.", "Correct chat_template_file.") from error
    return TemplateFile(path.name, data.decode("utf-8", "replace"))
