"""The command palette: every action of the registry, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from llterm.keymap import ACTIONS, Action, Pane
from llterm.ui.bindings import first_key
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.weave.weave_screen import WeaveScreen
from llterm.ui.widgets.keybar import key_name


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

    def _offers(self) -> Iterator[tuple[Action, str, _Run]]:
        main = self.screen
        if not isinstance(main, WeaveScreen | LoomScreen):
            return
        panes: tuple[Pane, ...] = ("story", "suggestions")
        if isinstance(main, LoomScreen):
            panes = ("loom",)
        for action in ACTIONS:
            deed = main.table.get(action.id)
            if action.id == "app.palette" or deed is None or not deed.applies():
                continue
            keys = [first_key(main.keymap, action, pane) for pane in panes]
            key = next((key_name(one) for one in keys if one), "")
            yield action, f"{action.help}  ({key})" if key else action.help, _Run(main, action.id)


class _Run:
    """Runs an action when its line is chosen."""

    def __init__(self, main: WeaveScreen | LoomScreen, id: str) -> None:
        self._main = main
        self._id = id

    def __call__(self) -> None:
        self._main.action_run(self._id)
