"""Choosing the model and the chat: the picker, the dialog, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from llterm.backends.registry import Known
from llterm.core.chat_messages import encode_parts, read_chat
from llterm.core.display import label_text
from llterm.core.tokens import Vocabulary
from llterm.engine.mixture import Mix
from llterm.errors import LltermError
from llterm.formats.dialogue import Dialogue
from llterm.session.chatting import chat_parts
from llterm.ui.actions import Deed, Table
from llterm.ui.actions.weaving import weave
from llterm.ui.screens.chat import ChatDialog
from llterm.ui.screens.models import UNLOAD, Models
from llterm.ui.screens.painting import troubles

if TYPE_CHECKING:
    from llterm.ui.app import LltermApp
    from llterm.ui.screens.weave import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    return {
        "app.models": Deed(lambda: choose(screen)),
        "app.mix": Deed(lambda: mix(screen)),
        "app.chat": Deed(lambda: chat(screen)),
        "app.chat_fold": Deed(lambda: fold(screen), lambda: bool(screen.session.document.chat)),
    }


def choose(screen: WeaveScreen) -> None:
    """Pick another model, or free the memory of the one in use."""
    app = cast("LltermApp", screen.app)
    used = screen.model_name if screen.session.source is not None else ""

    def done(chosen: Known | str | None) -> None:
        if chosen == UNLOAD:
            screen.run_worker(app.unload_model(), group="unload")
        elif isinstance(chosen, Known):
            app.load_model(chosen)

    app.push_screen(Models(app.launch.config, used), done)


def mix(screen: WeaveScreen) -> None:
    """Look at the models of the mix side by side."""
    cast("LltermApp", screen.app).open_mix()


def chat(screen: WeaveScreen) -> None:
    """What the story is a reply to."""
    session = screen.session

    def done(found: Dialogue | None) -> None:
        if found is None:
            return
        with troubles(screen):
            begun = bool(session.document.text)
            session.set_chat(found.chat)
            show_root(screen)
            if found.reply and begun:
                screen.notify("There is a story already: the reply's beginning is left out.")
            elif found.reply:
                screen.editor.apply(session.edit(0, 0, found.reply))
            if found.chat and session.source is not None and not begun:
                weave(screen)

    screen.app.push_screen(ChatDialog(read_chat(session.document.chat)), done)


def fold(screen: WeaveScreen) -> None:
    """Show every token of the template, or one line."""
    screen.root.fold(not screen.root.folded)


def show_root(screen: WeaveScreen) -> None:
    """What stands before the story, as the model in use reads it."""
    root, session = screen.root, screen.session
    root.display = bool(session.document.chat)
    if not root.display:
        return
    source = session.source
    if source is None:
        root.show((), frozenset(), "chat · no model reads it now")
        return
    try:
        parts = chat_parts(session.document, source)
    except LltermError as error:
        root.show((), frozenset(), f"chat · {error.title}")
        return
    tokens = encode_parts(parts, source.vocabulary)
    note = f"chat · {getattr(source, 'chat_format', '')} · {len(tokens)} tokens"
    if isinstance(source, Mix):
        name = label_text(source.chat_reader)
        note = f"chat · as {name} reads it"
    root.show(parts, _special(tokens, source.vocabulary), note)


def _special(tokens: tuple[int, ...], vocabulary: Vocabulary) -> frozenset[str]:
    """Names of the special tokens among these."""
    found = (vocabulary.token(id) for id in set(tokens))
    return frozenset(one.data.decode("utf-8", "replace") for one in found if one.special)
