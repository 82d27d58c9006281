"""The app: opens the loom, loads the model behind the screen, and leaves nothing behind.

`run_app` is all that the command line knows. Everything a person sees is in `screens/`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import ClassVar, cast

from textual import work
from textual.app import App
from textual.binding import Binding
from textual.command import Provider

from llterm import keymap, paths, state
from llterm.core.display import visible
from llterm.core.query import Backend
from llterm.core.rules import Rules
from llterm.errors import LltermError
from llterm.session import looms
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.ui import journal
from llterm.ui.commands import Commands, Palette
from llterm.ui.launch import Launch
from llterm.ui.options import Options
from llterm.ui.screens.weave import WeaveScreen
from llterm.ui.themes import OWN_COLORS, Themes, load_themes

log = logging.getLogger(__name__)

_COLORS = {"standard": 16, "256": 256, "truecolor": 1 << 24, "windows": 16}
SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT")
"""A dropped connection, a polite end: both save and put the terminal back."""


def run_app(launch: Launch) -> int:
    """Run the app until the person quits; the exit code.

    Raises LltermError when the loom cannot be opened (nothing is on the screen by then), and when
    the app ended on a fault of its own.
    """
    document = open_document(launch)
    path = document.path
    app = LltermApp(launch, document)
    app.run(mouse=launch.config.ui.mouse)
    if launch.path is None and path is not None:
        _say_where(path, empty=not document.text)
    if app.faulty:
        raise LltermError(
            "It stopped on a fault of its own",
            "Everything that was accepted is saved, and typing up to the last second.",
            f"The same command goes on where you were. The log says more: {paths.log_file()}",
        )
    return app.return_code or 0


def _say_where(path: Path, *, empty: bool) -> None:
    """Where a nameless story is kept; an empty one is not kept."""
    if empty:
        path.unlink(missing_ok=True)
        looms.forget(path)
    elif sys.__stderr__ is not None:
        name = visible(str(path).encode("utf-8", "surrogateescape"))
        sys.__stderr__.write(f"Your story is kept in {name}\n")


def open_document(launch: Launch) -> Document:
    """The loom to write in. Flags that were typed change it, as steps that can be undone."""
    path = launch.path or paths.new_loom()
    if launch.text is None and path.exists():
        document = looms.open_loom(path, launch.config.store.backups)
        if document.read_only:
            return document
        if launch.rules is not None:
            document.set_rules(launch.rules)
    else:
        rules = launch.rules or launch.config.weave
        document = Document.create(path, launch.text or b"", rules)
        looms.remember(path)
    if launch.prefix is not None:
        document.set_prefix(launch.prefix)
    return document


class LltermApp(App[None]):
    """Holds the session and the model."""

    CSS_PATH = "llterm.tcss"
    TITLE = "llterm"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider]]] = {Commands}  # type: ignore[assignment]
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("ctrl+q", "quit", "Quit", show=False, system=True)
    ]

    def __init__(self, launch: Launch, document: Document) -> None:
        self._themes = Themes()  # asked for by Textual's own constructor
        super().__init__()
        journal.listen()
        self.launch = launch
        self.faulty = False
        """Whether an error that nobody expected ended the app."""
        self.session = Session(document)
        self._backend: Backend | None = None
        self._rules_before: Rules = document.rules
        self.main = WeaveScreen(
            self.session,
            Options(
                keymap=keymap.resolve(launch.config.keys),
                model_name=launch.model_name,
                named=launch.path is not None,
                keep_choice=lambda name, value: state.keep({name: value}),
                accept_sole=launch.config.ui.accept_sole,
            ),
        )

    def get_default_screen(self) -> WeaveScreen:
        return self.main

    def on_mount(self) -> None:
        self._install_themes()
        self._install_signals()
        for notice in self.launch.config.notices:
            self.notify(notice, markup=False, severity="warning")
        self.load_model()

    def _install_themes(self) -> None:
        self._themes = load_themes(_COLORS.get(self.console.color_system or "", 1 << 24))
        for theme in self._themes.themes.values():
            self.register_theme(theme)
        if self._themes.themes:
            self.theme = self._themes.choose(self.launch.config.ui.theme)
        if self._themes.troubles:
            self.notify(
                "\n".join(self._themes.troubles),
                title="Some themes were passed over",
                severity="warning",
                markup=False,
            )
        self.watch(self, "theme", self._theme_chosen, init=False)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours, for the moment before a theme of ours is there."""
        return dict.fromkeys(OWN_COLORS, "#808080")

    def _theme_chosen(self, name: str) -> None:
        state.keep({"ui.theme": name})

    @property
    def available_themes(self) -> dict[str, object]:  # type: ignore[override]
        """Only themes from our files: others lack the colours that llterm adds."""
        themes = super().available_themes
        own = {name: theme for name, theme in themes.items() if name in self._themes.themes}
        return own or themes  # type: ignore[return-value]

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in SIGNALS:
            if hasattr(signal, name):
                loop.add_signal_handler(getattr(signal, name), self.exit)

    def action_command_palette(self) -> None:
        if not Palette.is_open(cast(App[object], self)):
            self.push_screen(Palette(id="--command-palette"))

    # --- the model

    @work(exclusive=True, group="model", exit_on_error=False)
    async def load_model(self) -> None:
        """Open the model behind the screen; the story can be written meanwhile."""
        session, loop = self.session, asyncio.get_running_loop()
        session.loading(0.0)

        def progress(share: float) -> None:
            loop.call_soon_threadsafe(session.loading, share)

        try:
            backend = await self.launch.opening(progress)
        except LltermError as error:
            log.warning("%s", error)
            session.failed(error)
            return
        self._backend = backend
        # Progress calls that are still under way come before this.
        loop.call_soon(self._model_ready, backend)

    def _model_ready(self, backend: Backend) -> None:
        self.main.model_name = backend.name
        self.session.attach(backend)
        document = self.session.document
        if self.launch.auto_weave and document.text.strip() and self.session.view is None:
            self.main.action_run("weave.start")

    # --- the end

    async def action_quit(self) -> None:
        self.exit()

    def _fatal_error(self) -> None:
        """A fault of ours: all of it in the log, a few words on the terminal, and no locals."""
        log.critical("llterm stopped on a fault of its own", exc_info=True)
        self.faulty = True
        self.panic()

    async def on_unmount(self) -> None:
        """Whatever ended the app: stop, write, close."""
        rules = self.session.document.rules
        if rules != self._rules_before:
            state.keep(state.rules_choices(rules))
        try:
            await self.session.close()
        finally:
            if self._backend is not None:
                await self._backend.close()
