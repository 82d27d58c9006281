"""`play.*`: the model writes on by itself, token by token."""

from __future__ import annotations

import math

from llterm.number_format import spoken_speed
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import troubles
from llterm.ui.weave.panes import Panes


def table(screen: Panes) -> Table:
    """`play.*` by id."""

    def ready() -> bool:
        return screen.can_write

    return {
        "play.step": Handler(lambda: step(screen), ready),
        "play.toggle": Handler(lambda: toggle(screen), ready),
        "play.faster": Handler(lambda: pace(screen, 1), ready),
        "play.slower": Handler(lambda: pace(screen, -1), ready),
    }


def step(screen: Panes) -> None:
    """Draw one token at the cursor."""
    with troubles(screen):
        screen.session.player.step()


def toggle(screen: Panes) -> None:
    """Draw on from the cursor, or pause."""
    player = screen.session.player
    if player.playing:
        player.pause()
        return
    with troubles(screen):
        player.play()


def pace(screen: Panes, by: int) -> None:
    """The next speed, or the one before."""
    player = screen.session.player
    player.faster(by)
    screen.options.keep_choice("ui.play_speed", 0 if math.isinf(player.speed) else player.speed)
    screen.flash(f"plays {spoken_speed(player.speed)}")
