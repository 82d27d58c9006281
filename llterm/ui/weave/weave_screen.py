"""The main screen: the story, its suggestions, and who hears what. Handlers are beside it."""

from __future__ import annotations

import asyncio

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from llterm.backends.served import silent
from llterm.core.query import Source
from llterm.errors import LltermError
from llterm.keymap import ACTIONS, Keymap, Pane, action_of
from llterm.session.session import Session
from llterm.ui.bindings import bind, first_key, pane_bindings
from llterm.ui.bridge import Bridge
from llterm.ui.dialogs.help_dialog import HelpPart
from llterm.ui.keyed_screen import Table
from llterm.ui.messages import (
    BranchChosen,
    BranchHighlighted,
    SessionChanged,
    StoryChanged,
    TokenChosen,
    Trouble,
)
from llterm.ui.notices import show_trouble, troubles
from llterm.ui.screen_options import ScreenOptions
from llterm.ui.weave import (
    app_handlers,
    beginning,
    choosing,
    edit_handlers,
    heat_handlers,
    library_handlers,
    model_handlers,
    play_handlers,
    suggestion_handlers,
    weave_handlers,
    weave_view,
)
from llterm.ui.weave.chat_header import ChatHeader
from llterm.ui.weave.heat_panel import HeatPanel
from llterm.ui.weave.story_editor import StoryEditor
from llterm.ui.weave.suggestion_pane import SuggestionPane
from llterm.ui.weave.suggestion_rows import SuggestionRow
from llterm.ui.widgets.find_bar import FindBar
from llterm.ui.widgets.keybar import Hint, KeyBar, key_name
from llterm.ui.widgets.status_line import NameLine, StatusLine

AUTOSAVE = 0.5
"""Seconds between two looks at whether there is something to write."""
SILENCE = 1.0
"""Seconds between two looks at whether the server that is waited for is there."""
FLASH = 2.5
"""Seconds that a short note stays."""


class WeaveScreen(Screen[None]):
    """Story on the left, suggestions on the right; one under the other where it is narrow."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (Textual's own form)
        (0, "-narrow"),
        (72, "-middle"),
        (100, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high"), (36, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#story"

    def __init__(self, session: Session, options: ScreenOptions) -> None:
        self._focusing = False
        super().__init__()
        self.session = session
        self.options = options
        self.model_name = options.model_name
        self._bridge: Bridge | None = None
        self.ready = asyncio.Event()
        """Set once the panes are there."""
        self._words_at = -1
        self._words = 0
        self._flashing = 0
        self._drawn: object = None
        self.unsaved = False
        """The story could not be written when that was tried last."""
        self.leaving = False
        """The person was told so when they wanted to quit."""
        self.unhealed: tuple[Source, bytes] | None = None
        """The model and the story at which it was told that it heals no words."""
        self.ghost_off = False
        """The person waved the ghost away; the next move in the tree brings it back."""
        self._silent: tuple[str, ...] = ()
        """Models whose servers were away when that was looked at last."""
        self.left_at = 0
        """Where the cursor was when the heat panel was entered."""
        self.left_stale = False
        """Whether the suggestions were those of another place then."""
        self.places: list[int] = []
        self.place = 0
        self.find_from = 0
        self.table: Table = {
            **weave_handlers.table(self),
            **suggestion_handlers.table(self),
            **edit_handlers.table(self),
            **heat_handlers.table(self),
            **play_handlers.table(self),
            **app_handlers.table(self),
            **choosing.table(self),
            **beginning.table(self),
            **library_handlers.table(self),
            **model_handlers.table(self),
        }

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield NameLine(id="name")
            yield StatusLine(id="model")
        with Horizontal(id="panes"):
            with Vertical(id="writing"):
                yield ChatHeader(id="root")
                yield StoryEditor(self.session, id="story")
                yield Static(id="preview", markup=False)
                yield FindBar(id="find")
            with Vertical(id="weaving"):
                yield Static(id="invitation", markup=False)
                yield SuggestionPane(id="tree")
                yield StatusLine(id="branch")
                yield StatusLine(id="found")
        yield HeatPanel(id="heat")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        bind(self, pane_bindings(self.keymap, "everywhere"))
        bind(self.editor, pane_bindings(self.keymap, "story"))
        bind(self.suggestions, pane_bindings(self.keymap, "suggestions"))
        bind(self.heat, pane_bindings(self.keymap, "heat"))
        self.heat.display = False
        self.editor.go_to(self.session.document.cursor)
        self._bridge = Bridge(self.session, self)
        self.set_interval(AUTOSAVE, self.save)
        self.set_interval(SILENCE, self._show_silence)
        self.watch(self, "focused", self._focus_moved, init=False)
        self.show_all()
        self.ready.set()

    def on_unmount(self) -> None:
        if self._bridge is not None:
            self._bridge.close()

    def _focus_moved(self) -> None:
        # The panes learn of it a little later than the screen.
        self.call_later(self.show_keys)

    def set_focus(
        self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False
    ) -> None:
        """Textual paints the whole screen when the focus moves; the two panes do it alone."""
        self._focusing = True
        try:
            super().set_focus(widget, scroll_visible, from_app_focus)
        finally:
            self._focusing = False

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> WeaveScreen:
        if not (self._focusing and not layout and not recompose):
            super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        return self

    # --- panes

    @property
    def editor(self) -> StoryEditor:
        return self.query_one("#story", StoryEditor)

    @property
    def suggestions(self) -> SuggestionPane:
        return self.query_one("#tree", SuggestionPane)

    @property
    def root(self) -> ChatHeader:
        return self.query_one("#root", ChatHeader)

    @property
    def row(self) -> SuggestionRow | None:
        """The highlighted branch, unless the tree on screen is not the session's any more."""
        return self.suggestions.selected if self._drawn is self.session.shown else None

    @property
    def stale(self) -> bool:
        """Whether the suggestions are of another place. A look round in the heat panel, from which
        the cursor comes back, does not make them so."""
        session = self.session
        looking = self.heat.has_focus and not self.left_stale and not session.foreign
        return session.stale and not (looking and session.at == self.left_at)

    @property
    def heat(self) -> HeatPanel:
        return self.query_one("#heat", HeatPanel)

    @property
    def find_bar(self) -> FindBar:
        return self.query_one("#find", FindBar)

    @property
    def pane(self) -> Pane:
        """Which pane's keys count."""
        if self.heat.has_focus:
            return "heat"
        return "suggestions" if self.suggestions.has_focus else "story"

    @property
    def keymap(self) -> Keymap:
        return self.options.keymap

    @property
    def previewed(self) -> bool:
        """Whether the highlighted branch's text can be seen, at the cursor or below the story."""
        return bool(self.editor.ghost) or bool(self.query_one("#preview").display)

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

    def first_key(self, id: str) -> str:
        """The key to name for an action."""
        return first_key(self.keymap, action_of(id), self.pane)

    # --- actions

    def action_run(self, id: str) -> None:
        """Do what the action with this id says."""
        self.sync_cursor()
        with troubles(self):
            self.table[id].run()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of actions that do not apply now fall through to what else they mean."""
        if action != "run" or not parameters:
            return True
        try:
            return self.table[str(parameters[0])].applies()
        except NoMatches:
            return False

    def sync_cursor(self) -> None:
        """Tell the session where the cursor is, if it went somewhere."""
        offset = self.editor.offset_of_cursor
        if offset != self.session.document.cursor:
            self.session.document.checkpoint()
            self.session.move(offset)
            self.show_ghost()

    def save(self) -> None:
        """Write what is not written yet. Where that fails it is said once, and stays in the title
        until it works."""
        failed: LltermError | None = None
        try:
            self.session.document.flush()
        except LltermError as error:
            failed = error
            if not self.unsaved:
                show_trouble(self, error)
        if self.unsaved != bool(failed) or self.session.document.revision != self._words_at:
            self.unsaved = bool(failed)
            self.leaving = self.leaving and self.unsaved
            self.show_title()

    # --- what happened

    @on(SessionChanged)
    def _session_changed(self) -> None:
        if self._bridge is not None:
            with self._bridge.showing():
                self.show_all()
        weave_handlers.accept_sole(self)

    @on(StoryChanged)
    def _story_changed(self) -> None:
        self.show_ghost()
        self.show_keys()

    @on(StoryEditor.SelectionChanged)
    def _cursor_moved(self) -> None:
        self.sync_cursor()
        self.show_heat()

    @on(BranchHighlighted)
    def _branch_highlighted(self) -> None:
        self.show_ghost()
        weave_view.show_branch(self)

    @on(BranchChosen)
    def _branch_chosen(self) -> None:
        self.action_run("suggestion.accept")

    @on(TokenChosen)
    def _token_chosen(self, message: TokenChosen) -> None:
        if not self.heat.in_story:
            return
        place = self.session.reader.places[message.number]
        self.editor.go_to(self.session.document.display_offset(place.start))
        self.editor.scroll_cursor_visible()

    @on(Trouble)
    def _trouble(self, message: Trouble) -> None:
        show_trouble(self, message.error)

    @on(KeyBar.Clicked)
    def _key_clicked(self, message: KeyBar.Clicked) -> None:
        if self.table[message.id].applies():
            self.action_run(message.id)

    @on(ChatHeader.Toggled)
    def _root_toggled(self) -> None:
        self.action_run("app.chat_fold")

    @on(FindBar.Wanted)
    def _find_wanted(self, message: FindBar.Wanted) -> None:
        edit_handlers.find(self, message.text)

    @on(FindBar.Step)
    def _find_step(self, message: FindBar.Step) -> None:
        edit_handlers.find_step(self, message.by)

    # --- showing

    def show_all(self) -> None:
        """Show what the session has, everywhere."""
        view = self.session.view
        self._drawn = self.session.shown
        choosing.show_root(self)
        before = self.session.document.bytes_before(self.session.at)
        branches = view.branches if view else ()
        self.suggestions.show(branches, stale=self.stale, before=before)
        self.show_ghost()
        self.show_heat()
        self.show_title()
        weave_view.show_branch(self)
        weave_view.show_found(self)
        self.show_keys()

    def _show_silence(self) -> None:
        """A server that is away changes nothing that would be told otherwise."""
        gone = silent(self.session.source) if self.session.weaving else ()
        if gone != self._silent:
            self._silent = gone
            weave_view.show_found(self)

    def show_ghost(self) -> None:
        weave_view.show_ghost(self)

    def show_heat(self) -> None:
        if self.heat.display:
            weave_view.show_heat(self)

    def show_title(self) -> None:
        document = self.session.document
        if document.revision != self._words_at:
            self._words_at = document.revision
            self._words = len(document.text.split())
        weave_view.show_title(self, self._words)
        weave_view.show_sight(self)

    def show_keys(self) -> None:
        """The footer, for the focused pane."""
        pane = self.pane
        hints = []
        for action in ACTIONS:
            key = first_key(self.keymap, action, pane)
            if action.footer and key:
                ready = self.table[action.id].applies()
                hints.append(Hint(action.id, key_name(key), action.footer, ready))
        self.query_one("#keys", KeyBar).show(weave_view.choose_hints(hints))

    def flash(self, text: str) -> None:
        """Say something in the line under the tree for a moment."""
        self.query_one("#branch", StatusLine).say(text)
        self._flashing += 1
        turn = self._flashing
        self.set_timer(FLASH, lambda: self._end_flash(turn))

    @property
    def flashing(self) -> bool:
        return self._flashing > 0

    def _end_flash(self, turn: int) -> None:
        if turn != self._flashing:
            return
        self._flashing = 0
        weave_view.show_branch(self)
