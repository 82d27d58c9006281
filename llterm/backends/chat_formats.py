"""Chat formats: a chat as a model wants it written, by a Jinja template or a table of texts.

A template comes from strangers, with the model, from its server, or in a file: it is run apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llterm.backends.template_process import renderer
from llterm.config import Config, ModelConfig
from llterm.config.schema import FormatConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.chat_messages import OWN, Chat, ChatParts, plain_chat, rendered
from llterm.errors import LltermError, ModelError, reason
from llterm.regular_file import read_file, text_of

Messages = list[dict[str, str]]
THOUGHTLESS = {"enable_thinking": False}
"""For templates that know thinking: the reply is what is woven, not the thoughts before it."""
PLAIN = "plain"
MOST_BYTES = 1 << 20
"""Of a template's file."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way to write chats."""

    name: str
    render: Callable[[Messages], str] | None
    """Messages to text; None is the plain one."""
    ends: tuple[str, ...] = ()
    """Names of tokens that end a reply, besides the model's own."""
    foreign: bool = False
    """By a template from outside: rendering it takes as long as the template likes, up to a limit.
    """

    def open(self, chat: Chat) -> ChatParts:
        """The chat up to where the reply begins. Raises ModelError where the template fails."""
        if self.render is None:
            return plain_chat(chat)
        try:
            return rendered(chat, self.render)
        except ModelError:
            if not chat.system or all(one.role != "user" for one in chat.said()):
                raise
        # Some templates know no system message: it goes before what the person says.
        return rendered(chat.without_system(), self.render)


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

    def render(messages: Messages) -> str:
        return renderer.render(
            template,
            {
                "messages": messages,
                "bos_token": begin,
                "eos_token": end,
                "add_generation_prompt": True,
                **THOUGHTLESS,
                "tools": None,
            },
        )

    return ChatFormat(name, render, foreign=True)


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

    def render(messages: Messages) -> str:
        parts = [table.begin]
        for message in messages:
            start, end = table.around(message["role"])
            if message["role"] == "system" and not (start or end):
                # It goes before what the person says then, as with templates that refuse it.
                raise ModelError(f"The chat format {name} has no system messages")
            parts += [start, message["content"], end]
        return "".join([*parts, table.assistant_start])

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
