"""What the main screen's lines say. Reads the session, writes the widgets, decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from llterm.backends.served import server_of, silent
from llterm.core.counts import count_of
from llterm.core.display import label_text
from llterm.core.healing import residue_of
from llterm.core.suggestion_tree import View, mean_of
from llterm.errors import LltermError
from llterm.faults import own_faults
from llterm.number_format import fine_percent, joint, percent
from llterm.ui.figures import found, spoken_speed
from llterm.ui.widgets.keybar import Hint, key_name
from llterm.ui.widgets.line import Line, Name

if TYPE_CHECKING:
    from llterm.session.session import Session
    from llterm.ui.screens.weave import WeaveScreen

log = logging.getLogger(__name__)

PREVIEW_LINES = 5
"""A branch in the middle of the story is shown below it, in at most this many lines."""
_LAST = ("app.help",)
"""Hints that keep their place in the footer however narrow it is."""


@contextmanager
def troubles(screen: WeaveScreen) -> Iterator[None]:
    """Errors of a deed become a notice, faults of llterm's own too; the app goes on."""
    try:
        with own_faults("the app did what was asked"):
            yield
    except LltermError as error:
        show_trouble(screen, error)


def show_trouble(screen: WeaveScreen, error: LltermError) -> None:
    """A notice with title, cause and hint, and a line in the log."""
    log.warning("%s", error)
    lines = [part for part in (error.cause, error.hint) if part]
    screen.app.notify(
        "\n".join(lines) or " ", title=error.title, severity="warning", markup=False, timeout=8
    )


def show_title(screen: WeaveScreen, words: int) -> None:
    """File and words on the left, model and its work on the right."""
    document = screen.session.document
    figures = screen.session.figures
    path = document.path if screen.options.named else None
    name = label_text(path.name) if path else "untitled"
    counted = count_of(words, "word")
    screen.query_one("#name", Name).say(
        name,
        counted,
        *(["read-only"] if document.read_only else []),
        *(["NOT SAVED"] if screen.unsaved else []),
    )
    pieces = [label_text(screen.model_name)]
    incoming = screen.session.incoming
    if incoming is not None:
        coming = incoming.name or screen.model_name
        pieces = [label_text(coming)]
        pieces.append(f"loading {100 * incoming.progress:.0f}%")
    elif screen.session.resting:
        pieces.append("resting")
    elif screen.session.source is None:
        pieces = ["no model"]
    elif figures.sight is not None and figures.sight.story + figures.sight.hidden:
        pieces.append(figures.sight.told(figures.context))
        if figures.tokens_per_second:
            pieces.append(f"{figures.tokens_per_second:,.0f} tok/s")
    else:
        pieces.append(f"sees {figures.context:,} tokens")
    line = screen.query_one("#model", Line)
    wanted = sum(map(cell_len, pieces)) + 3 * len(pieces) - 3
    room = screen.size.width - 2 - min(cell_len(name), 24) - 2
    line.styles.width = max(min(wanted, room), 1)
    line.say(*pieces)


def show_sight(screen: WeaveScreen) -> None:
    """The mark where the model's sight of the story begins."""
    screen.editor.mark_unseen(screen.editor.location(screen.session.figures.mark))


def show_branch(screen: WeaveScreen) -> None:
    """The selected row's joint probability and mean."""
    if screen.flashing:
        return
    row = None if screen.stale or screen.session.stale else screen.row
    line = screen.query_one("#branch", Line)
    if row is None:
        line.say("")
        return
    ends = {"end": "the text ends here", "open": "not ended yet: grow"}
    if row.branch.banned:
        line.say(f"{row.branch.banned} takes {percent(row.branch.p)}")
        return
    branch = row.branch
    steps = screen.session.adding(row.tail)
    text = joint(branch.logprob, len(steps), mean_of(steps)).split(" · ")
    if branch.sampled:
        line.say(branch.sampled, *text)
        return
    if branch.alike:
        text.insert(1, f"{branch.alike} alike folded in, {percent(branch.alike_p)}")
    note = ends.get(branch.finish or "")
    line.say(*text[:1], *([note] if note else []), *text[1:])


def show_found(screen: WeaveScreen) -> None:
    """The line under the tree, or an invitation where there is no tree."""
    session = screen.session
    view = session.view
    rows = bool(view and view.branches)
    screen.suggestions.display = rows or screen.suggestions.has_focus
    invitation = screen.query_one("#invitation", Static)
    invitation.display = not rows
    if not rows:
        content = _invitation(screen)
        if invitation.content != content:
            invitation.update(content)
    line = screen.query_one("#found", Line)
    line.set_class(screen.stale and not session.player.playing, "-stale")
    if awaited := _awaited(session):
        line.say(awaited[0], f"{key_name(screen.first_key('weave.stop'))} stops", awaited[1])
    elif session.player.playing:
        key = key_name(screen.first_key("play.toggle"))
        line.say(f"playing, {spoken_speed(session.player.speed)}", f"{key} pauses")
    elif session.autopilot.running:
        key = key_name(screen.first_key("weave.stop"))
        rounds = session.autopilot.left
        line.say(f"autopilot, {count_of(rounds, 'round')} to go", f"{key} stops")
    elif view is None:
        line.say("")
    else:
        key = key_name(screen.first_key("weave.start"))
        pieces = found(
            session.figures, view, weaving=session.weaving, stale=_stale(screen), key=key
        )
        if going := session.continuations.going:
            key = key_name(screen.first_key("weave.stop"))
            pieces = [f"sampling {count_of(going, 'line')}", f"{key} stops", *pieces]
        if session.constraint is not None:
            pieces[:2] = _constrained(session, view, pieces)
        if unhealed := _unhealed(screen):
            pieces.insert(1, unhealed)
        line.say(*pieces)


def _awaited(session: Session) -> tuple[str, str] | None:
    """What is the matter while a server is away, and what is done; None where none is."""
    server = server_of(session.source)
    if server is not None and server.news.line:
        matter, _, done = server.news.line.partition("; ")
        return matter, done
    gone = silent(session.source) if session.weaving else ()
    names = label_text(", ".join(gone))
    return (f"no answer from {names}", "asking again") if gone else None


def _stale(screen: WeaveScreen) -> str:
    """Why the suggestions are not those of this place; empty where they are."""
    if screen.session.foreign:
        return "another model"
    return "the story or cursor moved" if screen.stale else ""


def _unhealed(screen: WeaveScreen) -> str:
    """That what the person typed last is not healed: of spaces always, of words once a model."""
    source, document = screen.session.source, screen.session.document
    if source is None or source.capabilities.masks or not document.rules.heal:
        return ""
    runs = document.runs_before(document.cursor)
    residue = residue_of(runs[-1].data) if runs and runs[-1].ids is None else b""
    if residue.isspace():
        return "the space at the end is not healed"
    here = source, document.bytes_before(document.cursor)
    if residue and (screen.unhealed is None or screen.unhealed[0] is not source):
        screen.unhealed = here
    return "no healing: its server cannot" if residue and screen.unhealed == here else ""


def _constrained(session: Session, view: View, pieces: list[str]) -> list[str]:
    """The first pieces under a constraint: how much mass it leaves, and whether it leads nowhere.

    Choices have their own probabilities; under a pattern they are given the pattern.
    """
    if session.constraint is not None and session.constraint.texts and view.suggestions:
        pieces = [
            count_of(len(view.suggestions), "choice"),
            f"{fine_percent(view.coverage[0])} of all",
        ]
        return [*pieces, f"unseen ≤{fine_percent(view.bound)}"] if view.bound else pieces
    taken = session.shown.weave.taken if session.shown is not None else 0.0
    ends = session.dead_ends
    dead = [count_of(ends, "dead end")] if ends else []
    given = ["given the pattern", f"it takes {fine_percent(taken)}"]
    return [*pieces[:1], *dead, *given, *pieces[1:2]]


def _invitation(screen: WeaveScreen) -> Content:
    """What to do while there are no suggestions."""
    session = screen.session
    status = session.status
    if status.state == "failed" and status.error is not None:
        error = status.error
        parts = [part for part in (error.cause, error.hint) if part]
        return Content("\n\n".join([error.title, *parts])).stylize("bold", 0, len(error.title))
    if session.source is None and session.incoming is not None:
        share = 100 * session.incoming.progress
        return Content(f"Loading the model … {share:.0f}%\n\nYou can write already.")
    if session.source is None:
        return Content(
            f"There is no model.\n\n{key_name(screen.first_key('app.models'))}  chooses one"
        )
    if session.weaving:
        return Content("Weaving …")
    key = key_name(screen.first_key("weave.start"))
    if not session.document.text.strip() and not session.document.chat:
        return Content(f"{key}  offers stories to begin with\n\nor write your own.")
    return Content(f"{key}  weaves suggestions at the cursor")


def show_ghost(screen: WeaveScreen) -> None:
    """The highlighted branch: after the cursor at the story's end, below it elsewhere."""
    session, editor = screen.session, screen.editor
    row = screen.row
    here = row is not None and not session.stale and editor.offset_of_cursor == session.at
    free = row is not None and not row.branch.banned and not screen.ghost_off
    ghost = session.ghost(row.tail) if here and row is not None and free else ""
    inline = bool(ghost) and editor.at_end
    editor.show_ghost(ghost if inline else "")
    preview = screen.query_one("#preview", Static)
    preview.display = bool(ghost) and not inline
    if preview.display and str(preview.content) != ghost:
        preview.update(Content(ghost))


def show_heat(screen: WeaveScreen) -> None:
    """What is read of the story, and what is not."""
    session = screen.session
    reader = session.reader
    notes: list[str] = []
    if reader.error is not None:
        notes.append(reader.error.title)
    elif session.resting:
        notes.append("the model rests")
    elif session.backend is None:
        notes.append("no model yet")
    elif not session.backend.capabilities.score:
        notes.append("no heat: this server does not score given text")
    elif reader.waiting:
        notes.append(f"reading, {reader.waiting:,} to go")
    if reader.sight.dropped:
        notes.append(f"sees {reader.sight.told(session.figures.context)}")
    document, row = session.document, screen.row
    at = reader.place_at(len(document.bytes_before(document.cursor)))
    ahead = row is not None and not session.stale and screen.editor.at_end
    suggested = session.readings_of(row.tail) if ahead and row is not None else []
    screen.heat.show(reader.places, reader.readings, suggested, at, tuple(notes))


def choose_hints(hints: Sequence[Hint]) -> list[Hint]:
    """Those that do something now first, in the registry's order; help always."""
    most = 7
    last = [hint for hint in hints if hint.id in _LAST]
    rest = [hint for hint in hints if hint.id not in _LAST]
    ready = [hint for hint in rest if hint.ready][: most - len(last)]
    return [*ready, *last]
