"""What the main screen says. Reads the session and writes the widgets; it decides nothing."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from llterm.core.chat_messages import chat_draft
from llterm.core.display_text import label_text
from llterm.core.healing import residue_of
from llterm.core.in_force import ban_pieces, memory_piece
from llterm.core.query import Source
from llterm.core.suggestion_tree import View, mean_of
from llterm.core.tokens import Vocabulary
from llterm.engine.mixture import Mix
from llterm.engine.prompt_heads import open_chat
from llterm.errors import LltermError
from llterm.number_format import count_of, fine_percent, joint, percent, spoken_speed
from llterm.session.session import Session
from llterm.session.status import Figures, Incoming
from llterm.session.suggestions import root_chat
from llterm.ui.server_words import clock, matter, missing_piece, server_pieces
from llterm.ui.weave.panes import Panes
from llterm.ui.widgets.status_line import NameLine, StatusLine

MODEL = 12
"""Cells that the model's name has at least."""


class WeaveView:
    """The lines and panes of the main screen, as the session is now."""

    def __init__(self, panes: Panes) -> None:
        self._panes = panes
        self._words_at = -1
        """The document's revision when its words were counted."""
        self._words = 0
        self._unhealed_at: tuple[Source, bytes] | None = None
        """The model and the story at which it was told that it heals no words."""

    def show_all(self) -> None:
        """Show everything but the footer."""
        panes, session = self._panes, self._panes.session
        self.show_chat()
        view, before = session.view, session.document.bytes_before(session.at)
        panes.suggestions.show(view.branches if view else (), stale=panes.stale, before=before)
        self.show_ghost()
        if panes.heat.display:
            self.show_heat()
        self.show_title()
        self.show_branch()
        self.show_found()

    @property
    def title_old(self) -> bool:
        """Whether the title's count of words is of another text."""
        return self._words_at != self._panes.session.document.revision

    def show_chat(self) -> None:
        """What stands before the story, as the model in use reads it."""
        header, session = self._panes.chat_header, self._panes.session
        header.display = bool(session.document.chat)
        if not header.display:
            return
        source = session.source
        if source is None:
            header.show((), frozenset(), "chat · no model reads it now")
            return
        try:
            parts = open_chat(source, root_chat(session.document))
        except LltermError as error:
            header.show((), frozenset(), f"chat · {error.title}")
            return
        if parts is None:
            header.show((), frozenset(), "chat · being opened")
            return
        tokens = chat_draft(parts, source.vocabulary).known(source.vocabulary)
        note = f"chat · {getattr(source, 'chat_format', '')}"
        if tokens is not None:
            note += f" · {len(tokens)} tokens"
        if isinstance(source, Mix):
            name = label_text(source.chat_reader)
            note = f"chat · as {name} reads it"
        header.show(parts, _special(tokens or (), source.vocabulary), note)

    def show_title(self) -> None:
        """File and words on the left, model and its work on the right; the mark in the story where
        the model's sight of it begins."""
        document = self._panes.session.document
        if self.title_old:
            self._words_at, self._words = document.revision, len(document.text.split())
        figures = self._panes.session.figures
        name = self._panes.title_name
        counted = count_of(self._words, "word")
        in_force = in_force_pieces(self._panes.session)
        self._panes.query_one("#name", NameLine).say(
            name,
            *in_force,
            counted,
            *(["read-only"] if document.read_only else []),
            *(["NOT SAVED"] if self._panes.unsaved else []),
        )
        pieces = [label_text(self._panes.model_name)]
        incoming = self._panes.session.incoming
        if incoming is not None:
            coming = incoming.name or self._panes.model_name
            pieces = [label_text(coming)]
            share = f"loading {100 * incoming.progress:.0f}%"
            pieces.append(matter(incoming.waited_for) if incoming.waited_for else share)
        elif self._panes.session.resting:
            pieces.append("resting")
        elif self._panes.session.source is None:
            pieces = ["no model"]
        elif figures.sight is not None and figures.sight.story + figures.sight.hidden:
            memory = bool(in_force) and bool(document.prefix)
            pieces.append(figures.sight.told(figures.context, memory=not memory))
            if figures.tokens_per_second:
                pieces.append(f"{figures.tokens_per_second:,.0f} tok/s")
        else:
            pieces.append(f"sees {figures.context:,} tokens")
        line = self._panes.query_one("#model", StatusLine)
        wanted = sum(map(cell_len, pieces)) + 3 * len(pieces) - 3
        # What is in force is not left out: rather the speed, and then what the model sees.
        forced = sum(cell_len(piece) + 3 for piece in in_force)
        room = self._panes.size.width - 2 - min(cell_len(name), 24) - forced - 2
        line.styles.width = max(min(wanted, room), min(cell_len(pieces[0]), MODEL))
        line.say(*pieces)
        self._panes.editor.mark_unseen(self._panes.editor.location(figures.mark))

    def show_branch(self) -> None:
        """The selected row's joint probability and mean, or what is said for a moment."""
        line = self._panes.query_one("#branch", StatusLine)
        if self._panes.note:
            line.say(self._panes.note)
            return
        row = None if self._panes.stale or self._panes.session.stale else self._panes.row
        if row is None:
            line.say("")
            return
        ends = {"end": "the text ends here", "open": "not ended yet: grow"}
        if row.branch.banned:
            line.say(f"{row.branch.banned} takes {percent(row.branch.p)}")
            return
        branch = row.branch
        steps = self._panes.session.adding(row.tail)
        text = joint(branch.logprob, len(steps), mean_of(steps)).split(" · ")
        if branch.sampled:
            line.say(branch.sampled, *text)
            return
        if branch.alike:
            text.insert(1, f"{branch.alike} alike folded in, {percent(branch.alike_p)}")
        note = ends.get(branch.finish or "")
        line.say(*text[:1], *([note] if note else []), *text[1:])

    def show_found(self) -> None:
        """The line under the tree, or an invitation where there is no tree. In a low window it says
        what is said for a moment, too."""
        session = self._panes.session
        view = session.view
        rows = bool(view and view.branches)
        self._panes.suggestions.display = rows or self._panes.suggestions.has_focus
        invitation = self._panes.query_one("#invitation", Static)
        invitation.display = not rows
        if not rows:
            content = self._invitation()
            if invitation.content != content:
                invitation.update(content)
        line = self._panes.query_one("#found", StatusLine)
        if self._panes.note and not self._panes.query_one("#branch").display:
            line.say(self._panes.note)
            return
        line.set_class(self._panes.stale and not session.player.playing, "-stale")
        mixed = isinstance(session.source, Mix)
        pieces = self._server_pieces(named=mixed)
        if pieces:
            line.say(*pieces)
        elif session.player.playing:
            key = self._panes.key("play.toggle")
            line.say(f"playing, {spoken_speed(session.player.speed)}", f"{key} pauses")
        elif session.autopilot.running:
            key = self._panes.key("weave.stop")
            rounds = session.autopilot.left
            line.say(f"autopilot, {count_of(rounds, 'round')} to go", f"{key} stops")
        elif view is None:
            line.say("")
        else:
            key = self._panes.key("weave.start")
            pieces = result_pieces(
                session.figures, view, weaving=session.weaving, stale=self._stale(), key=key
            )
            if going := session.samples.going:
                key = self._panes.key("weave.stop")
                pieces = [f"sampling {count_of(going, 'line')}", f"{key} stops", *pieces]
            if session.constraint is not None:
                pieces[:2] = _constrained(session, view, pieces)
            if unhealed := self._unhealed():
                pieces.insert(1, unhealed)
            if mixed and session.news is not None and (missing := missing_piece(session.news)):
                pieces.insert(1, missing)
            if session.news is not None and (untold := session.news.untold):
                pieces.insert(1, f"{fine_percent(untold)} the server tells no text of")
            line.say(*pieces)

    def _server_pieces(self, *, named: bool) -> list[str]:
        """What is told while a server is waited for, and once it was given up."""
        session, key = self._panes.session, self._panes.key
        if session.news is None:
            return []
        return server_pieces(
            session.news,
            busy=session.busy,
            named=named,
            stop_key=key("weave.stop"),
            weave_key=key("weave.start"),
        )

    def _stale(self) -> str:
        """Why the suggestions are not those of this place; empty where they are."""
        if self._panes.session.suggestions.foreign:
            return "another model"
        return "the story or cursor moved" if self._panes.stale else ""

    def _unhealed(self) -> str:
        """That what was typed last is not healed: of spaces always, of words once a model."""
        source, document = self._panes.session.source, self._panes.session.document
        if source is None or source.capabilities.masks or not document.rules.heal:
            return ""
        runs = document.runs_before(document.cursor)
        residue = residue_of(runs[-1].data) if runs and runs[-1].ids is None else b""
        if residue.isspace():
            return "the space at the end is not healed"
        here = source, document.bytes_before(document.cursor)
        if residue and (self._unhealed_at is None or self._unhealed_at[0] is not source):
            self._unhealed_at = here
        return "no healing: its server cannot" if residue and self._unhealed_at == here else ""

    def _invitation(self) -> Content:
        """What to do while there are no suggestions."""
        session = self._panes.session
        status = session.status
        if status.state == "failed" and status.error is not None:
            error = status.error
            again = f"{self._panes.key('weave.start')}  tries again" if not session.source else ""
            parts = [part for part in (error.cause, error.hint, again) if part]
            return Content("\n\n".join([error.title, *parts])).stylize("bold", 0, len(error.title))
        if session.source is None and session.incoming is not None:
            return Content(f"{_loading(session.incoming)}\n\nYou can write already.")
        if session.source is None:
            return Content(f"There is no model.\n\n{self._panes.key('app.models')}  chooses one")
        if session.weaving:
            return Content("Weaving …")
        key = self._panes.key("weave.start")
        if not session.document.text.strip() and not session.document.chat:
            return Content(f"{key}  offers stories to begin with\n\nor write your own.")
        return Content(f"{key}  weaves suggestions at the cursor")

    def show_ghost(self) -> None:
        """The highlighted branch, at the cursor, before the text that follows."""
        session, editor = self._panes.session, self._panes.editor
        row = self._panes.row
        here = row is not None and not session.stale and editor.offset_of_cursor == session.at
        free = row is not None and not row.branch.banned and not self._panes.ghost_off
        shown = here and free and editor.selection.is_empty
        editor.show_ghost(session.ghost(row.tail) if shown and row is not None else "")

    def show_heat(self) -> None:
        """What is read of the story, and what is not."""
        session = self._panes.session
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
        document, row = session.document, self._panes.row
        at = reader.place_at(len(document.bytes_before(document.cursor)))
        ahead = row is not None and not session.stale and self._panes.editor.at_end
        suggested = session.readings_of(row.tail) if ahead and row is not None else []
        self._panes.heat.show(reader.places, reader.readings, suggested, at, tuple(notes))


def in_force_pieces(session: Session) -> list[str]:
    """Bans, biases, memory and constraint of this loom, or of the configuration, and other kernels
    than exact ones, in a few words."""
    sight = session.figures.sight
    hidden = sight.hidden if sight is not None and not sight.chat else 0
    memory = memory_piece(session.document.prefix, hidden)
    constraint = session.constraint
    source = session.source
    fast = source is not None and source.capabilities.kernel_kind == "fast"
    return [
        *(["fast kernels"] if fast else []),
        *ban_pieces(session.sampling),
        *([memory] if memory else []),
        *([constraint.kind] if constraint is not None else []),
    ]


def result_pieces(
    figures: Figures, view: View, *, weaving: bool, stale: str, key: str
) -> list[str]:
    """The pieces of the line under the tree, most telling first. `key` starts a weave.

    `stale` says why the suggestions are not of this place; empty where they are.
    """
    number = len(view.suggestions)
    pieces = [count_of(number, "suggestion")]
    if stale:
        return [f"stale: {stale}", f"{key} weaves here"]
    if not number and not weaving:
        return [""]
    if view.looked_at:
        pieces[0] += f" that differ, of {view.looked_at}"
    if number:
        pieces.append(f"{fine_percent(view.coverage[0])} at depth 1")
    if weaving:
        pieces.append(f"{view.settled} settled")
    if figures.seconds:
        pieces.append(f"{figures.seconds:.1f}s")
    if not weaving and not view.done:
        rest = f"{view.settled} settled, rest ≤{fine_percent(view.bound)}"
        pieces[1:1] = [f"budget used up, {key} goes on" if view.spent else f"{key} goes on", rest]
    return pieces


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
    ends = session.shown.weave.dead_ends if session.shown is not None else 0
    dead = [count_of(ends, "dead end")] if ends else []
    given = ["given the pattern", f"it takes {fine_percent(taken)}"]
    return [*pieces[:1], *dead, *given, *pieces[1:2]]


def _loading(incoming: Incoming) -> str:
    """How far a model is that is being loaded, or why its server does not tell of it yet."""
    waiting = incoming.waited_for
    if not waiting:
        return f"Loading the model … {100 * incoming.progress:.0f}%"
    until = max(one.since + one.patience for one in waiting)
    addresses = "\n".join(f"{one.address}: {one.words}" for one in waiting)
    return f"{addresses}\n\nAsked again until {clock(until)}."


def _special(tokens: tuple[int, ...], vocabulary: Vocabulary) -> frozenset[str]:
    """Names of the special tokens among these."""
    known = (vocabulary.token(id) for id in set(tokens))
    return frozenset(token.data.decode("utf-8", "replace") for token in known if token.special)
