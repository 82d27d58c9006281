"""The app: opens the loom, loads the model behind the screen, and leaves nothing behind.

`run_app` is all that the command line knows. What a person sees is in the folders beside this file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import events, on, work
from textual.app import App
from textual.await_remove import AwaitRemove
from textual.binding import Binding
from textual.command import Provider
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter
from textual.message import Message
from textual.notifications import Notify
from textual.timer import Timer
from textual.widget import Widget

from llterm import keymap, paths, state
from llterm.backends.registry import KnownModel, Progress, find_model, open_model
from llterm.core.chat_messages import chat_text
from llterm.core.display_text import area_text, field_text, label_text
from llterm.core.query import Backend
from llterm.core.server_news import HearNews, ServerNews
from llterm.engine.kernel_notes import kernel_notes
from llterm.errors import LltermError
from llterm.keymap import action_of
from llterm.regular_file import present
from llterm.session import looms, stories
from llterm.session.document import Document
from llterm.session.former_bans import ban_lines, former_bans, other_names, with_bans
from llterm.session.loom_models import choose_model, chosen_model
from llterm.session.mix_reader import MixReader
from llterm.session.sampler_choice import SamplerChoice
from llterm.session.session import Session
from llterm.store.late_reads import Unreadable
from llterm.terminal import in_browser, know_alt_keys
from llterm.ui.dialogs.former_bans_dialog import FormerBansDialog
from llterm.ui.job_driver import JobDriver, guard_pastes
from llterm.ui.key_gate import KeyGate
from llterm.ui.keyed_screen import KeyedScreen
from llterm.ui.launch import Launch, ScreenOptions
from llterm.ui.line_filters import InertFilter, NoColor
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.messages import (
    LoadModel,
    OpenLoom,
    OpenLoomScreen,
    OpenMixScreen,
    PlayEnded,
    UnloadModel,
)
from llterm.ui.mix.mix_screen import MixScreen
from llterm.ui.notice_place import place_notices
from llterm.ui.notices import LOG_BUFFER, show_trouble, troubles
from llterm.ui.palette import Commands, Palette
from llterm.ui.theme_files import OWN_COLORS, Themes, load_themes
from llterm.ui.weave import library_handlers
from llterm.ui.weave.weave_screen import WeaveScreen
from llterm.ui.widgets.key_bar import key_name

log = logging.getLogger(__name__)

_COLORS = {"standard": 16, "256": 256, "truecolor": 1 << 24, "windows": 16}
_INERT = InertFilter()
SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT")
"""A dropped connection, a polite end: both save and put the terminal back."""
TERMINAL = 0
"""What Textual reads keys from."""
OTHERS = 4
"""Names of choices that a notice gives."""
FOLLOW = 0.25
"""Seconds between two looks at what another llterm wrote."""
HANG_UP = 1.0
"""Seconds between two looks at whether the terminal is still there."""


def run_app(launch: Launch) -> int:
    """Run the app until the person quits; the exit code.

    Raises LltermError when the loom cannot be opened (nothing is on the screen by then), and when
    the app ended on a fault of its own.
    """
    know_alt_keys()
    guard_pastes()
    following: Launch | None = launch
    typed: Sequence[events.Event] = ()
    while following is not None:
        launch = following
        document = open_document(launch)
        path = document.path
        app = LltermApp(launch, document, typed)
        app.run(mouse=launch.config.ui.mouse)
        if launch.path is None and path is not None:
            _say_where(path, empty=not document.text and not document.chat)
        following, typed = app.following, app.gate.left()
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
        choose_model(path, None)
    elif sys.__stderr__ is not None:
        name = label_text(str(path))
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
    if launch.chat is not None:
        document.set_chat(chat_text(launch.chat))
    return document


class LltermApp(App[None]):
    """Holds the session and the model."""

    CSS_PATH = "llterm.tcss"
    TITLE = "llterm"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider]]] = {Commands}  # type: ignore[assignment]
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("ctrl+q", "quit", "Quit", show=False, system=True),
    ]

    def __init__(
        self, launch: Launch, document: Document, typed: Sequence[events.Event] = ()
    ) -> None:
        """`typed`: keys and pastes that came when the app before this one ended."""
        self._themes = Themes()  # asked for by Textual's own constructor
        super().__init__()
        if self.no_color:
            self._filters = [NoColor(lambda: self.theme_variables)]
        LOG_BUFFER.listen()
        self.gate = KeyGate(self, typed)
        self.launch = launch
        document.bear(self._say_missing)
        self.faulty = False
        """Whether an error that nobody expected ended the app."""
        self._following: Timer | None = None
        """Looks for what another llterm writes to the loom."""
        self.following: Launch | None = None
        """The loom that the person goes on with when this app has ended."""
        drawing = SamplerChoice(document, launch.config.sampling, launch.config.presets)
        self.session = Session(document, drawing)
        self.session.player.speed = launch.config.ui.play_speed or math.inf
        if launch.sampling and not document.read_only:
            self.session.set_sampling(drawing.changed(launch.sampling))
        self._backend: Backend | None = None
        self._mixing = MixReader(self.session)
        self._wanted: KnownModel | None = None
        """The model that was chosen last; None: the one that llterm was started with."""
        self.main = WeaveScreen(
            self.session,
            ScreenOptions(
                keymap.resolve(launch.config.keys, browser=in_browser(os.environ)),
                launch,
                launch.config.ui,
            ),
        )

    def get_default_screen(self) -> WeaveScreen:
        return self.main

    async def on_event(self, event: events.Event) -> None:
        if self.gate.holds(event):
            return
        if isinstance(event, events.Key) and event.key == "escape":
            # It does what it does besides: a key must not mean one thing while a notice lasts.
            self.clear_notifications()
        await super().on_event(event)

    def post_message(self, message: Message) -> bool:
        posted = super().post_message(message)
        if not posted:
            self.gate.keep(message)
        return posted

    def _prune(self, *nodes: Widget, parent: DOMNode | None = None) -> AwaitRemove:
        """Also ends what works for them: their own widgets go first, and what comes back to those
        would find none."""
        for node in nodes:
            self.workers.cancel_node(node)
        return super()._prune(*nodes, parent=parent)

    def on_mount(self) -> None:
        self.gate.open()
        self._install_themes()
        self._install_signals()
        # After `fg` the terminal is empty, and only what changes would be painted.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        for notice in self.launch.config.notices:
            self.notify(notice, markup=False, severity="warning")
        if notice := self.session.document.notice:
            copies = f"{self._key('app.export')} makes a copy to write in."
            if self.session.document.followed:
                self._following = self.set_interval(FOLLOW, self._follow)
                takes = self._key("app.take_over")
                copies = f"What is written there is shown; {takes} takes over. {copies}"
            self.notify(
                f"{notice} {copies}", title="Read-only", severity="warning", markup=False,
                timeout=10,
            )  # fmt: skip
        if damage := self.session.document.damage:
            self.notify(damage, title="Damaged", severity="warning", markup=False, timeout=20)
        self.load_model(self._own_model())
        if self.launch.mix:
            self._open_mix_screen()
        if self.launch.offer and (looms.others(self.session.document.path) or stories.others()):
            self.call_after_refresh(
                library_handlers.open_library, self.main, begin=True, stay=self._offer_former_bans
            )
        else:
            self.call_after_refresh(self._offer_former_bans)

    def _offer_former_bans(self) -> None:
        """What an older llterm banned in every loom is offered to this one, once, then dropped."""
        former = state.read_state().former
        if not former or self.session.document.read_only:
            return
        bans = former_bans(former)

        def drop() -> None:
            state.drop_former()
            if others := other_names(former):
                more = f" and {len(others) - OTHERS} more" if len(others) > OTHERS else ""
                self.notify(
                    f"{', '.join(others[:OTHERS])}{more}: what an older llterm kept for every loom"
                    " is in force nowhere now. llterm.toml says what is.",
                    title="Each loom has its own settings", timeout=12,
                )  # fmt: skip

        def answered(taken: bool) -> None:
            if taken:
                self.session.set_sampling(with_bans(self.session.sampling, bans))
                # Nothing is dropped before the loom has it on disk.
                self.session.document.undo_log.flush()
            drop()

        if lines := ban_lines(bans):
            self.main.ask(FormerBansDialog(lines), answered)
        else:
            drop()

    def _key(self, id: str) -> str:
        """The key of an action that has one everywhere."""
        return key_name(self.main.keymap.keys(action_of(id), "everywhere")[0])

    def _follow(self) -> None:
        """Show what another llterm wrote to this loom since."""
        session = self.session
        if self._following is None or not session.document.followed or self.main.leaving:
            return
        try:
            change = session.follow()
        except LltermError as error:
            self._following.stop()
            show_trouble(self.main, error)
            return
        if change is not None:
            self.main.follow(change)
            if isinstance(self.screen, LoomScreen):
                self.screen.relist()

    def _say_missing(self, missing: Unreadable) -> None:
        """Something of the loom's file cannot be read any more: the work goes on without it."""
        assert missing.trouble is not None
        key = self._key("app.export")
        lines = (
            missing.trouble.cause, f"Missing: {missing.said}.",
            f"What is on screen is all there; {key} saves it elsewhere.",
        )  # fmt: skip
        log.warning("%s", "\n".join(lines))
        self.notify(
            "\n".join(lines), title="The loom's file is damaged", severity="warning",
            markup=False, timeout=12,
        )  # fmt: skip

    @on(OpenLoom)
    def _open_loom(self, message: OpenLoom) -> None:
        """End here and open another loom, or begin one with a text.

        The app starts anew, with these notices: nothing of one story can be left in the other, and
        what is the person's goes along.
        """
        speed = self.session.player.speed
        ui = replace(
            self.main.options.ui, theme=self.theme, play_speed=0.0 if math.isinf(speed) else speed
        )
        config = replace(
            self.launch.config, notices=message.notices, presets=dict(self.session.presets), ui=ui
        )
        self.following = replace(
            self.launch, path=message.path, text=message.text, offer=False, prefix=None,
            rules=None, chat=None, sampling={}, constraint=None, config=config,
        )  # fmt: skip
        self.exit()

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

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        return JobDriver if found is LinuxDriver else found

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), _INERT]

    def notify(self, message: str, *, title: str = "", **how: Any) -> None:
        """A notice. It is no markup, whatever it holds, and inert."""
        super().notify(area_text(message), title=field_text(title), **{**how, "markup": False})

    @on(Notify)
    def _place_notice(self) -> None:
        place_notices(self.screen)

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in SIGNALS:
            if hasattr(signal, name):
                loop.add_signal_handler(getattr(signal, name), self.exit)
        if os.isatty(TERMINAL):
            self.set_interval(HANG_UP, self._leave_lost_terminal)

    def _leave_lost_terminal(self) -> None:
        """A terminal that is gone reads as nothing, for ever, and the signal goes to whoever leads
        its session alone: `make`, for one, does not pass it on."""
        if not os.isatty(TERMINAL):
            self.exit()

    def action_command_palette(self) -> None:
        if not Palette.is_open(cast(App[object], self)):
            self.push_screen(Palette(id="--command-palette"))

    # --- the model

    @work(exclusive=True, group="model", exit_on_error=False)
    async def load_model(self, chosen: KnownModel | None = None) -> None:
        """Open a model behind the screen; the story can be written meanwhile.

        `chosen` takes the place of the one in use once it is ready, and is kept as this loom's;
        None is the one that llterm was started with. A model still being loaded is given up.
        """
        session, loop = self.session, asyncio.get_running_loop()
        self._wanted = chosen
        name = chosen.name if chosen else self.launch.model_name
        session.loading(0.0, name)
        hearing, servers = ExitStack(), list[ServerNews]()

        def progress(share: float) -> None:
            loop.call_soon_threadsafe(tell, share)

        def hear(news: ServerNews) -> None:
            servers.append(news)
            hearing.callback(news.listen(show_absences))

        def awaited() -> bool:
            # What is still under way when it is ready, or given up, comes too late.
            return session.incoming is not None and session.incoming.name == name

        def tell(share: float) -> None:
            if awaited():
                session.loading(share, name)

        def show_absences() -> None:
            if awaited():
                session.loading_waits([away for news in servers for away in news.absences])

        try:
            with hearing:
                backend = await self._open(chosen, progress, hear)
        except LltermError as error:
            session.failed(error)
            if session.source is None:
                log.warning("%s", error)
            else:
                show_trouble(self.main, error)
            return
        await self._take(backend)
        path = session.document.path
        if chosen is not None and path is not None:
            choose_model(path, chosen.typed)

    def _own_model(self) -> KnownModel | None:
        """The model that was chosen for this loom, unless one was typed; None: the configured."""
        launch, path = self.launch, self.session.document.path
        origin = launch.config.origins.get("model")
        typed = origin is not None and origin.kind in ("flag", "environment")
        name = None if typed or launch.mix or path is None else chosen_model(path)
        if name is None:
            return None
        known = None
        with suppress(LltermError):
            known = find_model(name, launch.config)
        if known is None or (known.path is not None and not present(known.path)):
            self.notify(
                f"The model {name}, chosen for this loom, is not there any more.",
                severity="warning",
            )
            return None
        return known

    def _open(
        self, chosen: KnownModel | None, progress: Progress, hear: HearNews
    ) -> Awaitable[Backend]:
        if chosen is None:
            return self.launch.opening(progress, hear)
        launch = self.launch
        return open_model(chosen.typed, launch.config, launch.overrides, progress, hear)

    async def _take(self, backend: Backend) -> None:
        """Let a model be the one in use, and free the one before."""
        await self.main.ready.wait()
        try:
            await self.session.change_model(backend)
        except BaseException:
            await backend.close()
            raise
        before, self._backend = self._backend, backend
        self.main.model_name = backend.name
        for note in kernel_notes(backend):
            self.notify(f"{note}.")
        if before is None and self.launch.constraint is not None:
            with troubles(self.main):
                await self.session.set_constraint(self.launch.constraint)
        document = self.session.document
        something = document.text.strip() or document.chat
        if self.launch.auto_weave and something and self.session.view is None:
            self.main.action_run("weave.start")
        if before is not None:
            await before.close()

    @on(LoadModel)
    def _load_model(self, message: LoadModel) -> None:
        self.load_model(message.known or self._wanted)

    @on(UnloadModel)
    def _unload_model(self) -> None:
        self.run_worker(self.unload_model(), group="unload")

    async def unload_model(self) -> None:
        """Free the memory that the model takes; suggestions stay in sight, stale."""
        self.workers.cancel_group(self, "model")
        self.session.detach()
        before, self._backend = self._backend, None
        if before is not None:
            await before.close()

    # --- screens

    @on(OpenLoomScreen)
    def _open_loom_screen(self) -> None:
        def back(_: None) -> None:
            """Show the suggestions of the place where the story ends now."""
            self.main.suggestions.forget()
            self.main.show_all()

        self.push_screen(LoomScreen(self.main), back)

    @on(OpenMixScreen)
    def _open_mix_screen(self) -> None:
        self.push_screen(MixScreen(self.main, self._mixing))

    @on(PlayEnded)
    def _play_ended(self, message: PlayEnded) -> None:
        """Let the uppermost screen tell it that has a place for that."""
        screens = (one for one in reversed(self.screen_stack) if isinstance(one, KeyedScreen))
        screen = next(screens, self.main)
        if not screen.leaving:
            screen.play_ended(message.reason)

    # --- the end

    async def action_quit(self) -> None:
        self.main.action_run("app.quit")

    def _fatal_error(self) -> None:
        """A fault of ours: all of it in the log, a few words on the terminal, and no locals."""
        log.critical("llterm stopped on a fault of its own", exc_info=True)
        self.faulty = True
        self.panic()

    async def on_unmount(self) -> None:
        """Whatever ended the app: stop, write, close."""
        try:
            await self._close()
        finally:
            if self._backend is not None:
                await self._backend.close()

    async def _close(self) -> None:
        """Write and close the loom; one that cannot be written is rescued. Raises LltermError."""
        document = self.session.document
        unsaved: LltermError | None = None
        try:
            document.secure()
        except LltermError as error:
            unsaved = looms.rescued(document, error)
        try:
            await self.session.close()
        except LltermError as error:
            raise unsaved or error from error
        if unsaved is not None:
            raise unsaved
