"""The mix screen's cursor, columns and mix: what its handlers and its view use."""

from __future__ import annotations

from abc import abstractmethod

from llterm.core.comparison.mixed_place import ModelAtPlace
from llterm.engine.mixture import Mix
from llterm.errors import LltermError, UsageError
from llterm.keymap import Pane
from llterm.session.mix_reader import MixReader
from llterm.ui.keyed_screen import KeyedScreen
from llterm.ui.mix.mixed_story import MixedStory
from llterm.ui.mix.model_columns import ModelColumns
from llterm.ui.weave.panes import Panes


class MixPanes(KeyedScreen):
    """Story, columns, charts; over the main screen, on the same session."""

    def __init__(self, main: Panes, mixing: MixReader) -> None:
        super().__init__(main.keymap)
        self.main = main
        self.session = main.session
        self.mixing = mixing
        self.number = 0
        """The place of the cursor; past the last token: what may come next."""
        self.column = 0
        """0: the mix; then the models."""
        self.row = 0
        self.tabled = False
        self.trouble: LltermError | None = None
        """Why the last step or play ended."""
        self._moved = False
        """Whether the cursor was put somewhere; otherwise it stays after the last token."""
        self._put = False
        """Whether the person moved the cursor: a comparison begins at the first token by itself."""
        self._seeking = 0
        """The direction in which a difference is looked for as soon as it is read."""

    @property
    def pane(self) -> Pane:
        return "mix"

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
    def side(self) -> ModelAtPlace | None:
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

    # --- the cursor

    def sync(self) -> None:
        """Let what is drawn next go where the cursor is."""
        if self._moved and not self.session.player.playing:
            # What is drawn stands here, and the cursor goes on after it.
            self._moved = False
            document = self.session.document
            number = self.number if self._put else len(self.mixing.pieces)
            self.main.editor.go_to(document.display_offset(self.mixing.offset(number)))
            self.main.sync_cursor()

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
        number = self.mixing.divergence(self.number, step, self.voice)
        if number is not None:
            self.go_to(number)
        elif step > 0 and self.mixing.waiting:
            self._seeking = step
        else:
            self.flash("no difference further on" if step > 0 else "no difference before here")

    def toggle_table(self) -> None:
        self.tabled = not self.tabled

    @abstractmethod
    def show_all(self) -> None:
        """Show everything as it is now."""
