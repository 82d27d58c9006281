"""The panes of the main screen, and what handlers, the view and other screens use of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from llterm.core.display_text import label_text
from llterm.core.tokens import Tail
from llterm.keymap import Pane
from llterm.number_format import count_of
from llterm.session.manuscript import Change
from llterm.session.session import Session
from llterm.ui.dialogs.help_dialog import HelpPart
from llterm.ui.keyed_screen import KeyedScreen
from llterm.ui.launch import ScreenOptions
from llterm.ui.weave.chat_header import ChatHeader
from llterm.ui.weave.heat_panel import HeatPanel
from llterm.ui.weave.story_editor import StoryEditor
from llterm.ui.weave.suggestion_pane import SuggestionPane, SuggestionRow
from llterm.ui.widgets.find_bar import FindBar


def inserted(rest: str, how: str = "inserted") -> str:
    """That text went into the story and this one still follows it."""
    words = len(rest.split())
    return f"{how}; {count_of(words, 'word') if words else 'the blank'} after it kept"


class Panes(KeyedScreen):
    """The story, its suggestions and the heat panel, over a session."""

    PALETTE = ("story", "suggestions")

    def __init__(self, session: Session, options: ScreenOptions) -> None:
        super().__init__(options.keymap)
        self.session = session
        self.options = options
        self.model_name = options.launch.model_name
        self.unsaved = False
        """The story could not be written when that was tried last."""
        self.ghost_off = False
        """The person waved the ghost away; the next move in the tree brings it back."""
        self._taken: dict[tuple[int, int], Tail] = {}
        """What was accepted, by the end of the story and the cursor before."""
        self._drawn: object = None
        """Whose suggestions are on screen."""

    @property
    def editor(self) -> StoryEditor:
        return self.query_one("#story", StoryEditor)

    @property
    def suggestions(self) -> SuggestionPane:
        return self.query_one("#tree", SuggestionPane)

    @property
    def heat(self) -> HeatPanel:
        return self.query_one("#heat", HeatPanel)

    @property
    def chat_header(self) -> ChatHeader:
        return self.query_one("#root", ChatHeader)

    @property
    def find_bar(self) -> FindBar[int]:
        """Finds display offsets."""
        return self.query_one("#find", FindBar)

    # --- what stands in them

    @property
    def row(self) -> SuggestionRow | None:
        """The highlighted branch, unless the tree on screen is not the session's any more."""
        return self.suggestions.selected if self._drawn is self.session.shown else None

    @property
    def stale(self) -> bool:
        """Whether the suggestions are of another place. A look round in the heat panel, from which
        the cursor comes back, does not make them so."""
        session, heat = self.session, self.heat
        looking = heat.has_focus and not heat.entered_stale and not session.suggestions.foreign
        return session.stale and not (looking and session.at == heat.entered_at)

    @property
    def previewed(self) -> bool:
        """Whether the highlighted branch's text can be seen at the cursor."""
        return bool(self.editor.ghost)

    @property
    def title_name(self) -> str:
        """The loom's file, where the person chose its name."""
        path = self.session.document.path if self.options.launch.path is not None else None
        return label_text(path.name) if path else "untitled"

    @property
    def blank(self) -> bool:
        """Whether there is nothing to go on from: no text and no chat."""
        document = self.session.document
        return not document.text.strip() and not document.chat

    @property
    def can_write(self) -> bool:
        """Whether a model is ready and the story may change."""
        return self.session.source is not None and not self.session.document.read_only

    # --- keys

    @property
    def pane(self) -> Pane:
        if self.heat.has_focus:
            return "heat"
        return "suggestions" if self.suggestions.has_focus else "story"

    def help_parts(self) -> list[HelpPart]:
        """Keys by pane for the help, the focused pane's first."""
        panes: list[tuple[str, Widget]] = [
            ("In the story", self.editor),
            ("In the suggestions", self.suggestions),
            ("In the heat panel", self.heat),
        ]
        panes.sort(key=lambda pane: not pane[1].has_focus)
        first, *rest = [HelpPart(title, pane, True) for title, pane in panes]
        writing = HelpPart("Writing", self.editor, False)
        return [first, HelpPart("Everywhere", self, True), *rest, writing]

    # --- changes

    def sync_cursor(self) -> None:
        """Tell the session where the cursor is, if it went somewhere."""
        offset = self.editor.offset_of_cursor
        if offset != self.session.document.cursor:
            self.session.document.checkpoint()
            self.session.move(offset)
            self.show_ghost()

    def remember_taken(self, tail: Tail) -> None:
        """Keep which branch is about to be accepted here: an undo highlights it again."""
        self.session.document.checkpoint()
        self._taken[self._place] = tail

    def forget_tree(self) -> None:
        """An undo or redo leads to another tree, or back to one."""
        self.suggestions.forget(self._taken.get(self._place))

    @property
    def _place(self) -> tuple[int, int]:
        document = self.session.document
        return document.loom.head, document.cursor

    @property
    def rest(self) -> str:
        """The story after the cursor."""
        document = self.session.document
        return document.text[document.cursor :]

    def land(self, change: Change) -> None:
        """Show a change of the story that the model made by itself."""
        self.editor.apply(change)
        self.suggestions.forget()

    def follow(self, change: Change) -> None:
        """Show a change that the session made to the story, and what became of the tree."""
        self.land(change)
        self.ghost_off = False
        self.show_all()
        if self.suggestions.has_focus and not self.suggestions.rows:
            self.editor.focus()

    def take(self, change: Change) -> None:
        """Show what was put into the story at the cursor, and say that what follows is kept."""
        self.follow(change)
        if change.text and self.rest:
            self.flash(inserted(self.rest))

    # --- showing

    @abstractmethod
    def show_all(self) -> None:
        """Show what the session has, everywhere."""

    @abstractmethod
    def show_ghost(self) -> None:
        """Show the highlighted branch, or not."""

    @abstractmethod
    def show_heat(self) -> None:
        """Show what the model sees in the story, where somebody looks."""


class JumpScreen(ModalScreen[str]):
    """Gives back the letter that was typed, or None; the jump key itself means the first pane that
    has not the focus."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("escape,ctrl+q", "stay", "Stay", show=False),
    ]

    def __init__(self, panes: Mapping[str, Widget], again: tuple[str, ...]) -> None:
        """`panes` by letter; `again`: the keys that opened this."""
        super().__init__()
        self._panes = panes
        self._again = again

    def compose(self) -> ComposeResult:
        for letter, pane in self._panes.items():
            label = Static(f" {letter} ", classes="jump--letter", markup=False)
            label.styles.offset = pane.region.offset
            yield label

    def action_stay(self) -> None:
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        if event.key in self._again:
            event.stop()
            others = (key for key, pane in self._panes.items() if not pane.has_focus_within)
            self.dismiss(next(others, None))
        elif event.key in self._panes:
            event.stop()
            self.dismiss(event.key)
