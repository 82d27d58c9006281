"""Jump mode: a letter upon every pane; typing it goes there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static


class JumpScreen(ModalScreen[str]):
    """Gives back the letter that was typed, or None; the jump key itself means the first pane that
    has not the focus."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("escape,ctrl+q", "stay", "Stay", show=False),
    ]

    def __init__(self, panes: Mapping[str, Widget], again: tuple[str, ...]) -> None:
        """`panes` by letter; `again`: the keys that opened this."""
        super().__init__()
        self._panes = panes
        self._again = again

    def compose(self) -> ComposeResult:
        for letter, pane in self._panes.items():
            label = Static(f" {letter} ", classes="jump--letter", markup=False)
            label.styles.offset = pane.region.offset
            yield label

    def action_stay(self) -> None:
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        if event.key in self._again:
            event.stop()
            others = (key for key, pane in self._panes.items() if not pane.has_focus_within)
            self.dismiss(next(others, None))
        elif event.key in self._panes:
            event.stop()
            self.dismiss(event.key)
