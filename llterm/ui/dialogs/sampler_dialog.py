"""The sampler panel: every knob in the chain's order, and what the chain makes of one place, live.

A change counts at once, is kept in the loom, and costs no inference.
"""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm import state
from llterm.config.sampling_values import preset_values, value_of
from llterm.config.value_reader import PRESET_NAMES, preset_name
from llterm.core.display_text import visible
from llterm.core.sampling.sampler_settings import DEFAULT_PRESET, PRESETS, Sampling
from llterm.errors import LltermError
from llterm.number_format import LONGEST, bar, of_logprob, percent
from llterm.session.inspection import Inspection, TokenPosition, inspect
from llterm.session.session import Session
from llterm.ui.dialogs import sampler_rows
from llterm.ui.dialogs.dialog import ListDialog
from llterm.ui.dialogs.sampler_rows import value_text
from llterm.ui.notices import refusal, troubles
from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.text_fit import fill

_EDITED = "0123456789.-#"
"""Keys that begin to type a value."""
_NAME = "name"
"""What is typed is a name for the chain, not a value."""
TOKEN = 11
"""Cells of a candidate's text."""


class SamplerDialog(ListDialog[None]):
    """Left the knobs, right the candidates of the place that the heat panel has chosen."""

    TITLE = "How tokens are drawn"
    KEYS = "←→ change  Enter type  Space on/off  [ ] order  s save  r reset  Esc close"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-middle")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("left,h", "step(-1)", "Less", show=False),
        Binding("right,l", "step(1)", "More", show=False),
        Binding("enter", "type", "Type a value", show=False, priority=True),
        Binding("space", "switch", "Stage on or off", show=False),
        Binding("left_square_bracket,shift+up,K", "order(-1)", "Earlier", show=False),
        Binding("right_square_bracket,shift+down,J", "order(1)", "Later", show=False),
        Binding("backspace,delete", "neutral", "As if it were not there", show=False),
        Binding("p", "preset", "Next preset", show=False),
        Binding("s", "save", "Save as a preset", show=False),
        Binding("x", "forget", "Forget a preset", show=False),
        Binding("r", "reset", "Reset", show=False),
    ]

    def __init__(
        self,
        session: Session,
        spot: TokenPosition | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        """`spot`: the place to show, if any; `inspection` what is known of it already."""
        super().__init__()
        self._session, self._spot = session, spot
        self._found = inspection
        self._rows = sampler_rows.rows(self._session.sampling)
        self._typing = ""
        """What the line at the bottom is for: a setting's name, `_NAME`, or nothing."""

    def body(self) -> ComposeResult:
        with Horizontal(id="sampler"):
            yield OptionList(id="knobs", markup=False)
            yield Static("", id="drawn", markup=False)
        with Horizontal(classes="setting", id="typing"):
            yield Static("", classes="setting--name", markup=False)
            yield Field(id="typed", select_on_focus=False)
        yield Static("", classes="setting--note", markup=False)

    def on_mount(self) -> None:
        self.query_one("#typing").display = False
        self.options.focus()
        self._relist(1)
        self._show()
        if self._found is None and self._spot is not None:
            self.run_worker(self._load(self._spot), exclusive=True, exit_on_error=False)

    async def _load(self, spot: TokenPosition) -> None:
        try:
            self._found = await inspect(self._session, spot)
        except LltermError as error:
            self.note(refusal(error), wrong=True)
            return
        self._show()

    # --- keys

    def action_step(self, by: int) -> None:
        self._set(sampler_rows.stepped(self._sampling, self._row, by, self._session.presets))

    def action_switch(self) -> None:
        self._set(sampler_rows.switched(self._sampling, self._row, self._session.presets))

    def action_order(self, by: int) -> None:
        self._set(sampler_rows.moved(self._sampling, self._row, by, self._session.presets))

    def action_neutral(self) -> None:
        self._set(sampler_rows.neutral(self._sampling, self._row, self._session.presets))

    def action_preset(self) -> None:
        self._set(sampler_rows.stepped(self._sampling, self._rows[0], 1, self._session.presets))

    def action_reset(self) -> None:
        """As in the beginning: the default preset, nothing banned, nothing biased."""
        self._set(Sampling().under(DEFAULT_PRESET, self._session.presets))

    def action_type(self) -> None:
        if self._typing:
            self._typed()
        else:
            row = self._row
            self._ask(row.name, value_text(value_of(self._sampling, row.name)))
            self.query_one("#typed", Field).select_all()

    def action_save(self) -> None:
        kept = self._sampling.preset or ""
        self._ask(_NAME, "" if kept in PRESETS else kept)
        self.note("A name for this chain; then it is a preset like the others.")

    def action_forget(self) -> None:
        """Take a preset of one's own away; the knobs stay as they are."""
        name, presets = self._sampling.preset, self._session.presets
        if name is None or name in PRESETS:
            self.note("✗ Choose one of your own presets first; others stay.", wrong=True)
            return
        settings = presets.pop(name)
        state.keep({f"presets.{name}": None})
        self._set(self._sampling.with_settings(settings, presets))
        self.note(f"{name} is gone; one from llterm.toml comes back at the next start.")

    def action_cancel(self) -> None:
        if self._typing:
            self._end_typing()
            self._show()
        else:
            self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        """A digit begins a value."""
        character = event.character or ""
        if not self._typing and character and character in _EDITED:
            event.stop()
            self._ask(self._row.name, character)

    # --- typing

    def _ask(self, what: str, text: str) -> None:
        self._typing = what
        self.query_one("#typing").display = True
        name = "save as" if what == _NAME else what.replace("_", " ")
        self.query_one("#typing Static", Static).update(name)
        line = self.query_one("#typed", Field)
        line.value = text
        line.focus()
        line.cursor_position = len(text)

    def _typed(self) -> None:
        text, presets = self.query_one("#typed", Field).value, self._session.presets
        if self._typing == _NAME:
            self._save(text.strip())
            return
        try:
            made = sampler_rows.typed(self._sampling, self._row, text, presets)
        except ValueError as wrong:
            self.note(f"✗ {wrong}", wrong=True)
            return
        self._end_typing()
        self._set(made)

    def _save(self, name: str) -> None:
        if not preset_name(name):
            self.note(f"✗ {PRESET_NAMES}", wrong=True)
            return
        settings, presets = self._sampling.settings, self._session.presets
        presets[name] = sampler_rows.chain_only(settings)
        state.keep({f"presets.{name}": preset_values(settings)})
        self._end_typing()
        self._set(self._sampling.under(name, presets))
        self.note(f"Saved as {name}.")

    def _end_typing(self) -> None:
        self._typing = ""
        self.query_one("#typing").display = False
        self.options.focus()

    # --- showing

    @property
    def _sampling(self) -> Sampling:
        return self._session.sampling

    @property
    def _row(self) -> sampler_rows.SamplerRow:
        return self._rows[self.options.highlighted or 0]

    def _set(self, sampling: Sampling) -> None:
        row = self._row
        with troubles(self):
            self._session.set_sampling(sampling)
        self._relist(sampler_rows.find(sampler_rows.rows(self._sampling), row))
        self._show()

    def _relist(self, highlighted: int) -> None:
        self._rows = sampler_rows.rows(self._sampling)
        listed = self.options
        lines = [self._line(row) for row in self._rows]
        if listed.option_count == len(lines):
            for index, line in enumerate(lines):
                if listed.get_option_at_index(index).prompt != line:
                    listed.replace_option_prompt_at_index(index, line)
        else:
            listed.clear_options()
            listed.add_options([Option(line) for line in lines])
        listed.highlighted = highlighted

    def _line(self, row: sampler_rows.SamplerRow) -> Text:
        """Place in the order, name, value; of stages that do not run, faint."""
        mark = "  "
        if row.first:
            mark = f"{row.place} " if row.place else "○ "
        text = value_text(value_of(self._sampling, row.name))
        name = row.name.replace("_", " ")
        off = bool(row.stage) and not row.place
        return Text(f"{mark}{name:<18} {text or '–'}", style="dim" if off else "", no_wrap=True)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        if not self._typing:
            setting = self._row.setting
            self.note(f"{setting.help} {f'({setting.range})' if setting.range else ''}".strip())

    def _show(self) -> None:
        """What the chain makes of the place now."""
        drawn = self.query_one("#drawn", Static)
        inspection = self._found
        drawn.set_class(inspection is None, "-said")
        if inspection is None:
            drawn.update(Text("reading …" if self._spot is not None else _NOWHERE, style="dim"))
            return
        try:
            inspection.under(self._sampling)
        except LltermError as error:
            self.note(refusal(error), wrong=True)
            return
        drawn.update(_candidates(inspection, max(drawn.size.height, 2)))
        if inspection.caveat:
            self.note(inspection.caveat)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)


_NOWHERE = (
    "Choose a token in the heat panel before you come here, and its candidates are here, "
    "moving with every knob."
)


def _candidates(inspection: Inspection, most: int) -> Text:
    """As many lines: text, p of the model, p as it is drawn, what dropped it."""
    table = inspection.table("", most - 1)
    head = f"{'token':<{TOKEN}}{'model':>{LONGEST}} {'drawn':>{LONGEST}}  {table.kept:,} kept\n"
    lines = Text(head, style="dim")
    for row in table.rows:
        text = fill(visible(row.token.data), TOKEN)
        model = of_logprob(row.logprob)
        last = row.dropped_by or bar(row.p_final, 8)
        lines.append(
            f"{text}{model:>{LONGEST}} {percent(row.p_final):>{LONGEST}}  {last}\n",
            style="dim strike" if row.dropped_by else "",
        )
    lines.rstrip()
    return lines
