"""The program: panes, help, palette, theme, log, save, quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget

from llterm.core.display import label_text
from llterm.errors import LltermError
from llterm.keymap import action_of
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.jump_screen import JumpScreen
from llterm.ui.dialogs.log import LogDialog
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.weave import edit_handlers, heat_handlers
from llterm.ui.widgets.keybar import key_name

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    return {
        "app.jump": Handler(lambda: jump(screen)),
        "app.back": Handler(lambda: back(screen)),
        "app.save": Handler(lambda: save(screen)),
        "app.palette": Handler(lambda: screen.app.action_command_palette()),
        "app.theme": Handler(lambda: screen.app.search_themes()),
        "app.help": Handler(lambda: screen.app.push_screen(HelpDialog(screen.help_parts()))),
        "app.log": Handler(lambda: screen.app.push_screen(LogDialog())),
        "app.quit": Handler(lambda: leave(screen)),
    }


def jump(screen: WeaveScreen) -> None:
    """To another pane: at once where there is one other, else by its letter."""
    panes: dict[str, Widget] = {"s": screen.editor}
    if screen.suggestions.rows:
        panes["t"] = screen.suggestions
    if screen.heat.display:
        panes["h"] = screen.heat

    def go(letter: str | None) -> None:
        if letter == "h":
            heat_handlers.enter(screen)
        elif letter is not None:
            panes[letter].focus()

    if len(panes) > 2:
        screen.app.push_screen(
            JumpScreen(panes, screen.keymap.keys(action_of("app.jump"), "everywhere")), go
        )
    else:
        go(next((letter for letter, pane in panes.items() if not pane.has_focus), None))


def back(screen: WeaveScreen) -> None:
    """One step back: close find, pause, stop the weave, leave the tree, drop the ghost."""
    if screen.find_bar.display:
        edit_handlers.find_close(screen)
    elif screen.session.player.playing:
        screen.session.player.pause()
    elif screen.session.autopilot.running:
        screen.session.autopilot.stop()
    elif screen.session.continuations.running:
        screen.session.continuations.stop()
    elif screen.session.weaving:
        screen.session.stop()
    elif screen.heat.has_focus:
        heat_handlers.leave(screen)
    elif screen.suggestions.has_focus:
        screen.editor.focus()
    else:
        screen.ghost_off = True
        screen.show_ghost()
        screen.show_keys()


def leave(screen: WeaveScreen) -> None:
    """Quit. Where the story cannot be written, say so first; the second time it is quit."""
    try:
        screen.session.document.secure()
    except LltermError as error:
        if not screen.leaving:
            screen.leaving = True
            key = key_name(screen.first_key("app.export"))
            hint = f"{key} saves it elsewhere. Again, and llterm quits and tries its own folder."
            raise LltermError("The story is not saved", error.cause, hint) from error
    screen.app.exit()


def save(screen: WeaveScreen) -> None:
    """Write now, and say where to."""
    document = screen.session.document
    document.secure()
    if document.path is not None:
        name = label_text(str(document.path))
        screen.app.notify(name, title="Saved", markup=False, timeout=4)
