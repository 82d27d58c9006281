"""The mix screen: models side by side over one story. What it says is in `mix_view.py`, what keys
do in `mix_handlers.py`; step, play, undo and the sampler panel are the main screen's own."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from llterm.errors import BackendUnavailable, LltermError
from llterm.keymap import Pane, action_of
from llterm.session.mix_reader import MixReader
from llterm.ui.dialogs.help_dialog import HelpDialog, HelpPart
from llterm.ui.keyed_screen import Handler, first_key
from llterm.ui.mix import mix_handlers
from llterm.ui.mix.mix_panes import MixPanes
from llterm.ui.mix.mix_view import MixView
from llterm.ui.mix.mixed_story import MixedStory
from llterm.ui.mix.model_columns import ModelCharts, ModelColumns
from llterm.ui.weave.panes import Panes
from llterm.ui.widgets.key_bar import Hint, KeyBar, key_name
from llterm.ui.widgets.status_line import NameLine, StatusLine

SHARED = (
    "play.step", "play.toggle", "play.faster", "play.slower", "edit.undo", "edit.redo",
    "weave.stop", "app.sampling", "app.save", "app.log", "app.help", "app.back",
)  # fmt: skip
"""Actions of the main screen that mean the same here, with the keys they have in its tree."""
_FIRST = ("mix.next_divergence", "play.step", "play.toggle", "mix.force", "mix.mode", "mix.table",
          "app.help")  # fmt: skip
_WORDS = {"play.step": "step", "app.help": "help"}
SIGNS = """\
  A B C  the models; under each token the one whose first choice it was, the surest
         of several; · no model's first choice: the mix found it; nothing: yours
  In the reference mode: the models that would say something else there, and the
  hotter a token, the further the chosen model is from the reference (1 nat: full).
  ▸ the chosen column   • what stands there   ≠ another first choice
  KLD is the KL divergence from the mix, or the reference, in nats."""


class MixScreen(MixPanes):
    """Story, columns, charts; over the main screen, on the same session."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-middle"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high"), (32, "-tall")]  # noqa: RUF012

    def __init__(self, main: Panes, mixing: MixReader) -> None:
        super().__init__(main, mixing)
        self.begun = False
        """Whether the cursor was put where it belongs at first."""
        self._compared = False
        self._view = MixView(self)
        self.table = {
            **{id: main.table[id] for id in SHARED},
            **mix_handlers.table(self),
            "mix.measure": Handler(self._view.next_measure),
            "app.back": Handler(self.dismiss),
            "app.help": Handler(self._help),
        }

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield NameLine(id="name")
            yield StatusLine(id="model")
        yield Static("", id="formula", markup=False)
        yield StatusLine(id="state")
        yield MixedStory(self.go_to, id="voiced")
        yield ModelColumns(id="voices")
        yield ModelCharts(id="lanes")
        yield Static("", id="figures", markup=False)
        yield Static("", id="notes", markup=False)
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        self.bind_pane(self, "mix")
        self.bind_pane(self, "everywhere", SHARED)
        self.bind_pane(self, "suggestions", SHARED)
        self.hear(self.mixing)
        self.mixing.start()
        self.show_all()

    def on_unmount(self) -> None:
        self.mixing.stop()

    # --- actions

    def action_run(self, id: str) -> None:
        self._seeking = 0
        self.trouble = None
        super().action_run(id)
        self.show_all()

    def tell(self, error: LltermError) -> None:
        """A row, where the main screen shows a notice."""
        self.trouble = error

    def play_ended(self, reason: LltermError | str) -> None:
        super().play_ended(reason)
        self.show_all()

    def _help(self) -> None:
        parts = [HelpPart("", self, True)]
        self.app.push_screen(HelpDialog(parts, SIGNS, title="The mix screen", palette=False))

    # --- showing

    def show_note(self) -> None:
        self._view.show_notes()

    def show_changes(self) -> None:
        self._follow()
        self.show_all()

    def _follow(self) -> None:
        """Stay at the end while the story grows there; go to a difference that was asked for."""
        count = len(self.mixing.pieces)
        mode = self.mixing.mix.recipe.mode if self.mixing.mix else ""
        if not self.mixing.looked:
            return
        if isinstance(self.trouble, BackendUnavailable) and not self.mixing.silent:
            self.trouble = None
        compared = mode == "reference"
        if compared != self._compared:
            self._compared = compared
            self.tabled, self.column, self.row = compared, 0, 0
        if not self.begun:
            self.begun = True
            self._moved = compared
        self._moved = self._moved and self.number < count
        if not self._moved:
            self.number = count
        self.mixing.look_at(self.number)
        if self._seeking:
            number = self.mixing.divergence(self.number, self._seeking, self.voice)
            if number is not None:
                self._seeking = 0
                self.go_to(number)
            elif not self.mixing.waiting:
                self._seeking = 0
                self.flash("no model says anything else")

    def show_all(self) -> None:
        self._view.show_all()
        self.show_keys()

    def hints(self) -> Sequence[Hint]:
        """Of keys that do something now and of those that do not, the same ones always."""
        words = {id: _WORDS.get(id) or action_of(id).footer for id in _FIRST}
        named = [(id, self.key(id), word) for id, word in words.items()]
        return [Hint(id, key, word, ready=True) for id, key, word in named if key]

    def key(self, id: str) -> str:
        action = action_of(id)
        pane: Pane = "mix" if action.where == "mix" else "suggestions"
        return key_name(first_key(self.keymap, action, pane))
