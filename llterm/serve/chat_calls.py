"""The calls in one reply, as parts of a message."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Any

from llterm.core.tool_call_parser import (
    CallArguments,
    CallBegun,
    ReplyPart,
    Said,
    ToolCallParser,
)
from llterm.core.tool_format import without_marked
from llterm.serve.chat_deltas import Delta

_SIGNS = string.ascii_letters + string.digits
_ID_SIZE = 9
"""Templates of Mistral's models take no other."""


class ChatCalls:
    """Takes the calls out of what is told of a reply."""

    def __init__(self, parser: ToolCallParser) -> None:
        self._parser = parser
        self.made: list[dict[str, Any]] = []
        """Each as a message has it, as far as it goes."""

    def add(self, delta: Delta) -> Sequence[Delta]:
        """What can be told now: of the text what is no call, and the calls in `tool_calls`."""
        others = {name: without_marked(text) for name, text in delta.items() if name != "content"}
        return self._told(others, self._parser.add(delta.get("content", "")))

    def rest(self) -> Sequence[Delta]:
        """What was held back, now that nothing more comes."""
        return self._told({}, self._parser.rest())

    def _told(self, others: Delta, parts: Sequence[ReplyPart]) -> Sequence[Delta]:
        said = ""
        changes: dict[int, dict[str, Any]] = {}
        for part in parts:
            match part:
                case Said(text):
                    said += text
                case CallBegun(place, name):
                    changes[place] = self._begun(place, name)
                case CallArguments(place, text):
                    self.made[place]["function"]["arguments"] += text
                    change = changes.setdefault(
                        place, {"index": place, "function": {"arguments": ""}}
                    )
                    change["function"]["arguments"] += text
        told: dict[str, Any] = {**others, "content": said, "tool_calls": [*changes.values()]}
        shown = {name: value for name, value in told.items() if value}
        return [shown] if shown else []

    def _begun(self, place: int, name: str) -> dict[str, Any]:
        id = "".join(secrets.choice(_SIGNS) for _ in range(_ID_SIZE))
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
        self.made.append(call)
        return {"index": place, **call, "function": {"name": name, "arguments": ""}}
