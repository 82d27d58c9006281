"""Keys, clicks and pastes, one after the other: each acts where the one before it has led.

Textual runs a bound key at once while letters still wait in a widget, and moves the focus some
messages later. What comes in one burst, as a slow line delivers it, would overtake: a dialog would
close before it has its text, and text would go where the focus was. So an event from the terminal
waits here until the app has come to rest. The only file that looks into Textual's queues.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any
from weakref import WeakSet

from textual.app import App
from textual.command import CommandPalette
from textual.events import Event, InputEvent, Paste
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import Worker

AWAITED = "awaited"
"""The group of a worker that keys wait for, because it decides what they act on. None may ask a
model: that takes as long as it likes."""
_GROUPS = (AWAITED, CommandPalette._GATHER_COMMANDS_GROUP)
_QUICK = 100
"""Turns of the event loop in which nearly everything comes to rest."""
_PAUSE = 0.002
"""Seconds between two looks afterwards: at what waits for a thread, or for the next frame."""
MOST = 1000
"""Looks after which something is taken for stuck, and no key waits for it any more. They are
counted, not timed: on a busy machine everything takes longer."""

_UNSEEN = 0.1
"""Seconds without painting while more keys wait."""
_FRAME = 0.025
"""Seconds in which what they did is painted then."""


class KeyGate:
    """Lets one event through at a time."""

    def __init__(self, app: App[Any], typed: Sequence[Event] = ()) -> None:
        """`typed`: what was pressed before this app was there."""
        self._app = app
        self._waiting = deque(typed)
        self._passing: Event | None = None
        self._place: object = None
        """Screen and focus that the last event found."""
        self._stuck: WeakSet[MessagePump | Worker[Any]] = WeakSet()
        self._task: asyncio.Task[None] | None = None

    def holds(self, event: Event) -> bool:
        """Whether an event has to wait for its turn; the app gets it again then."""
        if event is self._passing:
            self._passing = None
            if self._ended:
                self._waiting.appendleft(event)
            return self._ended
        if not isinstance(event, InputEvent | Paste) or event.is_forwarded:
            return False
        if self._ended:
            self._waiting.append(event)
            return True
        if self._free():
            self._place = self._here
            return False
        self._waiting.append(event)
        self.open()
        return True

    def open(self) -> None:
        """Let through what waits; the app is running."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._let_through())

    def left(self) -> list[Event]:
        """What has not been let through, when the app has ended."""
        unread: deque[Message | None] = self._app._message_queue.values
        for message in unread:
            self.keep(message)
        first = [] if self._passing is None else [self._passing]
        return [*first, *self._waiting]

    def keep(self, message: Message | None) -> None:
        """Something came when the app was ending: what is from the terminal is kept."""
        if isinstance(message, InputEvent | Paste) and not (
            message.is_forwarded or message is self._passing
        ):
            self._waiting.append(message)

    @property
    def busy(self) -> bool:
        """Whether something waits, or the last event is still being acted on."""
        return bool(self._waiting or self._passing) or self._under_way() is not None

    @property
    def stuck(self) -> bool:
        """Whether something does not come to rest, so that keys no longer wait for it."""
        return bool(self._stuck)

    # --- inner workings

    async def _let_through(self) -> None:
        try:
            while self._waiting and not self._ended:
                await self._rest(self._under_way)
                self._let_one_through()
                if self._waiting:
                    await self._catch_up()
        except Exception as fault:  # noqa: BLE001 (a gate that fell shut would be a dead keyboard)
            self._app._handle_exception(fault)

    def _free(self) -> bool:
        """Whether the event that the app has in hand may act at once, as one key alone may."""
        before = self._waiting or self._passing or (self._task and not self._task.done())
        behind = self._app.message_queue_size or self._app._pending_message
        return not (before or behind or self._under_way(but=self._app))

    def _let_one_through(self) -> None:
        if not self._ended:
            self._place = self._here
            self._passing = self._waiting.popleft()
            self._passing.set_sender(self._app)
            self._app.post_message(self._passing)

    async def _catch_up(self) -> None:
        """More waits: let it act for a while without painting in between, so that what a held key
        has piled up does not go on long after it was let go."""
        end = monotonic() + _UNSEEN
        with self._app.batch_update():
            while self._waiting and monotonic() < end:
                await self._rest(self._acting)
                if self._ended or self._here != self._place:
                    break
                self._let_one_through()
        if not self._ended:
            self._app.screen.check_idle()
        if self._waiting and monotonic() >= end:
            await asyncio.sleep(_FRAME)

    async def _rest(self, under_way: Callable[[], MessagePump | Worker[Any] | None]) -> None:
        """Until the last event has been acted on, with all that came of it."""
        looks = 0
        while not self._ended and (busy := under_way()) is not None:
            looks += 1
            if looks > _QUICK + MOST and busy is not self._app:
                self._stuck.add(busy)
            await asyncio.sleep(0 if looks < _QUICK else _PAUSE)

    def _acting(self, but: MessagePump | None = None) -> MessagePump | Worker[Any] | None:
        """Something other than this that has not come to rest; None where all has."""
        for pump in self._pumps():
            if not _resting(pump):
                if pump is not but and pump not in self._stuck:
                    return pump
            elif self._stuck:
                self._stuck.discard(pump)
        if self._app.workers:
            for worker in self._app.workers:
                if worker.group in _GROUPS and not worker.is_finished and worker not in self._stuck:
                    return worker
        return None

    def _under_way(self, but: MessagePump | None = None) -> MessagePump | Worker[Any] | None:
        """As `_acting`; a screen or pane that is new to the keys is drawn besides. They may go by
        its size, or by what it does once it has one."""
        screen = self._app.screen
        drawing = screen._layout_required or bool(screen._callbacks)
        if drawing and self._here != self._place and screen not in self._stuck:
            return self._acting(but) or screen
        return self._acting(but)

    @property
    def _ended(self) -> bool:
        """Whether nothing acts on keys any more: they are the next app's (`left`)."""
        return self._app._exit or not self._app._screen_stack

    @property
    def _here(self) -> object:
        return self._app.screen, self._app.focused

    def _pumps(self) -> Iterator[MessagePump]:
        """All that handle messages, those first that an event passes."""
        yield from (self._app.focused or self._app.screen).ancestors_with_self
        nodes = list(self._app.screen_stack)
        while nodes:
            node = nodes.pop()
            yield node
            nodes.extend(node.children)  # type: ignore[arg-type]


def _resting(pump: MessagePump) -> bool:
    """Whether it waits for a message and none is there, or will handle none any more."""
    ready: asyncio.Event = pump._message_queue.ready_event
    return (bool(ready._waiters) and not ready.is_set()) or pump._closing or pump._closed
