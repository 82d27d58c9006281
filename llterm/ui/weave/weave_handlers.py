"""`weave.*`: start, stop, grow, cutoff, constraint, labels; sampled lines, sentences, autopilot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from llterm.core.suggestion_tree import Branch
from llterm.errors import LltermError
from llterm.number_format import count_of
from llterm.session.stories import Story
from llterm.ui.dialogs.constraint_dialog import ConstraintDialog
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog
from llterm.ui.dialogs.stories_dialog import StoriesDialog
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.messages import LoadModel
from llterm.ui.notices import troubles
from llterm.ui.weave.panes import Panes

CUTOFFS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""What the keys step through: each admits noticeably more or fewer branches than the next."""


def table(screen: Panes) -> Table:
    """`weave.*` by id."""
    session = screen.session

    return {
        "weave.start": Handler(lambda: weave(screen)),
        "weave.again": Handler(lambda: weave(screen)),
        "weave.stop": Handler(lambda: stop(screen), lambda: session.busy),
        "weave.grow": Handler(lambda: grow(screen)),
        "weave.cutoff_down": Handler(lambda: step_cutoff(screen, -1)),
        "weave.cutoff_up": Handler(lambda: step_cutoff(screen, 1)),
        "weave.diverse": Handler(lambda: diverse(screen)),
        "weave.constrain": Handler(lambda: constrain(screen), lambda: session.source is not None),
        "weave.sample": Handler(lambda: sample(screen), lambda: screen.can_write),
        "weave.keep_lines": Handler(lambda: keep_lines(screen), lambda: screen.can_write),
        "weave.sentences": Handler(lambda: sentences(screen), lambda: screen.can_write),
        "weave.classify": Handler(lambda: classify(screen), lambda: not screen.blank),
        "weave.autopilot": Handler(lambda: fly(screen), lambda: screen.can_write),
        "weave.clear": Handler(session.put_away, lambda: session.view is not None),
    }


def weave(screen: Panes) -> None:
    """Weave at the cursor; on an empty page, offer a beginning first. A model that could not be
    opened is opened then."""
    if screen.session.unopened:
        screen.app.post_message(LoadModel())
        return
    if screen.blank:
        choose_story(screen)
        return
    fresh = screen.session.stale or screen.session.view is None
    screen.ghost_off = False
    screen.session.weave()
    if fresh:
        screen.suggestions.forget()


def stop(screen: Panes) -> None:
    """End whatever the model is doing here; what it found or wrote stays."""
    screen.session.autopilot.stop()
    screen.session.player.pause()
    screen.session.samples.stop()
    screen.session.stop()


def grow(screen: Panes) -> None:
    """Search on from the end of the highlighted branch, or say why that cannot be."""
    row, session = screen.row, screen.session
    if row is None or session.source is None or session.stale:
        screen.flash(f"nothing to grow here: {screen.key('weave.start')} weaves")
    elif row.branch.banned:
        screen.flash("what is banned does not grow")
    elif row.branch.sampled:
        screen.flash("a sample does not grow: accept it")
    elif row.branch.finish == "end":
        screen.flash("the text ends here: nothing grows")
    else:
        before = session.view.branches if session.view is not None else ()
        session.grow(row.tail)
        screen.run_worker(_say_where_grown(screen, before), group="grown", exclusive=True)


async def _say_where_grown(screen: Panes, before: Sequence[Branch]) -> None:
    """Say so where a branch was fully grown before."""
    session = screen.session
    with suppress(LltermError):  # the status line says what failed
        await session.wait()
        if session.view is not None and session.view.branches == before:
            screen.flash(f"grown already: {screen.key('weave.cutoff_down')} lowers the cutoff")


def step_cutoff(screen: Panes, step: int) -> None:
    """The next lower or higher cutoff, at once: the tree is read again, nothing is evaluated."""
    rules = screen.session.document.rules
    if step < 0:
        cutoff = max((known for known in CUTOFFS if known < rules.cutoff), default=rules.cutoff)
    else:
        cutoff = min((known for known in CUTOFFS if known > rules.cutoff), default=rules.cutoff)
    screen.session.set_rules(replace(rules, cutoff=cutoff))
    screen.flash(f"cutoff {cutoff:g}")


def diverse(screen: Panes) -> None:
    """Fold suggestions that say the same, or show them again; where more are needed, weave on."""
    session = screen.session
    rules = session.document.rules
    session.set_rules(replace(rules, diverse=not rules.diverse))
    screen.flash("only what differs in wording" if not rules.diverse else "every suggestion")
    view = session.view
    if not rules.diverse and view is not None and not view.done and not session.stale:
        session.weave()


def constrain(screen: Panes) -> None:
    """What suggestions must fit, from the cursor on."""
    session = screen.session
    dialog = ConstraintDialog(session.constraint, session.set_constraint)
    screen.ask(dialog, lambda _: weave(screen))


def sample(screen: Panes) -> None:
    """Draw continuations at the cursor; they stand above the weave's suggestions."""
    if screen.blank:
        choose_story(screen)
        return
    screen.session.player.pause()
    screen.session.autopilot.stop()
    ui = screen.options.ui
    screen.session.samples.start(ui.sample_lines, ui.sample_tokens, sentence=ui.sample_sentence)
    screen.ghost_off = False
    screen.suggestions.forget()


def keep_lines(screen: Panes) -> None:
    """Hang the sampled lines in the loom, less the highlighted one, which may be accepted."""
    row = screen.row
    count = screen.session.samples.keep(row.tail if row is not None else ())
    screen.flash(f"{count_of(count, 'line')} kept as branches")


def sentences(screen: Panes) -> None:
    """Pick from whole sentences, round after round; nothing else is drawn meanwhile."""
    if screen.blank:
        choose_story(screen)
        return
    stop(screen)
    screen.app.push_screen(SentencesDialog(screen.session, screen.options, screen.take))


def classify(screen: Panes) -> None:
    """What the model would call the story; among suggestions, the story with the highlighted one
    at the cursor."""
    session, row = screen.session, screen.row
    document = session.document
    text, what = document.bytes_before(len(document.text)), "the story"
    if screen.suggestions.has_focus and row is not None and not session.stale:
        text = document.bytes_before(document.cursor) + session.added(row.tail)
        what = "the suggestion"
    screen.app.push_screen(LabelsDialog(session, screen.options, text, what))


def fly(screen: Panes) -> None:
    """Weave and accept for some rounds, or end that."""
    autopilot = screen.session.autopilot
    if autopilot.running:
        autopilot.stop()
    else:
        autopilot.start(screen.options.ui.autopilot)


def choose_story(screen: Panes) -> None:
    """Choose a beginning; it stands in for a story that is empty, or goes after one."""

    def done(story: Story) -> None:
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
            weave(screen)

    screen.ask(StoriesDialog(), done)


def accept_sole(screen: Panes) -> None:
    """Take a finished weave's only suggestion, when the person wants that."""
    session, view = screen.session, screen.session.view
    if not screen.options.ui.accept_sole or session.weaving or session.stale or view is None:
        return
    if view.done and len(view.suggestions) == 1 and view.suggestions[0].tail:
        with troubles(screen):
            screen.take(session.accept(view.suggestions[0].tail))
