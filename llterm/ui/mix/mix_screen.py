"""The mix screen: models side by side over one story. What it says is in `mix_view.py`, what keys
do in `mix_handlers.py`; step, play, undo and the sampler panel are the main screen's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Static

from llterm.core.judging.sides import Side
from llterm.engine.mixture import Mix
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.keymap import Action, Pane, action_of
from llterm.session.mixing import Mixing
from llterm.ui.bindings import bind, pane_bindings
from llterm.ui.bridge import Bridge
from llterm.ui.dialogs.help_dialog import HelpDialog, HelpPart
from llterm.ui.messages import SessionChanged
from llterm.ui.mix import mix_handlers, mix_view
from llterm.ui.mix.mixed_story import MixedStory
from llterm.ui.mix.model_charts import ModelCharts
from llterm.ui.mix.model_columns import ModelColumns
from llterm.ui.widgets.keybar import Hint, KeyBar, key_name
from llterm.ui.widgets.status_line import NameLine, StatusLine

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen

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
FLASH = 2.5
"""Seconds that a short note stays."""


class MixScreen(Screen[None]):
    """Story, columns, charts; over the main screen, on the same session."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-middle"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high"), (32, "-tall")]  # noqa: RUF012

    def __init__(self, main: WeaveScreen, mixing: Mixing) -> None:
        super().__init__()
        self.main = main
        self.mixing = mixing
        self.number = 0
        """The place of the cursor; past the last token: what may come next."""
        self.column = 0
        """0: the mix; then the models."""
        self.row = 0
        self.measure = 0
        self.tabled = False
        self.note = ""
        self.trouble: LltermError | None = None
        """Why the last step or play ended."""
        self._moved = False
        """Whether the cursor was put somewhere; otherwise it stays after the last token."""
        self._begun = False
        self._put = False
        """Whether the person moved the cursor: a comparison begins at the first token by itself."""
        self._seeking = 0
        self._compared = False
        self._bridge: Bridge | None = None
        self._ended = main.session.player.ended
        self.table = mix_handlers.table(self)

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
        bind(self, pane_bindings(self.main.keymap, "mix"))
        shared = [*pane_bindings(self.main.keymap, "suggestions"),
                  *pane_bindings(self.main.keymap, "everywhere")]  # fmt: skip
        bind(self, [one for one in shared if one.id in SHARED])
        self._bridge = Bridge(self.mixing, self)
        self.main.session.player.ended = self._play_ended
        self.set_interval(1.0, self._tick)
        self.mixing.start()
        self.show_all()

    def on_unmount(self) -> None:
        self.main.session.player.ended = self._ended
        self.mixing.stop()
        if self._bridge is not None:
            self._bridge.close()

    @property
    def story(self) -> MixedStory:
        return self.query_one("#voiced", MixedStory)

    @property
    def mix(self) -> Mix:
        """Raises UsageError while there is none."""
        if self.mixing.mix is None:
            raise UsageError("The models are not ready", "", "Wait until they are loaded.")
        return self.mixing.mix

    @property
    def voices(self) -> list[int]:
        """The models that have a column; the reference has the mix's own."""
        mix = self.mixing.mix
        if mix is None:
            return []
        alone = mix.recipe.mode == "reference"
        return [n for n in range(len(mix.names)) if not (alone and n == mix.recipe.reference)]

    @property
    def voice(self) -> int | None:
        """Index of the chosen column's model; None: the mix's column."""
        return self.voices[self.column - 1] if 0 < self.column <= len(self.voices) else None

    @property
    def model(self) -> int:
        """The model that keys change: in the mix's column the first."""
        if self.voice is not None:
            return self.voice
        return self.voices[0] if self.voices else 0

    @property
    def muted(self) -> int:
        """The model to leave out: the chosen column's, or in the mix's column the silent one."""
        silent = self.mixing.silent
        return silent[0] if self.voice is None and silent else self.model

    @property
    def side(self) -> Side | None:
        """What the chosen column's model, or the mix, says at the cursor."""
        place = self.mixing.places[self.number] if self.number < len(self.mixing.places) else None
        if place is None:
            return None
        return place.mix if self.voice is None else place.sides[self.voice]

    @property
    def candidate(self) -> int | None:
        """Id of the chosen candidate."""
        side = None if self.tabled else self.side
        return side.top[self.row][0] if side and self.row < len(side.top) else None

    # --- actions

    def action_run(self, id: str) -> None:
        """Do what the action with this id says; errors become a row."""
        self._seeking = 0
        self.trouble = None
        try:
            if id == "app.back":
                self.dismiss()
            elif id == "app.help":
                self._help()
            elif id in self.table:
                self.table[id].run()
            else:
                self.main.table[id].run()
        except LltermError as error:
            self.trouble = error
        self.show_all()

    def sync(self) -> None:
        """Let what is drawn next go where the cursor is."""
        if self._moved and not self.main.session.player.playing:
            # What is drawn stands here, and the cursor goes on after it.
            self._moved = False
            document = self.main.session.document
            number = self.number if self._put else len(self.mixing.pieces)
            self.main.editor.go_to(document.display_offset(self.mixing.offset(number)))
            self.main.sync_cursor()

    def _help(self) -> None:
        parts = [HelpPart("", self, True)]
        self.app.push_screen(HelpDialog(parts, SIGNS, title="The mix screen", palette=False))

    def go_to(self, number: int) -> None:
        """Put the cursor on a place; out of range goes to the nearest."""
        number = min(max(number, 0), len(self.mixing.pieces))
        if number != self.number:
            self.number, self.row = number, 0
        self._moved = number < len(self.mixing.pieces)
        self._put = True
        self.mixing.look_at(number)
        self.mixing.stir()
        self.show_all()

    def pick(self, by: int) -> None:
        """Up or down among the candidates, or the places of the table."""
        if self.tabled:
            self.go_to(self.number + by)
            return
        listed = len(self.side.top) if self.side else 0
        most = min(listed, self.query_one(ModelColumns).rows) - 1
        self.row = min(max(self.row + by, 0), max(most, 0))

    def choose(self, by: int) -> None:
        """The next column."""
        self.column = (self.column + by) % (len(self.voices) + 1)
        self.row = 0

    def seek(self, step: int) -> None:
        """Go to the next difference, as soon as one is read."""
        found = self.mixing.divergence(self.number, step, self.voice)
        if found is not None:
            self.go_to(found)
        elif step > 0 and self.mixing.waiting:
            self._seeking = step
        else:
            self.say("no difference further on" if step > 0 else "no difference before here")

    def next_measure(self) -> None:
        self.measure = (self.measure + 1) % len(mix_view.MEASURES)

    def toggle_table(self) -> None:
        self.tabled = not self.tabled

    def say(self, text: str) -> None:
        """Say something in a row for a moment."""
        self.note = text
        self.set_timer(FLASH, lambda: self._forget(text))

    def _forget(self, text: str) -> None:
        if self.note == text:
            self.note = ""
            self.show_all()

    # --- showing

    def _play_ended(self, reason: LltermError | str) -> None:
        """A row, where the main screen shows a notice."""
        if isinstance(reason, LltermError):
            self.trouble = reason
        else:
            self.say(reason)
        self.show_all()

    def _tick(self) -> None:
        if self.mixing.mix is not None:
            mix_view.show_notes(self, self.mixing.mix)

    @on(SessionChanged)
    def _changed(self) -> None:
        if self._bridge is not None:
            with self._bridge.showing():
                self._follow()
                self.show_all()

    @on(KeyBar.Clicked)
    def _key_clicked(self, message: KeyBar.Clicked) -> None:
        self.action_run(message.id)

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
        if not self._begun:
            self._begun = True
            self._moved = compared
        self._moved = self._moved and self.number < count
        if not self._moved:
            self.number = count
        self.mixing.look_at(self.number)
        if self._seeking:
            found = self.mixing.divergence(self.number, self._seeking, self.voice)
            if found is not None:
                self._seeking = 0
                self.go_to(found)
            elif not self.mixing.waiting:
                self._seeking = 0
                self.say("no model says anything else")

    def show_all(self) -> None:
        """Show everything as it is now."""
        mix_view.show(self)
        hints = []
        for id in _FIRST:
            action = action_of(id)
            key = self.first_key(action)
            if key:
                word = _WORDS.get(id) or action.footer
                hints.append(Hint(id, key_name(key), word, ready=True))
        self.query_one(KeyBar).show(hints)

    def first_key(self, action: Action) -> str:
        """The key to name for an action here."""
        keymap = self.main.keymap
        pane: Pane = "mix" if action.where == "mix" else "suggestions"
        keys = keymap.keys(action, pane) or keymap.keys(action, "everywhere")
        return keys[0] if keys else ""
