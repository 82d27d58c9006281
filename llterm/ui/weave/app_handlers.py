"""`app.*`: panes, dialogs, other screens, save, quit. Looms and files: `library_handlers.py`."""

from __future__ import annotations

from textual.widget import Widget

from llterm.backends.registry import KnownModel
from llterm.backends.remote.server_usage import counted, counted_words
from llterm.core.chat_messages import read_chat
from llterm.core.display_text import label_text
from llterm.errors import LltermError
from llterm.formats.dialogue import Dialogue
from llterm.keymap import action_of
from llterm.number_format import count_of
from llterm.session.manuscript import difference
from llterm.session.reader import story_prompt
from llterm.ui.dialogs.chat_dialog import ChatDialog
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.info_dialogs import LogDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.text_dialogs import PrefixDialog
from llterm.ui.external_editor import edit_outside
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.messages import LoadModel, OpenLoomScreen, OpenMixScreen, UnloadModel
from llterm.ui.notices import troubles
from llterm.ui.weave import edit_handlers, heat_handlers, weave_handlers
from llterm.ui.weave.panes import JumpScreen, Panes


def table(screen: Panes, leave: QuitHandler) -> Table:
    """`app.*` by id."""
    session = screen.session
    return {
        "app.jump": Handler(lambda: jump(screen)),
        "app.back": Handler(lambda: back(screen)),
        "app.save": Handler(lambda: save(screen)),
        "app.palette": Handler(lambda: screen.app.action_command_palette()),
        "app.theme": Handler(lambda: screen.app.search_themes()),
        "app.help": Handler(lambda: screen.app.push_screen(HelpDialog(screen.help_parts()))),
        "app.log": Handler(lambda: screen.app.push_screen(LogDialog())),
        "app.quit": Handler(leave),
        "app.settings": Handler(
            lambda: screen.app.push_screen(SettingsDialog(session, screen.options))
        ),
        "app.sampling": Handler(lambda: sampling(screen)),
        "app.prefix": Handler(
            lambda: screen.ask(PrefixDialog(session.document.prefix), session.set_prefix)
        ),
        "app.models": Handler(lambda: choose_model(screen)),
        "app.take_over": Handler(lambda: take_over(screen), lambda: session.document.followed),
        "app.mix": Handler(lambda: screen.app.post_message(OpenMixScreen())),
        "app.chat": Handler(lambda: chat(screen)),
        "app.chat_fold": Handler(
            lambda: screen.chat_header.toggle(), lambda: bool(session.document.chat)
        ),
        "app.loom": Handler(lambda: open_loom(screen)),
        "app.editor": Handler(lambda: write_outside(screen)),
        "app.count": Handler(
            lambda: screen.run_worker(count(screen), group="count", exclusive=True)
        ),
    }


class QuitHandler:
    """Quits. Where the story cannot be written it says so first; the second time it quits."""

    def __init__(self, screen: Panes) -> None:
        self._screen = screen
        self._said = False

    def __call__(self) -> None:
        try:
            self._screen.session.document.secure()
        except LltermError as error:
            if not self._said:
                self._said = True
                key = self._screen.key("app.export")
                hint = (
                    f"{key} saves it elsewhere. Again, and llterm quits and tries its own folder."
                )
                raise LltermError("The story is not saved", error.cause, hint) from error
        self._screen.app.exit()

    def forget(self) -> None:
        """The story could be written again: next time it is said anew."""
        self._said = False


def take_over(screen: Panes) -> None:
    """Write a loom here that another llterm wrote."""
    change = screen.session.take_over()
    screen.editor.read_only = False
    screen.follow(change)
    screen.flash("you write here now")


def jump(screen: Panes) -> None:
    """To another pane: at once where there is one other, else by its letter."""
    panes: dict[str, Widget] = {"s": screen.editor}
    if screen.suggestions.rows:
        panes["t"] = screen.suggestions
    if screen.heat.display:
        panes["h"] = screen.heat

    def go(letter: str) -> None:
        if letter == "h":
            heat_handlers.enter(screen)
        else:
            panes[letter].focus()

    if len(panes) > 2:
        again = screen.keymap.keys(action_of("app.jump"), "everywhere")
        screen.ask(JumpScreen(panes, again), go)
    elif letters := [letter for letter, pane in panes.items() if not pane.has_focus]:
        go(letters[0])


def back(screen: Panes) -> None:
    """One step back: close find, pause, stop the weave, leave the tree, drop the ghost."""
    if screen.find_bar.display:
        edit_handlers.close_find(screen)
    elif screen.session.player.playing:
        screen.session.player.pause()
    elif screen.session.autopilot.running:
        screen.session.autopilot.stop()
    elif screen.session.samples.running:
        screen.session.samples.stop()
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


def save(screen: Panes) -> None:
    """Write now, and say where to."""
    document = screen.session.document
    document.secure()
    if document.path is not None:
        name = label_text(str(document.path))
        screen.app.notify(name, title="Saved", markup=False, timeout=4)


def sampling(screen: Panes) -> None:
    """The sampler panel; with the heat panel's token, what the chain makes of it."""
    panel = screen.heat
    spot = heat_handlers.spot_of(screen) if panel.display and panel.reading is not None else None
    screen.app.push_screen(SamplerDialog(screen.session, spot))


def choose_model(screen: Panes) -> None:
    """Pick another model, or free the memory of the one in use."""
    used = screen.model_name if screen.session.source is not None else ""

    def done(chosen: KnownModel | str) -> None:
        if isinstance(chosen, KnownModel):
            screen.app.post_message(LoadModel(chosen))
        else:
            screen.app.post_message(UnloadModel())

    screen.ask(ModelsDialog(screen.options.launch.config, used), done)


def chat(screen: Panes) -> None:
    """What the story is a reply to."""
    session = screen.session

    def done(dialogue: Dialogue) -> None:
        begun = bool(session.document.text)
        session.set_chat(dialogue.chat)
        screen.show_all()
        if dialogue.reply and begun:
            screen.notify("There is a story already: the reply's beginning is left out.")
        elif dialogue.reply:
            screen.editor.apply(session.edit(0, 0, dialogue.reply))
        if dialogue.chat and session.source is not None and not begun:
            weave_handlers.weave(screen)

    screen.ask(ChatDialog(read_chat(session.document.chat)), done)


def open_loom(screen: Panes) -> None:
    """The whole tree. What the model writes by itself stops: the tree would change under it."""
    session = screen.session
    session.player.pause()
    session.autopilot.stop()
    session.document.checkpoint()
    screen.app.post_message(OpenLoomScreen())


def write_outside(screen: Panes) -> None:
    """The story in $EDITOR; what comes back is one edit, so one undo takes it back."""
    document, editor = screen.session.document, screen.editor
    document.checkpoint()
    text = edit_outside(screen.app, document.text)
    if text is None or text == document.text:
        screen.flash("nothing was changed")
        return
    # Only what differs: stand-ins elsewhere keep the bytes that they stand for.
    change = difference(document.text, text, 0, len(document.text))
    editor.replace(change.text, editor.location(change.start), editor.location(change.stop))
    document.checkpoint()
    screen.sync_cursor()


async def count(screen: Panes) -> None:
    """Words, characters and lines, of the story or the selection, and the story's tokens where
    there is a model; what went over the wire to a server."""
    text = screen.editor.selected_text or screen.session.document.text
    part = "selection: " if screen.editor.selected_text else ""
    lines = text.count("\n") + 1 if text else 0
    pieces = [
        count_of(len(text.split()), "word"),
        count_of(len(text), "character"),
        count_of(lines, "line"),
    ]
    session = screen.session
    if session.source is not None and not part:
        with troubles(screen):
            sight = (await story_prompt(session.document, session.source)).sight
            pieces.append(sight.told(session.source.capabilities.context))
    counts = part + " · ".join(pieces) + counted_words(counted(screen.session.source))
    screen.app.notify(counts, title="Count", markup=False, timeout=6)
