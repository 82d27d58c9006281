"""Where a person types: one line, or a text. The only fields of the app.

What stands in them may come from a stranger's file. A field holds that text as it is and gives it
back as it is; drawn is one stand-in for each character that a terminal could obey or hide behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding
from textual.content import Content
from textual.document._document import Document, EditResult, Location
from textual.document._document_navigator import DocumentNavigator
from textual.document._edit import Edit
from textual.document._wrapped_document import WrappedDocument
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, TextArea

from llterm.core.display_text import area_text, field_text
from llterm.ui.widgets.text_fit import crop, crop_left


class Field(Input):
    """One line. `value` is the text itself."""

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        select_on_focus: bool = True,
        path: bool = False,
        id: str | None = None,
    ) -> None:
        """`path`: of a text that is too long the end is shown, which is a file's name."""
        self._path = path
        super().__init__(
            value, placeholder=placeholder, select_on_focus=select_on_focus, id=id, compact=True
        )

    def validate_placeholder(self, placeholder: str) -> str:
        return field_text(placeholder)

    @property
    def _value(self) -> Text:
        return _line(field_text(self.value))

    def render_line(self, y: int) -> Strip:
        """The part where the cursor is; while nobody types, with an ellipsis where it is cut."""
        width = self.scrollable_content_region.width
        text = field_text(self.value)
        if y or self.has_focus or cell_len(text) <= width:
            return super().render_line(y)
        cut = crop_left(text, width) if self._path else crop(text, width)
        options = self.app.console_options.update_width(width)
        strip = Strip(self.app.console.render(_line(cut), options))
        return strip.extend_cell_length(width + 1).apply_style(self.rich_style)

    def _position_to_cell(self, position: int) -> int:
        return cell_len(field_text(self.value[:position]))

    def _cell_offset_to_index(self, offset: int) -> int:
        offset += self.scroll_offset.x
        size = len(self.value)
        return next((at for at in range(size) if self._position_to_cell(at + 1) > offset), size)


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ignore", end="")


class Area(TextArea):
    """A text of many lines. `text` is the text itself."""

    def __init__(self, text: str = "", *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(
            text, soft_wrap=True, compact=True, highlight_cursor_line=False,
            placeholder=area_text(placeholder), id=id,
        )  # fmt: skip
        self.cursor_blink = False

    def _set_document(self, text: str, language: str | None) -> None:
        super()._set_document("", language)
        self.document = FieldDocument(text)
        self.wrapped_document = WrappedDocument(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._rewrap_and_refresh_virtual_size()

    def edit(self, edit: Edit) -> EditResult:
        """What is typed or pasted has the line ends of a story."""
        edit.text = edit.text.replace("\r\n", "\n").replace("\r", "\n")
        return super().edit(edit)


class FieldDocument(Document):
    """A document whose lines are what is drawn; its text, and what an edit took, are the text
    itself. So undo brings back what was there, and not its stand-in."""

    def __init__(self, text: str) -> None:
        super().__init__(area_text(text))
        self._real = text.split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self._real)

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        (top, first), (bottom, last) = sorted((start, end))
        result = super().replace_range(start, end, area_text(text))
        before, after = self._real[top][:first], "".join(self._real[bottom : bottom + 1])[last:]
        self._real[top : bottom + 1] = (before + text + after).split("\n")
        return result

    def get_text_range(self, start: Location, end: Location) -> str:
        (top, first), (bottom, last) = sorted((start, end))
        lines = self._real[top : bottom + 1]
        if len(lines) > bottom - top:
            lines[-1] = lines[-1][:last]
        return "\n".join(lines)[first:]


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
