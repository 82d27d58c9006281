"""A yes or no that can be read without colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Toggle(Widget, can_focus=True):
    """`● yes` or `○ no`; space, enter or a click changes it."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("space,enter", "switch", "Switch", show=False)
    ]
    value = reactive(False)

    @dataclass
    class Changed(Message):
        """The person changed it."""

        toggle: Toggle
        value: bool

    def __init__(self, value: bool, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(Toggle.value, value)

    def render(self) -> Content:
        return Content("● yes" if self.value else "○ no")

    def on_click(self) -> None:
        self.action_switch()

    def action_switch(self) -> None:
        self.value = not self.value
        self.post_message(self.Changed(self, self.value))
