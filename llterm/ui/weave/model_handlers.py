"""`model.*`, `play.*`, `server.*`: a model that rests, or writes on by itself; what its server can
tell, and how much it is asked at once."""

from __future__ import annotations

import math

from llterm import state
from llterm.backends.remote.server_usage import server_of
from llterm.number_format import count_of, spoken_speed
from llterm.ui.dialogs.info_dialogs import ServerDialog
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.weave.panes import Panes, inserted

MOST = 256
"""Requests at once: no server serves more of one person's."""


def table(screen: Panes) -> Table:
    """`model.*`, `play.*` and `server.*` by id."""

    def ready() -> bool:
        return screen.can_write

    def served() -> bool:
        return server_of(screen.session.source) is not None

    return {
        "model.toggle": Handler(lambda: rest(screen)),
        "play.step": Handler(screen.session.player.step, ready),
        "play.toggle": Handler(lambda: toggle(screen), ready),
        "play.faster": Handler(lambda: pace(screen, 1), ready),
        "play.slower": Handler(lambda: pace(screen, -1), ready),
        "server.show": Handler(lambda: show_server(screen), served),
        "server.more": Handler(lambda: set_parallel(screen, 1), served),
        "server.fewer": Handler(lambda: set_parallel(screen, -1), served),
    }


def rest(screen: Panes) -> None:
    """Let the model rest: nothing is evaluated until it is woken."""
    session = screen.session
    session.set_resting(not session.resting)
    screen.flash("the model rests" if session.resting else "the model is awake")


def toggle(screen: Panes) -> None:
    """Draw on from the cursor, or pause."""
    player = screen.session.player
    if player.playing:
        player.pause()
    else:
        player.play()
        if screen.rest:
            screen.flash(inserted(screen.rest, "inserting"))


def pace(screen: Panes, by: int) -> None:
    """The next speed, or the one before."""
    player = screen.session.player
    player.faster(by)
    state.keep({"ui.play_speed": 0 if math.isinf(player.speed) else player.speed})
    screen.flash(f"plays {spoken_speed(player.speed)}")


def show_server(screen: Panes) -> None:
    """What the server can do, each gap with what it means."""
    server = server_of(screen.session.source)
    if server is not None:
        screen.app.push_screen(ServerDialog(server))


def set_parallel(screen: Panes, by: int) -> None:
    """More or fewer requests in flight, from now on; those under way go on."""
    server = server_of(screen.session.source)
    if server is None:
        return
    transport = server.transport
    transport.set_parallel(min(max(transport.parallel + by, 1), MOST))
    screen.flash(f"{count_of(transport.parallel, 'request')} at once")
