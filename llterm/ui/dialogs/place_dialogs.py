"""A place inside a branch: to cut it there, or to let another candidate stand for a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm.core.display_text import display_text, visible
from llterm.core.provenance import Alternative
from llterm.number_format import LONGEST, of_logprob
from llterm.ui.dialogs.dialog import Dialog

_AROUND = 600
"""Bytes shown on either side."""
_MOVES = (
    Binding("left,h", "move(-1)", show=False),
    Binding("right,l", "move(1)", show=False),
    Binding("home", "move(-1000000)", show=False),
    Binding("end", "move(1000000)", show=False),
)


@dataclass(frozen=True, slots=True)
class CutPlace:
    """Where a branch can be cut: after so many bytes of a node."""

    id: int
    size: int
    at: int
    """Bytes of the whole branch before it."""


class PlaceDialog(Dialog[CutPlace]):
    """Moves over the places of a text; gives back the one chosen."""

    KEYS = "← → Home End move   ⏎ here   Esc give up"
    BINDINGS = [*_MOVES, Binding("enter", "done", show=False)]  # noqa: RUF012

    def __init__(self, title: str, data: bytes, spots: Sequence[CutPlace]) -> None:
        super().__init__()
        self.title = title
        self._data, self._spots = data, spots
        self._index = len(spots) - 1

    def body(self) -> ComposeResult:
        yield Static(id="text", markup=False)

    def on_mount(self) -> None:
        self.action_move(0)

    def action_move(self, by: int) -> None:
        self._index = min(max(self._index + by, 0), len(self._spots) - 1)
        at = self._spots[self._index].at
        before = display_text(self._data[max(at - _AROUND, 0) : at])
        after = display_text(self._data[at : at + _AROUND])
        content = Content.assemble(before, ("┃", "bold $accent"), (after, "$ghost"))
        self.query_one("#text", Static).update(content)

    def action_done(self) -> None:
        self.dismiss(self._spots[self._index])


@dataclass(frozen=True, slots=True)
class BranchToken:
    """A token of a branch, and what could have stood for it."""

    id: int
    """Its node."""
    number: int
    """Which token of the node."""
    data: bytes
    known: Callable[[], Sequence[Alternative]]


class AlternativesDialog(Dialog[tuple[BranchToken, int]]):
    """Gives back a token and which of its alternatives is to stand there."""

    TITLE = "What else could stand here"
    KEYS = "← → token   ↑↓ alternative   ⏎ swap it in   Esc give up"
    BINDINGS = [*_MOVES]  # noqa: RUF012

    def __init__(self, tokens: Sequence[BranchToken]) -> None:
        super().__init__()
        self._tokens = tokens
        self._index = 0

    def body(self) -> ComposeResult:
        yield Static(id="text", markup=False)
        yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.action_move(0)

    def action_move(self, by: int) -> None:
        self._index = min(max(self._index + by, 0), len(self._tokens) - 1)
        token = self._tokens[self._index]
        texts = [display_text(one.data) for one in self._tokens]
        before = "".join(texts[: self._index])[-_AROUND:]
        after = "".join(texts[self._index + 1 :])[:_AROUND]
        shown = visible(token.data)
        content = Content.assemble(before, (shown, "bold reverse"), (after, "$ghost"), "\n")
        self.query_one("#text", Static).update(content)
        options = self.query_one(OptionList)
        options.clear_options()
        for _, data, logprob in token.known():
            mark = "• " if data == token.data else "  "
            options.add_option(Option(f"{mark}{of_logprob(logprob):>{LONGEST}}  {visible(data)}"))
        options.highlighted = 0 if options.option_count else None

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss((self._tokens[self._index], event.option_index))
