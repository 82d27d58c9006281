"""From the main screen to the loom screen, and to other looms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.core.stories import Story
from llterm.ui.dialogs.looms_dialog import LoomChoice, LoomsDialog
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.messages import OpenLoom, OpenLoomScreen
from llterm.ui.weave.exchanging import export, import_file

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    return {
        "app.loom": Handler(lambda: open_loom(screen)),
        "app.looms": Handler(lambda: looms(screen)),
        "app.export": Handler(lambda: export(screen)),
        "app.import": Handler(lambda: import_file(screen)),
    }


def open_loom(screen: WeaveScreen) -> None:
    """The whole tree. What the model writes by itself stops: the tree would change under it."""
    session = screen.session
    session.player.pause()
    session.autopilot.stop()
    session.document.checkpoint()
    screen.app.post_message(OpenLoomScreen())


def looms(screen: WeaveScreen, *, begin: bool = False) -> None:
    """The list of looms. `begin`: llterm was just started, and nothing is written yet."""

    def done(chosen: LoomChoice | None) -> None:
        if chosen is None:
            return
        if isinstance(chosen, Story):
            screen.app.post_message(OpenLoom(None, chosen.text.encode()))
        else:
            screen.app.post_message(OpenLoom(chosen))

    document = screen.session.document
    document.checkpoint()
    document.flush()
    screen.app.push_screen(LoomsDialog(document.path, begin=begin), done)
