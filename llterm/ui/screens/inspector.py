"""Every candidate at a place of the story, and what a sampler chain leaves of it: live."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Static

from llterm.core.display import visible
from llterm.core.sampling import PRESETS
from llterm.errors import LltermError
from llterm.session.inspecting import Inspection, Row, parse_chain
from llterm.session.session import Session
from llterm.ui.figures import bar, percent
from llterm.ui.screens.dialog import Dialog

MOST = 200
"""Rows listed; the filter finds the others."""
_PRESETS = ["", *PRESETS]


class Inspector(Dialog[tuple[int, float] | None]):
    """A table of candidates, a filter, and a chain to try."""

    TITLE = "What could stand here"
    KEYS = "Tab to the chain and the filter   F5 next preset   Enter put it there   Esc close"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("f5", "preset", "Next preset", show=False),
    ]

    def __init__(self, session: Session, number: int) -> None:
        super().__init__()
        self._session = session
        self._number = number
        self._inspection: Inspection | None = None
        self._rows: list[Row] = []
        self._preset = 0

    def body(self) -> ComposeResult:
        place = self._session.reader.places[self._number]
        yield Static(f"Here stands {visible(place.data)}", classes="dialog--note", markup=False)
        yield DataTable(id="candidates", cursor_type="row", zebra_stripes=False)
        with Horizontal(classes="setting"):
            yield Static("chain", classes="setting--name", markup=False)
            yield Input(
                placeholder="balanced, or temperature=0.7 min_p=0.05", id="chain", compact=True
            )
        with Horizontal(classes="setting"):
            yield Static("find", classes="setting--name", markup=False)
            yield Input(placeholder="a text, or /regex/", id="filter", compact=True)
        yield Static("", id="told", classes="setting--note", markup=False)

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for label in ("rank", "token", "id", "model", "chain", "", "dropped by"):
            table.add_column(label)
        table.focus()
        self.run_worker(self._load(), exclusive=True, exit_on_error=False)

    async def _load(self) -> None:
        try:
            scored = await self._session.reader.candidates(self._number)
        except LltermError as error:
            self._tell(f"{error.title}. {error.cause}", wrong=True)
            return
        source = self._session.source
        assert source is not None
        context = self._session.reader.context_of(self._number)
        self._inspection = Inspection(source.vocabulary, context, scored.distribution)
        self._fill()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._fill()

    def action_preset(self) -> None:
        self._preset = (self._preset + 1) % len(_PRESETS)
        self.query_one("#chain", Input).value = _PRESETS[self._preset]

    def _fill(self) -> None:
        inspection = self._inspection
        if inspection is None:
            return
        wanted = self.query_one("#filter", Input).value
        try:
            inspection.under(parse_chain(self.query_one("#chain", Input).value))
            found = inspection.table(wanted, MOST)
        except LltermError as error:
            self._tell(f"✗ {error.title}. {error.cause}", wrong=True)
            return
        self._rows = list(found.rows)
        table = self.query_one(DataTable)
        table.clear()
        for row in self._rows:
            p = math.exp(row.logprob)
            table.add_row(
                f"{row.rank:,}", visible(row.token.data), str(row.token.id), percent(p),
                percent(row.p_final), bar(row.p_final, 8), row.dropped_by or "",
            )  # fmt: skip
        table.add_row(
            "", f"{found.other:,} others", "", percent(found.other_base),
            percent(found.other_final), bar(found.other_final, 8), "",
        )  # fmt: skip
        told = inspection.told(wanted) if wanted and not wanted.startswith("/") else ""
        self._tell(told or f"The chain leaves {found.kept:,} of {found.other + len(self._rows):,}")

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        note = self.query_one("#told", Static)
        note.set_class(wrong, "-wrong")
        note.update(text)

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        """The candidate's way through the chain."""
        inspection, number = self._inspection, event.cursor_row
        if inspection is None or not 0 <= number < len(self._rows):
            return
        row = self._rows[number]
        way = " → ".join(f"{stage} {percent(p)}" for stage, p in inspection.climb(row.rank))
        if " → " in way:
            self._tell(f"{visible(row.token.data)}: {way}")

    @on(DataTable.RowSelected)
    def _chosen(self, event: DataTable.RowSelected) -> None:
        if event.cursor_row < len(self._rows):
            row = self._rows[event.cursor_row]
            self.dismiss((row.token.id, row.logprob))
