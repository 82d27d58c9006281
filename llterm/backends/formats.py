"""A person's own chat formats: a table of texts, or a template in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llterm.backends.templates import ChatFormat, Messages
from llterm.config import Config, ModelConfig
from llterm.config.chat_format import FormatConfig
from llterm.config.server_settings import ServerSettings
from llterm.errors import LltermError, ModelError, reason
from llterm.regular import read_file
from llterm.textfile import text_of

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A template of the person's choosing, in Jinja."""

    name: str
    text: str


Chosen = str | ChatFormat | TemplateFile
"""A built-in format by name, or one of the person's own."""


def chosen_format(settings: ModelConfig | ServerSettings, config: Config) -> Chosen | None:
    """What a model's settings choose; None: its own. Raises ModelError for a file that cannot
    be read."""
    if settings.chat_template_file is not None:
        return _of_file(settings.chat_template_file)
    name = settings.chat_template
    own = config.formats.get(name) if name is not None else None
    return name if own is None or name is None else table_format(name, own)


def table_format(name: str, table: FormatConfig) -> ChatFormat:
    """By the texts of a `[formats.NAME]`."""

    def render(messages: Messages) -> str:
        parts = [table.begin]
        for one in messages:
            start, end = table.around(one["role"])
            if one["role"] == "system" and not (start or end):
                # It goes before what the person says then, as with templates that refuse it.
                raise ModelError(f"The chat format {name} has no system messages")
            parts += [start, one["content"], end]
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
