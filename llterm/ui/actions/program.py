"""The program: panes, help, palette, theme, log, save, quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.core.display import visible
from llterm.ui.actions import Deed, Table, seeing, writing
from llterm.ui.screens.help import Help
from llterm.ui.screens.log import Log

if TYPE_CHECKING:
    from llterm.ui.screens.weave import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    return {
        "app.focus_tree": Deed(lambda: other_pane(screen)),
        "app.back": Deed(lambda: back(screen)),
        "app.save": Deed(lambda: save(screen)),
        "app.palette": Deed(lambda: screen.app.action_command_palette()),
        "app.theme": Deed(lambda: screen.app.search_themes()),
        "app.help": Deed(lambda: screen.app.push_screen(Help(screen))),
        "app.log": Deed(lambda: screen.app.push_screen(Log())),
        "app.quit": Deed(lambda: screen.app.exit()),
    }


def other_pane(screen: WeaveScreen) -> None:
    """From the story to the suggestions and back."""
    if screen.suggestions.has_focus or not screen.suggestions.rows:
        screen.editor.focus()
    else:
        screen.suggestions.focus()


def back(screen: WeaveScreen) -> None:
    """One step back: close find, pause, stop the weave, leave the tree, drop the ghost."""
    if screen.find_bar.display:
        writing.find_close(screen)
    elif screen.session.player.playing:
        screen.session.player.pause()
    elif screen.session.weaving:
        screen.session.stop()
    elif screen.heat.has_focus:
        seeing.leave(screen)
    elif screen.suggestions.has_focus:
        screen.editor.focus()
    else:
        screen.ghost_off = True
        screen.show_ghost()
        screen.show_keys()


def save(screen: WeaveScreen) -> None:
    """Write now, and say where to."""
    document = screen.session.document
    document.checkpoint()
    document.flush()
    if document.path is not None:
        name = visible(str(document.path).encode("utf-8", "surrogateescape"))
        screen.app.notify(name, title="Saved", markup=False, timeout=4)
