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
from llterm.ui.screens.dialog import Dialog
from llterm.ui.widgets.fields import Field

COPY = "loom"
"""Not a format: the loom itself, with its history, saved elsewhere."""
_LABELS = {**{row.name: row.label for row in FORMATS}, COPY: "the loom, elsewhere"}
_STORY = tuple(row.name for row in FORMATS if row.story)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person chose."""

    format: str
    target: Path
    every: bool


class Export(Dialog[Wanted]):
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
        yield Field(id="target")

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
        told = "" if format in (*_STORY, COPY) else "The whole loom."
        if format in _STORY:
            told = "Every branch." if self._every else "The story alone."
            if format == "html":
                told = "The story with every fork." if self._every else "The story alone."
        self.query_one("#told", Static).update(told or "With its history, as it is on screen now.")
        self.query_one("#target", Field).value = str(self._proposed(format))

    def _proposed(self, format: str) -> Path:
        # The loom's folder can be gone: its stick was pulled out.
        folder = self._loom.parent if self._loom.parent.is_dir() else Path.home()
        stem = self._loom.stem
        return _free(
            folder
            / (f"{stem} copy.loom" if format == COPY else stem + file_format(format).suffixes[0])
        )

    @on(OptionList.OptionSelected)
    @on(Field.Submitted)
    def _done(self) -> None:
        typed = self.query_one("#target", Field).value.strip()
        if not typed:
            return
        format = self._format
        target = Path(typed).expanduser()
        self.dismiss(Wanted(format, target, self._every))


def _free(path: Path) -> Path:
    """This path, or one with a number where it is taken."""
    found, number = path, 2
    name, dot, suffix = path.name.partition(".")
    while found.exists():
        found = path.with_name(f"{name} {number}{dot}{suffix}")
        number += 1
    return found
