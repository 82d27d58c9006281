"""Every candidate at a place of the story, and what a sampler chain leaves of it: live."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import DataTable, Static

from llterm.core.display_text import label_text, visible
from llterm.core.tokens import Token
from llterm.errors import LltermError
from llterm.number_format import LONGEST, bar, joint, of_logprob, percent
from llterm.session.inspection import (
    CandidateRow,
    CandidateTable,
    Inspection,
    TokenPosition,
    TokenProvenance,
    inspect,
    parse_chain,
)
from llterm.session.session import Session
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.notices import refusal
from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.text_fit import crop

MOST = 200
"""Rows listed; the filter finds the others."""


TOKEN = 16
"""Cells of a candidate's text and bytes; all of them are told of the highlighted one."""
BAR = 6
FIGURES = ("model", "chain")
"""Columns that are aligned on the right."""
_WAYS = {
    "accepted": "accepted",
    "first choice": "all that the chain left",
    "forced": "all that was allowed",
    "picked": "picked by you",
}
"""How ways of arrival are told; others as they are."""
_WIDE = 100
"""Cells of a screen from which bytes have a column."""
_NARROW = 72
"""Cells of a screen below which ids and bars are left out."""


def chosen_columns(width: int, *, constrained: bool) -> list[str]:
    """The columns for a screen of so many cells; `valid` where there is a constraint."""
    columns = ["rank", "token"]
    if width >= _NARROW:
        columns.append("id")
    if width >= _WIDE:
        columns.append("bytes")
    columns += ["model", "chain"]
    if width >= _NARROW:
        columns.append("bar")
    if constrained:
        columns.append("valid")
    return [*columns, "kept", "dropped by"]


def row_cells(row: CandidateRow) -> dict[str, str]:
    """A candidate's cells by column."""
    return {
        "rank": f"{row.rank:,}",
        "token": crop(visible(row.token.data), TOKEN),
        "id": str(row.token.id),
        "bytes": crop(spelt(row.token), TOKEN),
        "model": f"{of_logprob(row.logprob):>{LONGEST}}",
        "chain": f"{percent(row.p_final):>{LONGEST}}",
        "bar": bar(row.p_final, BAR),
        "valid": "✓" if row.valid else "✗",
        "kept": "✗" if row.dropped_by else "✓",
        "dropped by": row.dropped_by or "",
    }


def other_cells(table: CandidateTable) -> dict[str, str]:
    """The row of all that are not listed: their mass, and how many are valid and kept."""
    left = table.kept - sum(row.p_final > 0 for row in table.rows)
    return {
        "token": f"{table.other:,} others",
        "model": f"{percent(table.other_base):>{LONGEST}}",
        "chain": f"{percent(table.other_final):>{LONGEST}}",
        "bar": bar(table.other_final, BAR),
        "valid": f"{table.other_valid or 0:,}",
        "kept": f"{left:,}",
    }


def then_and_now(born: TokenProvenance, now: tuple[float, float] | None, count: int) -> str:
    """What was true of a token when it was chosen, and what is true of it now."""
    arrival = born.arrival
    way = _WAYS.get(arrival.way, arrival.way) or "how is not kept"
    by = f" by {label_text(born.model)}"
    then = [f"model {of_logprob(born.logprob)}"] if born.logprob is not None else []
    if arrival.p_final is not None:
        then.append(f"chain {percent(arrival.p_final)} of {arrival.kept or 0:,} kept")
    if born.fast:
        then.append("fast kernels")
    if born.preset:
        then.append(label_text(born.preset))
    past = f"When chosen ({way}{by}): {', '.join(then)}"
    if now is None:
        return f"{past} · now: not listed"
    return f"{past} · now: model {of_logprob(now[0])}, chain {percent(now[1])} of {count:,}"


def spelt(token: Token) -> str:
    """A token's bytes in hexadecimal; of a special one that it has none."""
    return "no text" if token.special else token.data.hex(" ")


class InspectorDialog(Dialog[tuple[int, float]]):
    """A table of candidates, a filter, and a chain to try."""

    TITLE = "What could stand here"
    KEYS = "Tab chain, find   F5 preset   F6 knobs   Enter put it there   Esc close"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("f5", "preset", "Next preset", show=False),
        Binding("f6", "knobs", "All knobs", show=False),
    ]

    def __init__(self, session: Session, spot: TokenPosition, stands: str) -> None:
        """`stands`: what stands there, to be shown."""
        super().__init__()
        self._session, self._spot, self._stands = session, spot, stands
        self._inspection: Inspection | None = None
        self._rows: list[CandidateRow] = []
        self._preset = 0

    def body(self) -> ComposeResult:
        yield Static(self._headline(), classes="dialog--note", markup=False)
        yield Static("", id="born", classes="dialog--note", markup=False)
        yield DataTable(id="candidates", cursor_type="row", zebra_stripes=False, cell_padding=0)
        with Horizontal(classes="setting"):
            yield Static("chain", classes="setting--name", markup=False)
            yield Field(
                placeholder=self._drawn_as,
                id="chain",
            )
        with Horizontal(classes="setting"):
            yield Static("find", classes="setting--name", markup=False)
            yield Field(placeholder="a text (Enter: all its tokens), or /regex/", id="filter")
        yield Static("", id="told", classes="setting--note", markup=False)

    @property
    def _drawn_as(self) -> str:
        return f"as it is drawn ({self._session.sampling.label}); try min_p=0.05"

    def on_mount(self) -> None:
        self.query_one("#born").display = self._spot.born is not None
        self.query_one(DataTable).focus()
        self.run_worker(self._load(), exclusive=True, exit_on_error=False)

    async def _load(self) -> None:
        try:
            self._inspection = await inspect(self._session, self._spot)
        except LltermError as error:
            self.note(refusal(error), wrong=True)
            return
        self.query(".dialog--note").first(Static).update(self._headline())
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _headline(self) -> str:
        """What stands here, and what the constraint takes."""
        ahead = self._spot.tail is not None
        stands = f"{'The suggestion has' if ahead else 'Here stands'} {self._stands}"
        taken = self._inspection.taken if self._inspection is not None else None
        if taken is None:
            return stands
        begins = "" if ahead else ", as if a weave began"
        return f"{stands} · the constraint takes {percent(taken)} here{begins}"

    @on(Field.Changed)
    def _typed(self) -> None:
        self._fill()

    def action_preset(self) -> None:
        names = ["", *self._session.presets]
        self._preset = (self._preset + 1) % len(names)
        self.query_one("#chain", Field).value = names[self._preset]

    def action_knobs(self) -> None:
        """The panel, for good; what was typed to try is over then."""
        self.query_one("#chain", Field).value = ""
        panel = SamplerDialog(self._session, self._spot, self._inspection)

        def back(_: None) -> None:
            self.query_one("#chain", Field).placeholder = self._drawn_as
            self._fill()

        self.app.push_screen(panel, back)

    def _fill(self) -> None:
        inspection = self._inspection
        if inspection is None:
            return
        wanted = self.query_one("#filter", Field).value
        try:
            text = self.query_one("#chain", Field).value
            session = self._session
            inspection.under(parse_chain(text, session.sampling, session.presets))
            listed = inspection.table(wanted, MOST)
        except LltermError as error:
            self.note(refusal(error), wrong=True)
            return
        self._rows = list(listed.rows)
        table = self.query_one(DataTable)
        table.clear(columns=True)
        columns = chosen_columns(self.size.width, constrained=inspection.taken is not None)
        for name in columns:
            table.add_column(f"{name:>{LONGEST}} " if name in FIGURES else f"{name} ")
        for row in self._rows:
            cells, style = row_cells(row), "dim" if row.dropped_by else ""
            table.add_row(*(Text(f"{cells[name]} ", style=style) for name in columns))
        cells = other_cells(listed)
        table.add_row(*(f"{cells.get(name, '')} " for name in columns))
        if (born := self._spot.born) is not None:
            now = inspection.now(self._spot.stands)
            self.query_one("#born", Static).update(then_and_now(born, now, listed.kept))
        matches = inspection.told(wanted) if wanted and not wanted.startswith("/") else ""
        left = f"The chain leaves {listed.kept:,} of {listed.other + len(self._rows):,}."
        self.note(matches or " ".join(filter(None, (left, inspection.caveat))))

    @on(Field.Submitted, "#filter")
    def _ask_joint(self, event: Field.Submitted) -> None:
        """The probability of all of a typed text, which the model has to be asked for."""
        if event.value and not event.value.startswith("/"):
            self.run_worker(self._joint(event.value), group="joint", exclusive=True)

    async def _joint(self, text: str) -> None:
        try:
            tokens, logprob = await self._session.reader.joint(self._spot.at.context, text)
        except LltermError as error:
            self.note(refusal(error), wrong=True)
            return
        whole = visible(text.encode("utf-8", "surrogateescape"))
        self.note(f"“{whole}”: {joint(logprob, tokens)}")

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        """The candidate's way through the chain; while somebody types, what that is about."""
        inspection, number = self._inspection, event.cursor_row
        if inspection is None or not 0 <= number < len(self._rows):
            return
        if not event.data_table.has_focus:
            return
        row = self._rows[number]
        way = " → ".join(f"{stage} {percent(p)}" for stage, p in inspection.climb(row.rank))
        told = f"{visible(row.token.data)} ({spelt(row.token)}): {way}"
        self.note(" ".join(filter(None, (told, inspection.caveat))))

    @on(DataTable.RowSelected)
    def _chosen(self, event: DataTable.RowSelected) -> None:
        if event.cursor_row < len(self._rows):
            row = self._rows[event.cursor_row]
            self.dismiss((row.token.id, row.logprob))
