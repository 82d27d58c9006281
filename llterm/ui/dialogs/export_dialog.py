"""What to export a loom as, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm.formats.file_formats import EXPORTS, FORMATS, file_format
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.widgets.fields import Field

COPY = "loom"
"""Not a format: the loom itself, with its history, saved elsewhere."""
_LABELS = {**{row.name: row.label for row in FORMATS}, COPY: "the loom, elsewhere"}
_STORY = tuple(row.name for row in FORMATS if row.story)


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What the person chose."""

    format: str
    target: Path
    every: bool


class ExportDialog(Dialog[ExportChoice]):
    """A list of formats and the file's name."""

    TITLE = "Export"
    KEYS = "↑↓ format   F3 story or all   Tab file   ⏎ write   Esc close"
    BINDINGS = [Binding("f3", "every", show=False)]  # noqa: RUF012

    def __init__(self, loom: Path) -> None:
        super().__init__()
        self._loom = loom
        self.formats = (*EXPORTS, COPY)
        self._every = False

    def body(self) -> ComposeResult:
        options = [
            Option(Content.assemble((f"{name:<12}", "bold"), (_LABELS[name], "$ghost")))
            for name in self.formats
        ]
        yield OptionList(*options, markup=False, compact=True)
        yield Static("", id="told", classes="setting--note", markup=False)
        yield Field(path=True, id="target")

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = 0
        options.focus()

    @property
    def _format(self) -> str:
        return self.formats[self.query_one(OptionList).highlighted or 0]

    def action_every(self) -> None:
        self._every = not self._every
        self._show()

    @on(OptionList.OptionHighlighted)
    def _show(self) -> None:
        format = self._format
        note = "" if format in (*_STORY, COPY) else "The whole loom."
        if format in _STORY:
            note = "Every branch." if self._every else "The story alone."
            if format == "html":
                note = "The story with every fork." if self._every else "The story alone."
        self.note(note or "With its history, as it is on screen now.")
        self.query_one("#target", Field).value = str(self._proposed(format))

    def _proposed(self, format: str) -> Path:
        # The loom's folder can be gone: its stick was pulled out.
        folder = self._loom.parent if self._loom.parent.is_dir() else Path.home()
        copies = format == COPY
        suffix = ".loom" if copies else file_format(format).suffixes[0]
        stem = f"{self._loom.stem} copy" if copies else self._loom.stem
        return _free(folder / f"{stem}{suffix}", suffix)

    @on(OptionList.OptionSelected)
    @on(Field.Submitted)
    def _done(self) -> None:
        typed = self.query_one("#target", Field).value.strip()
        if not typed:
            return
        format = self._format
        target = Path(typed).expanduser()
        self.dismiss(ExportChoice(format, target, self._every))


def _free(path: Path, suffix: str) -> Path:
    """This path, or one with a number before its suffix where it is taken."""
    free, number = path, 2
    stem = path.name.removesuffix(suffix)
    while free.exists():
        free = path.with_name(f"{stem} {number}{suffix}")
        number += 1
    return free
