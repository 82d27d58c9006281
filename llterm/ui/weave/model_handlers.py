"""A model on a server: what it can tell, and how much it is asked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.backends.served import server_of
from llterm.core.counts import count_of
from llterm.ui.dialogs.info_dialogs import ServerDialog
from llterm.ui.keyed_screen import Handler, Table

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen

MOST = 256
"""Requests at once: no server serves more of one person's."""


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""

    def served() -> bool:
        return server_of(screen.session.source) is not None

    return {
        "server.show": Handler(lambda: show(screen), served),
        "server.more": Handler(lambda: set_parallel(screen, 1), served),
        "server.fewer": Handler(lambda: set_parallel(screen, -1), served),
    }


def show(screen: WeaveScreen) -> None:
    """What the server can do, each gap with what it means."""
    server = server_of(screen.session.source)
    if server is not None:
        screen.app.push_screen(ServerDialog(server))


def set_parallel(screen: WeaveScreen, by: int) -> None:
    """More or fewer requests in flight, from now on; those under way go on."""
    server = server_of(screen.session.source)
    if server is None:
        return
    wire = server.wire
    wire.set_parallel(min(max(wire.parallel + by, 1), MOST))
    screen.flash(f"{count_of(wire.parallel, 'request')} at once")
