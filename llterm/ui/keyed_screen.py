"""A full screen with keys of its own: what each does, the footer, and short notes.

The only file that touches Textual's binding maps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import events, on
from textual.binding import Binding, BindingsMap
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.screen import Screen

from llterm.core.display_text import label_text
from llterm.errors import LltermError
from llterm.keymap import ACTIONS, Action, Keymap, Pane, action_of
from llterm.ui.bridge import Bridge, Observable
from llterm.ui.messages import SessionChanged
from llterm.ui.notice_place import place_notices
from llterm.ui.notices import show_trouble, troubles
from llterm.ui.widgets.key_bar import MOST, Hint, KeyBar, key_name


def first_key(keymap: Keymap, action: Action, pane: Pane) -> str:
    """The key to show for an action while `pane` has the focus; empty where it has none."""
    keys = keymap.keys(action, pane) or keymap.keys(action, "everywhere")
    return keys[0] if keys else ""


Answer = TypeVar("Answer")
_WITH_A_WORD = tuple(action for action in ACTIONS if action.footer)
QUOTED = 40
"""Characters of a text that is named by its beginning."""
_LAST = ("app.help",)
"""Hints that keep their place in the footer however narrow it is."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Handler:
    """What an action does, and whether it does anything now."""

    run: Callable[[], object]
    applies: Callable[[], bool] = _always


Table = dict[str, Handler]
"""By action id: what keys, palette and mouse can do on a screen."""


class KeyedScreen(Screen[None]):
    """Subclasses fill the table and say which pane's keys count.

    Every binding runs `screen.run(id)`. A pane's own binding stands before one it inherits for the
    same key, which stays reachable when the action does not apply (`right` at a ghost, `right`
    elsewhere).
    """

    FLASH: ClassVar[float] = 2.5
    """Seconds that a short note stays; 0: until something else is said."""
    PALETTE: ClassVar[tuple[Pane, ...]] = ()
    """The panes whose actions the command palette offers here."""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self.keymap = keymap
        """The keys in force."""
        self.table: Table = {}
        self.bridge: Bridge | None = None
        self.note = ""
        """Said for a moment, in the place of what stands there."""
        self._flashes = 0

    @property
    @abstractmethod
    def pane(self) -> Pane:
        """The pane whose keys count."""

    @abstractmethod
    def show_note(self) -> None:
        """Show the note, or what stands in its place without one."""

    def key(self, id: str) -> str:
        """The key to name for an action; empty where it has none here."""
        return key_name(first_key(self.keymap, action_of(id), self.pane))

    def bind_pane(self, node: DOMNode, pane: Pane, only: Collection[str] | None = None) -> None:
        """Give a node the keys of a pane, or of everywhere: all actions, or only these."""
        added = BindingsMap(
            Binding(key, f"screen.run('{action.id}')", action.help, show=False, id=action.id,
                    priority=pane == "everywhere")
            for action in ACTIONS
            if only is None or action.id in only
            for key in self.keymap.keys(action, pane)
        ).key_to_bindings  # fmt: skip
        inherited = node._bindings.key_to_bindings
        node._bindings.key_to_bindings = {
            **inherited,
            **{key: [*new, *inherited.get(key, [])] for key, new in added.items()},
        }

    # --- actions

    def action_run(self, id: str) -> None:
        """Do what the action with this id says."""
        with troubles(self, self.tell):
            self.table[id].run()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of actions that do not apply now fall through to what else they mean."""
        if action != "run" or not parameters:
            return True
        try:
            return self.table[str(parameters[0])].applies()
        except NoMatches:
            return False

    def tell(self, error: LltermError) -> None:
        """Tell what went wrong."""
        show_trouble(self, error)

    def play_ended(self, reason: LltermError | str) -> None:
        """Tell why what the model wrote by itself ended."""
        if isinstance(reason, LltermError):
            self.tell(reason)
        else:
            self.flash(reason)

    def ask(
        self,
        dialog: Screen[Answer],
        done: Callable[[Answer], object],
        given_up: Callable[[], object] = lambda: None,
    ) -> None:
        """Open a dialog; what it gives back goes to `done`, unless the person gave up."""

        def answered(answer: Answer | None) -> None:
            with troubles(self):
                if answer is not None:
                    done(answer)
                else:
                    given_up()

        self.app.push_screen(dialog, answered)

    @on(KeyBar.Clicked)
    def _key_clicked(self, message: KeyBar.Clicked) -> None:
        if self.table[message.id].applies():
            self.action_run(message.id)

    # --- showing

    @on(events.ScreenResume)
    @on(events.Resize)
    def _place_notices(self) -> None:
        self.call_after_refresh(place_notices, self)

    def hear(self, source: Observable) -> None:
        """Show what changes in it from now on."""
        self.bridge = Bridge(source, self)

    def on_unmount(self) -> None:
        if self.bridge is not None:
            self.bridge.close()

    @property
    def leaving(self) -> bool:
        """Whether it is being taken away. Its widgets go before it does: what somebody else still
        tells it has no place to be shown."""
        return not self.display

    @on(SessionChanged)
    def _changed(self) -> None:
        if self.bridge is not None:
            with self.bridge.showing():
                self.show_changes()

    def show_changes(self) -> None:
        """Show what has changed in what this screen hears."""

    def flash(self, text: str) -> None:
        """Say something for a moment."""
        self.note = text
        self._flashes += 1
        number = self._flashes
        self.show_note()
        if self.FLASH:
            self.set_timer(self.FLASH, lambda: self._end_flash(number))

    def tell_left(self, rest: str) -> None:
        """Say that this text of the story is a branch now."""
        if rest:
            self.flash(f"the rest stays as a branch: {label_text(rest[:QUOTED].strip())}")

    def _end_flash(self, number: int) -> None:
        if number == self._flashes:
            self.note = ""
            self.show_note()

    def hints(self) -> Sequence[Hint]:
        """The footer: the actions that have a word for it, with a key of this pane."""
        hints, pane = [], self.pane
        for action in _WITH_A_WORD:
            key = first_key(self.keymap, action, pane)
            if action.id in self.table and key:
                ready = self.table[action.id].applies()
                hints.append(Hint(action.id, key_name(key), action.footer, ready))
        return choose_hints(hints)

    def show_keys(self) -> None:
        """Show the footer."""
        self.query_one(KeyBar).show(self.hints())


def choose_hints(hints: Sequence[Hint]) -> list[Hint]:
    """Those that do something now first, in the registry's order; help always."""
    last = [hint for hint in hints if hint.id in _LAST]
    ready = [hint for hint in hints if hint.id not in _LAST and hint.ready]
    return [*ready[: MOST - len(last)], *last]
