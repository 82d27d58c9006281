"""The command palette: every action of the registry, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from llterm.keymap import ACTIONS, Action
from llterm.ui.keyed_screen import KeyedScreen, first_key
from llterm.ui.widgets.key_bar import key_name


class Palette(CommandPalette):
    """Textual's own, less a fault: a page key pressed before the first line is laid out."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):
            super()._action_command_list(action)


class Commands(Provider):
    """Offers what applies now. Moving about in the tree is left to its keys."""

    async def discover(self) -> Hits:
        for _, text, run in self._offers():
            yield DiscoveryHit(text, run)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, text, run in self._offers():
            score = max(matcher.match(text), matcher.match(action.id))
            if score > 0:
                yield Hit(score, matcher.highlight(text), run, text=text)

    def _offers(self) -> Iterator[tuple[Action, str, Callable[[], None]]]:
        screen = self.screen
        if not isinstance(screen, KeyedScreen) or not screen.PALETTE:
            return
        for action in ACTIONS:
            handler = screen.table.get(action.id)
            if action.id == "app.palette" or handler is None or not handler.applies():
                continue
            keys = [first_key(screen.keymap, action, pane) for pane in screen.PALETTE]
            name = key_name(next(filter(None, keys), ""))
            run = partial(screen.action_run, action.id)
            yield action, f"{action.help}  ({name})" if name else action.help, run
