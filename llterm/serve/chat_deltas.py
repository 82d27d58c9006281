"""A reply as the parts of a message: thoughts apart from what is said, piece by piece.

What is told in all is the same however the text is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llterm.core.held_text import begun_size
from llterm.core.reasoning_markers import ReasoningMarkers

Delta = Mapping[str, Any]
"""Fields of a message, with what is to be added to each."""
_State = Literal["begin", "thoughts", "between", "content"]


class ChatDeltas:
    """The text of one reply, as it comes."""

    def __init__(self, markers: ReasoningMarkers | None, *, thinking: bool = False) -> None:
        """`markers`: around thoughts, which stand at the beginning alone; `thinking`: the prompt
        opened them."""
        self._markers = markers
        self._state: _State = "content"
        if markers is not None:
            self._state = "thoughts" if thinking else "begin"
        self._held = ""
        """What may turn out to be the beginning of a marker, or blanks beside one."""
        self._thought = False
        """Something of the thoughts was told: blanks before are not."""

    @property
    def thinking(self) -> bool:
        """Whether what comes next is a thought."""
        return self._state == "thoughts"

    def add(self, text: str) -> Delta:
        """What can be told now that this text came; nothing, often."""
        told = {"reasoning_content": "", "content": ""}
        self._held += text
        state: _State | None = None
        while state != self._state:
            state = self._state
            self._step(told)
        return _told(told)

    def rest(self) -> Delta:
        """What was held back, now that nothing more comes."""
        told = {"reasoning_content": "", "content": ""}
        if self._state == "thoughts":
            told["reasoning_content"] = self._held.rstrip()
        elif self._state == "begin":
            told["content"] = self._held
        self._held = ""
        return _told(told)

    def _step(self, told: dict[str, str]) -> None:
        match self._state:
            case "begin":
                self._begin()
            case "thoughts":
                told["reasoning_content"] += self._thoughts()
            case "between":
                self._held = self._held.lstrip()
                if self._held:
                    self._state = "content"
            case "content":
                told["content"] += self._held
                self._held = ""

    def _begin(self) -> None:
        assert self._markers is not None
        said = self._held.lstrip()
        if said.startswith(self._markers.open):
            self._held = said.removeprefix(self._markers.open)
            self._state = "thoughts"
        elif not self._markers.open.startswith(said):
            self._state = "content"

    def _thoughts(self) -> str:
        """What can be told of them: blanks at both ends are not."""
        assert self._markers is not None
        if not self._thought:
            self._held = self._held.lstrip()
        thought, closed, after = self._held.partition(self._markers.close)
        if closed:
            self._held = after
            self._state = "between"
            return thought.rstrip()
        sure = self._held[: len(self._held) - begun_size(self._held, [self._markers.close])]
        sure = sure.rstrip()
        self._held = self._held[len(sure) :]
        self._thought |= bool(sure)
        return sure


def _told(fields: Mapping[str, str]) -> Delta:
    """The fields that say something; thoughts under both names that clients look for."""
    told = {name: text for name, text in fields.items() if text}
    if thought := told.get("reasoning_content"):
        told["reasoning"] = thought
    return told
