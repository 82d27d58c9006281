"""The weave: start, again, stop, grow, cutoff, settings, hidden prefix, starting stories."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llterm.core.rules import Rules
from llterm.core.starting_stories import Story
from llterm.ui.actions import Deed, Table
from llterm.ui.screens.constrain import Constrain
from llterm.ui.screens.painting import troubles
from llterm.ui.screens.prefix import Prefix
from llterm.ui.screens.settings import Settings
from llterm.ui.screens.stories import Stories

if TYPE_CHECKING:
    from llterm.ui.screens.weave import WeaveScreen

CUTOFFS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""What the keys step through: each admits noticeably more or fewer branches than the next."""


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    session = screen.session

    def can_grow() -> bool:
        row = screen.row
        there = row is not None and not row.branch.banned and not row.branch.sampled
        return there and not session.stale and session.source is not None

    return {
        "weave.start": Deed(lambda: weave(screen)),
        "weave.again": Deed(lambda: weave(screen)),
        "weave.stop": Deed(lambda: stop(screen), lambda: _busy(screen)),
        "weave.grow": Deed(lambda: grow(screen), can_grow),
        "weave.cutoff_down": Deed(lambda: step_cutoff(screen, -1)),
        "weave.cutoff_up": Deed(lambda: step_cutoff(screen, 1)),
        "weave.diverse": Deed(lambda: diverse(screen)),
        "weave.constrain": Deed(
            lambda: constrain(screen), lambda: screen.session.source is not None
        ),
        "app.settings": Deed(lambda: settings(screen)),
        "app.prefix": Deed(lambda: prefix(screen)),
        "app.stories": Deed(lambda: stories(screen)),
    }


def weave(screen: WeaveScreen) -> None:
    """Weave at the cursor; on an empty page, offer a beginning first."""
    document = screen.session.document
    if not document.text.strip() and not document.chat:
        stories(screen)
        return
    fresh = screen.session.stale or screen.session.view is None
    screen.ghost_off = False
    screen.session.weave()
    if fresh:
        screen.suggestions.forget()


def _busy(screen: WeaveScreen) -> bool:
    session = screen.session
    drawing = session.player.playing or session.continuations.running
    return session.weaving or session.autopilot.running or drawing


def stop(screen: WeaveScreen) -> None:
    """End whatever the model is doing here; what it found or wrote stays."""
    screen.session.autopilot.stop()
    screen.session.player.pause()
    screen.session.continuations.stop()
    screen.session.stop()


def grow(screen: WeaveScreen) -> None:
    """Search on from the end of the highlighted branch."""
    row = screen.row
    if row is not None:
        screen.session.grow(row.tail)


def step_cutoff(screen: WeaveScreen, step: int) -> None:
    """The next lower or higher cutoff, at once: the tree is read again, nothing is evaluated."""
    rules = screen.session.document.rules
    if step < 0:
        cutoff = max((one for one in CUTOFFS if one < rules.cutoff), default=rules.cutoff)
    else:
        cutoff = min((one for one in CUTOFFS if one > rules.cutoff), default=rules.cutoff)
    set_rules(screen, replace(rules, cutoff=cutoff))
    screen.flash(f"cutoff {cutoff:g}")


def diverse(screen: WeaveScreen) -> None:
    """Fold suggestions that say the same, or show them again; where more are needed, weave on."""
    session = screen.session
    rules = session.document.rules
    set_rules(screen, replace(rules, diverse=not rules.diverse))
    screen.flash("only what differs in wording" if not rules.diverse else "every suggestion")
    view = session.view
    if not rules.diverse and view is not None and not view.done and not session.stale:
        with troubles(screen):
            session.weave()


def set_rules(screen: WeaveScreen, rules: Rules) -> None:
    """Other weave settings, kept in the loom."""
    with troubles(screen):
        screen.session.set_rules(rules)


def settings(screen: WeaveScreen) -> None:
    """The panel with every setting of the weave; each change counts at once."""
    screen.app.push_screen(Settings(screen))


def prefix(screen: WeaveScreen) -> None:
    """The hidden text before the story."""

    def done(text: str | None) -> None:
        if text is not None:
            with troubles(screen):
                screen.session.set_prefix(text)

    screen.app.push_screen(Prefix(screen.session.document.prefix), done)


def constrain(screen: WeaveScreen) -> None:
    """What suggestions must fit, from the cursor on."""

    def done(text: str | None) -> None:
        if text is not None:
            with troubles(screen):
                weave(screen)

    session = screen.session
    screen.app.push_screen(Constrain(session.constraint, session.set_constraint), done)


def stories(screen: WeaveScreen) -> None:
    """Choose a beginning; it stands in for a story that is empty, or goes after one."""

    def done(story: Story | None) -> None:
        if story is None:
            return
        text = story.text
        editor = screen.editor
        if screen.session.document.text.strip():
            text = "\n\n" + text
        editor.move_cursor(editor.document.end)
        editor.insert(text)
        screen.session.document.checkpoint()
        screen.sync_cursor()
        editor.focus()
        if screen.session.source is not None:
            with troubles(screen):
                weave(screen)

    screen.app.push_screen(Stories(), done)


def accept_sole(screen: WeaveScreen) -> None:
    """Take a finished weave's only suggestion, when the person wants that."""
    session, view = screen.session, screen.session.view
    if not screen.options.accept_sole or session.weaving or session.stale or view is None:
        return
    if view.done and len(view.suggestions) == 1 and view.suggestions[0].tail:
        from llterm.ui.actions.suggesting import accept

        with troubles(screen):
            accept(screen, view.suggestions[0].tail)
