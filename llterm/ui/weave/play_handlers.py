"""Step, play and autopilot: the model writes on by itself."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from llterm.core.counts import count_of
from llterm.errors import LltermError
from llterm.session.changes import Change
from llterm.ui.dialogs.sentences_dialog import SentencesDialog
from llterm.ui.figures import spoken_speed
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import show_trouble, troubles
from llterm.ui.weave import weave_handlers
from llterm.ui.weave.suggestion_handlers import follow

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    player = screen.session.player

    def landed(change: Change) -> None:
        screen.editor.apply(change)
        screen.suggestions.forget()

    def ended(reason: LltermError | str) -> None:
        if isinstance(reason, LltermError):
            show_trouble(screen, reason)
        else:
            screen.flash(reason)

    autopilot = screen.session.autopilot
    player.landed = autopilot.landed = landed
    player.ended = autopilot.ended = screen.session.continuations.ended = ended

    def ready() -> bool:
        return screen.session.source is not None and not screen.session.document.read_only

    return {
        "play.step": Handler(lambda: step(screen), ready),
        "play.toggle": Handler(lambda: toggle(screen), ready),
        "play.faster": Handler(lambda: pace(screen, 1), ready),
        "play.slower": Handler(lambda: pace(screen, -1), ready),
        "weave.sample": Handler(lambda: sample(screen), ready),
        "weave.keep_lines": Handler(lambda: keep_lines(screen), ready),
        "weave.sentences": Handler(lambda: sentences(screen), ready),
        "weave.autopilot": Handler(lambda: fly(screen), ready),
        "model.toggle": Handler(lambda: rest(screen)),
    }


def step(screen: WeaveScreen) -> None:
    """Draw one token at the cursor."""
    with troubles(screen):
        screen.session.player.step()


def toggle(screen: WeaveScreen) -> None:
    """Draw on from the cursor, or pause."""
    player = screen.session.player
    if player.playing:
        player.pause()
        return
    with troubles(screen):
        player.play()


def fly(screen: WeaveScreen) -> None:
    """Weave and accept for some rounds, or end that."""
    autopilot = screen.session.autopilot
    if autopilot.running:
        autopilot.stop()
        return
    with troubles(screen):
        autopilot.start(screen.options.autopilot)


def sample(screen: WeaveScreen) -> None:
    """Draw continuations at the cursor; they stand above the weave's suggestions."""
    options, document = screen.options, screen.session.document
    if not document.text.strip() and not document.chat:
        weave_handlers.stories(screen)
        return
    screen.session.player.pause()
    screen.session.autopilot.stop()
    with troubles(screen):
        screen.session.continuations.start(
            options.sample_lines, options.sample_tokens, sentence=options.sample_sentence
        )
        screen.ghost_off = False
        screen.suggestions.forget()


def keep_lines(screen: WeaveScreen) -> None:
    """Hang the sampled lines in the loom, less the highlighted one, which may be accepted."""
    row = screen.row
    with troubles(screen):
        kept = screen.session.continuations.keep(row.tail if row is not None else ())
        screen.flash(f"{count_of(kept, 'line')} kept as branches")


def sentences(screen: WeaveScreen) -> None:
    """Pick from whole sentences, round after round; nothing else is drawn meanwhile."""
    if not screen.session.document.text.strip() and not screen.session.document.chat:
        weave_handlers.stories(screen)
        return
    weave_handlers.stop(screen)
    with troubles(screen):
        screen.app.push_screen(
            SentencesDialog(screen.session, screen.options, partial(follow, screen))
        )


def pace(screen: WeaveScreen, by: int) -> None:
    """The next speed, or the one before."""
    player = screen.session.player
    player.faster(by)
    screen.options.keep_choice("ui.play_speed", 0 if math.isinf(player.speed) else player.speed)
    screen.flash(f"plays {spoken_speed(player.speed)}")


def rest(screen: WeaveScreen) -> None:
    """Let the model rest: nothing is evaluated until it is woken."""
    session = screen.session
    session.set_resting(not session.resting)
    screen.flash("the model rests" if session.resting else "the model is awake")
