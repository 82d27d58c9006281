"""The main screen: the story, its suggestions, and who hears what.

What keys do stands in the handlers beside it, named after the actions; what is shown in
`weave_view.py`.
"""

from __future__ import annotations

import asyncio

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static

from llterm.errors import LltermError
from llterm.session.manuscript import Change
from llterm.session.session import Session
from llterm.ui.launch import ScreenOptions
from llterm.ui.messages import (
    BranchChosen,
    BranchHighlighted,
    PlayEnded,
    StoryChanged,
    TokenChosen,
    Trouble,
)
from llterm.ui.notices import show_trouble
from llterm.ui.weave import (
    app_handlers,
    edit_handlers,
    heat_handlers,
    library_handlers,
    model_handlers,
    suggestion_handlers,
    weave_handlers,
)
from llterm.ui.weave.chat_header import ChatHeader
from llterm.ui.weave.heat_panel import HeatPanel
from llterm.ui.weave.panes import Panes, inserted
from llterm.ui.weave.story_editor import StoryEditor
from llterm.ui.weave.suggestion_pane import SuggestionPane
from llterm.ui.weave.weave_view import WeaveView
from llterm.ui.widgets.find_bar import FindBar
from llterm.ui.widgets.key_bar import KeyBar
from llterm.ui.widgets.status_line import NameLine, StatusLine

AUTOSAVE = 0.5
"""Seconds between two looks at whether there is something to write."""


class WeaveScreen(Panes):
    """Story on the left, suggestions on the right; one under the other where it is narrow."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-middle"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high"), (36, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#story"

    def __init__(self, session: Session, options: ScreenOptions) -> None:
        self._focusing = False
        super().__init__(session, options)
        self._view = WeaveView(self)
        self._leave = app_handlers.QuitHandler(self)
        self.ready = asyncio.Event()
        """Set once the panes are there."""
        self.table = {
            **weave_handlers.table(self),
            **suggestion_handlers.table(self),
            **edit_handlers.table(self),
            **heat_handlers.table(self),
            **model_handlers.table(self),
            **app_handlers.table(self, self._leave),
            **library_handlers.table(self),
        }
        self._hear_the_model()

    def _hear_the_model(self) -> None:
        """Show what it writes by itself, and tell why that ends."""
        player, autopilot = self.session.player, self.session.autopilot

        def ended(reason: LltermError | str) -> None:
            self.app.post_message(PlayEnded(reason))

        def landed(change: Change) -> None:
            if self.leaving:
                return
            self.land(change)
            if self.rest and not player.playing:
                self.flash(inserted(self.rest))

        player.landed = autopilot.landed = landed
        player.ended = autopilot.ended = self.session.samples.ended = ended

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield NameLine(id="name")
            yield StatusLine(id="model")
        with Horizontal(id="panes"):
            with Vertical(id="writing"):
                yield ChatHeader(id="root")
                yield StoryEditor(self.session, id="story")
                yield FindBar(id="find")
            with Vertical(id="weaving"):
                yield Static(id="invitation", markup=False)
                yield SuggestionPane(id="tree")
                yield StatusLine(id="branch")
                yield StatusLine(id="found")
        yield HeatPanel(id="heat")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        self.bind_pane(self, "everywhere")
        self.bind_pane(self.editor, "story")
        self.bind_pane(self.suggestions, "suggestions")
        self.bind_pane(self.heat, "heat")
        self.heat.display = False
        self.editor.go_to(self.session.document.cursor)
        self.hear(self.session)
        self.set_interval(AUTOSAVE, self.save)
        self.watch(self, "focused", self._focus_moved, init=False)
        self.show_all()
        self.ready.set()

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

    # --- actions

    def action_run(self, id: str) -> None:
        self.sync_cursor()
        super().action_run(id)

    def save(self) -> None:
        """Write what is not written yet. Where that fails it is said once, and stays in the title
        until it works."""
        failed: LltermError | None = None
        try:
            self.session.document.undo_log.flush()
        except LltermError as error:
            failed = error
            if not self.unsaved:
                show_trouble(self, error)
        if self.unsaved != bool(failed) or self._view.title_old:
            self.unsaved = bool(failed)
            if not failed:
                self._leave.forget()
            self._view.show_title()

    # --- what happened

    def show_changes(self) -> None:
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
        self._view.show_branch()
        self.show_keys()

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

    @on(ChatHeader.Toggled)
    def _root_toggled(self) -> None:
        self.action_run("app.chat_fold")

    @on(FindBar.PhraseChanged)
    def _phrase_changed(self, message: FindBar.PhraseChanged) -> None:
        edit_handlers.find(self, message.text)

    @on(FindBar.Stepped)
    def _find_stepped(self, message: FindBar.Stepped) -> None:
        edit_handlers.show_place(self, self.find_bar.step(message.by))

    # --- showing

    def show_all(self) -> None:
        self._drawn = self.session.shown
        self._view.show_all()
        self.show_keys()

    def show_ghost(self) -> None:
        self._view.show_ghost()

    def show_heat(self) -> None:
        if self.heat.display:
            self._view.show_heat()

    def show_note(self) -> None:
        self._view.show_branch()
        self._view.show_found()
