"""The last line: up to seven keys of the focused pane, made from its real bindings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.keys import key_to_character
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

MOST = 7
_NAMES = {
    "tab": "⇥",
    "enter": "⏎",
    "right": "→",
    "left": "←",
    "up": "↑",
    "down": "↓",
    "escape": "Esc",
    "space": "Space",
    "minus": "-",
    "plus": "+",
    "slash": "/",
    "backslash": "\\",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "backspace": "⌫",
    "delete": "Del",
}


def key_name(key: str) -> str:
    """A key as people write it: `^J`, `F3`, `⇥`, `Shift+↑`."""
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    name = _NAMES.get(last) or key_to_character(last)
    name = name or (last.upper() if last[1:].isdigit() else last)
    if modifiers == ["ctrl"] and len(name) == 1:
        return f"^{name.upper()}"
    marks = {"ctrl": "^", "shift": "⇧", "alt": "Alt+", "super": "Super+"}
    return "".join(marks.get(one, f"{one}+") for one in modifiers) + name


@dataclass(frozen=True, slots=True)
class Hint:
    """A key in the line."""

    id: str
    key: str
    word: str
    ready: bool
    """Whether it does something now; drawn fainter otherwise."""


class KeyBar(Widget):
    """Shows hints; a click does what the key does."""

    COMPONENT_CLASSES = {"keys--key", "keys--idle"}  # noqa: RUF012 (Textual's own form)

    @dataclass
    class Clicked(Message):
        """A hint was clicked."""

        id: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.hints: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint]) -> None:
        """Show the first of these that fit and the last one, at most seven."""
        if hints != self.hints:
            self.hints = hints
            self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        key_style = base + self.get_component_rich_style("keys--key", partial=True)
        idle = base + self.get_component_rich_style("keys--idle", partial=True)
        segments = [Segment(" ", base)]
        for hint in self._fitting():
            segments += [
                Segment(hint.key, key_style if hint.ready else idle),
                Segment(f" {hint.word}  ", base if hint.ready else idle),
            ]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: events.Click) -> None:
        x = 1
        for hint in self._fitting():
            x += _cells(hint)
            if event.x < x:
                self.post_message(self.Clicked(hint.id))
                return

    def _fitting(self) -> list[Hint]:
        """As many as there is room for, and in any case the last one, which is help."""
        if not self.hints:
            return []
        last = self.hints[-1]
        # The two cells after the last word may hang over.
        room = self.size.width + 1 - _cells(last)
        shown: list[Hint] = []
        for hint in self.hints[:-1]:
            room -= _cells(hint)
            if room < 0 or len(shown) == MOST - 1:
                break
            shown.append(hint)
        return [*shown, last]


def _cells(hint: Hint) -> int:
    return len(hint.key) + len(hint.word) + 3
