"""The chat that was typed: `--chat`, `--system`, `--chat-file`, and what --prompt means then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.errors import UsageError
from llterm.regular_file import present

if TYPE_CHECKING:
    from llterm.core.chat_messages import Chat


def typed_chat(values: Mapping[str, Any]) -> tuple[Chat | None, str | None]:
    """The chat among a command's parameters, and the beginning of the text.

    Without a chat that is what --prompt says; in one --prompt is said to the model, and the
    reply's beginning is the last message of a file, where that is the assistant's. Raises
    UsageError where nothing is said.
    """
    system, message = as_text(values["system"]), as_text(values["prompt"])
    if values["chat_file"] is not None:
        return _of_file(values["chat_file"], system, message, values["file"])
    if not values["chat"] and system is None:
        return None, values["prompt"]
    from llterm.core.chat_messages import Chat

    chat = Chat(system or "", message or "")
    if not chat:
        raise UsageError(
            "There is nothing to reply to",
            "A chat needs what you say to the model.",
            "Say it with --prompt or --chat-file; a loom that has a chat keeps it without --chat.",
        )
    return chat, None


def _of_file(
    path: Path, system: str | None, message: str | None, begun: Path | None
) -> tuple[Chat, str | None]:
    from llterm.core.chat_messages import ChatMessage, chat_of
    from llterm.formats.dialogue import load_dialogue

    found = load_dialogue(path)
    chat, reply = found.chat, found.reply
    if message:
        # An empty one is left out.
        said = (*chat.said(), ChatMessage("assistant", reply), ChatMessage("user", message))
        chat, reply = chat_of(said), ""
    if system is not None:
        if chat.system:
            raise UsageError(
                "There are two system messages",
                f"{path.name} has one, and so has --system.",
                "Leave one of them out.",
            )
        chat = replace(chat, system=system)
    if reply and begun is not None and (str(begun) == "-" or present(begun)):
        raise UsageError(
            "The reply begins twice",
            f"{path.name} ends in a message of the assistant, and {begun} is the reply too.",
            "Leave one of them out.",
        )
    return chat, reply or None


def as_text(text: str | None) -> str | None:
    """Settings are text, not bytes: what is not UTF-8 in them is replaced."""
    return (
        None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
