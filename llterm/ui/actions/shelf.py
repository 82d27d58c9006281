"""From the main screen to the loom screen, and to other looms."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from llterm.core.starting_stories import Story
from llterm.ui.actions import Deed, Table
from llterm.ui.actions.exchanging import export, import_file
from llterm.ui.screens.looms import Chosen, Looms

if TYPE_CHECKING:
    from llterm.ui.app import LltermApp
    from llterm.ui.screens.weave import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    return {
        "app.loom": Deed(lambda: open_loom(screen)),
        "app.looms": Deed(lambda: looms(screen)),
        "app.export": Deed(lambda: export(screen)),
        "app.import": Deed(lambda: import_file(screen)),
    }


def open_loom(screen: WeaveScreen) -> None:
    """The whole tree. What the model writes by itself stops: the tree would change under it."""
    from llterm.ui.screens.loom import LoomScreen  # It leads back here, by its own actions.

    session = screen.session
    session.player.pause()
    session.autopilot.stop()
    session.document.checkpoint()
    screen.app.push_screen(LoomScreen(screen), lambda _: after(screen))


def after(screen: WeaveScreen) -> None:
    """Back in the story: the suggestions of the place where it ends now."""
    screen.suggestions.forget()
    screen.show_all()


def looms(screen: WeaveScreen, *, begin: bool = False) -> None:
    """The list of looms. `begin`: llterm was just started, and nothing is written yet."""
    app = cast("LltermApp", screen.app)

    def done(chosen: Chosen | None) -> None:
        if chosen is None:
            return
        if isinstance(chosen, Story):
            app.go_on_with(None, chosen.text.encode())
        else:
            app.go_on_with(chosen, None)

    document = screen.session.document
    document.checkpoint()
    document.flush()
    app.push_screen(Looms(document.path, begin=begin), done)
