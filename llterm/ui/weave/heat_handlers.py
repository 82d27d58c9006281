"""`heat.*`: what the model sees in the story, and another text in its place."""

from __future__ import annotations

from llterm.core.attribution import Question
from llterm.core.display_text import raw_text, visible
from llterm.core.futures import Futures
from llterm.engine.attribute import Attributions
from llterm.session import inspection
from llterm.session.inspection import TokenPosition, in_story, in_suggestion
from llterm.ui.dialogs.attribution_dialog import AttributionDialog
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.dialogs.text_dialogs import PutText
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import troubles
from llterm.ui.weave.heat_panel import HeatPanel
from llterm.ui.weave.panes import Panes


def table(screen: Panes) -> Table:
    """`heat.*` by id."""

    def panel() -> HeatPanel:
        return screen.heat

    def here() -> bool:
        return screen.heat.has_focus

    def seek(step: int, *, fork: bool) -> None:
        if not panel().seek(step, fork=fork):
            what = "fork" if fork else "surprise"
            screen.flash(f"no further {what} {'to the right' if step > 0 else 'to the left'}")

    moves = {
        "left": lambda: panel().move(-1),
        "right": lambda: onward(screen, 1),
        "first": lambda: panel().choose(0),
        "last": lambda: onward(screen, 1 << 40),
        "page_left": lambda: panel().move(-panel().span),
        "page_right": lambda: onward(screen, panel().span),
        "up": lambda: panel().pick(-1),
        "down": lambda: panel().pick(1),
        "next_surprise": lambda: seek(1, fork=False),
        "prev_surprise": lambda: seek(-1, fork=False),
        "next_fork": lambda: seek(1, fork=True),
        "prev_fork": lambda: seek(-1, fork=True),
        "hottest": lambda: panel().seek_hottest(),
        "measure": lambda: panel().next_measure(),
        "chart": lambda: panel().toggle_chart(),
    }
    return {f"heat.{name}": Handler(run, here) for name, run in moves.items()} | {
        "heat.toggle": Handler(lambda: toggle(screen)),
        "heat.force": Handler(
            lambda: force(screen), lambda: here() and panel().candidate is not None
        ),
        "heat.write": Handler(lambda: write(screen), lambda: here() and panel().in_story),
        "heat.futures": Handler(
            lambda: screen.run_worker(compare(screen), group="futures", exclusive=True),
            lambda: here() and panel().in_story and panel().reading is not None,
        ),
        "heat.attribute": Handler(
            lambda: attribution(screen), lambda: here() and screen.session.backend is not None
        ),
        "heat.inspect": Handler(
            lambda: inspect(screen), lambda: here() and panel().reading is not None
        ),
    }


def onward(screen: Panes, step: int) -> None:
    """Tokens further on; past the story's last one stand those of a suggestion woven at its end."""
    panel = screen.heat
    if panel.in_story and panel.chosen + step >= len(screen.session.reader.places):
        screen.editor.go_to(len(screen.session.document.text))
        screen.sync_cursor()
        screen.show_all()
    panel.move(step)


def toggle(screen: Panes) -> None:
    """Open the panel and go there; close it when it has the focus already."""
    panel = screen.heat
    if panel.has_focus:
        close(screen)
        return
    if not panel.display:
        panel.display = True
        screen.session.reader.start()
    enter(screen)


def enter(screen: Panes) -> None:
    """Go to the panel, at the token of the story's cursor."""
    screen.heat.entered_at = screen.session.document.cursor
    screen.heat.entered_stale = screen.session.stale
    screen.heat.following = True
    screen.heat.focus()
    screen.show_heat()


def close(screen: Panes) -> None:
    """Nobody looks any more."""
    screen.heat.display = False
    screen.session.reader.stop()
    leave(screen)


def leave(screen: Panes) -> None:
    """Back to the story, and to where the cursor was in it."""
    screen.heat.following = True
    screen.editor.go_to(screen.heat.entered_at)
    screen.editor.focus()


def spot_of(screen: Panes) -> TokenPosition | None:
    """The chosen place, in the story or in the highlighted suggestion; None without a token."""
    panel, row = screen.heat, screen.row
    if panel.in_story:
        return in_story(screen.session, panel.chosen)
    if panel.reading is None or row is None:
        return None
    return in_suggestion(screen.session, row.tail, panel.reading.index)


def force(screen: Panes) -> None:
    """Put the chosen candidate where the chosen token stands."""
    spot, candidate = spot_of(screen), screen.heat.candidate
    if spot is not None and candidate is not None:
        put(screen, spot, candidate.token.id, candidate.logprob)


def put(screen: Panes, spot: TokenPosition, id: int, logprob: float) -> None:
    """Let another token stand there; the suggestion before it is accepted, if it is in one."""
    session = screen.session
    if spot.tail is None:
        start = len(spot.at.story)
        rest = session.document.text[session.document.display_offset(start) :]
        screen.follow(inspection.force(session, start, id, logprob))
        screen.tell_left(rest)
    else:
        number = len(spot.written)
        screen.take(inspection.accept_but(session, spot.tail, number, id, logprob))
    screen.editor.focus()


def write(screen: Panes) -> None:
    """A text of the person's own, where the chosen token stands."""
    number, document = screen.heat.chosen, screen.session.document
    places = screen.session.reader.places

    def done(text: str) -> None:
        if text:
            rest = document.text[document.display_offset(places[number].start) :]
            screen.follow(inspection.put_text(screen.session, number, text))
            screen.tell_left(rest)
            screen.editor.focus()

    screen.ask(PutText(raw_text(places[number].data)), done)


async def compare(screen: Panes) -> None:
    """Say how different the futures of the chosen place's candidates are."""
    with troubles(screen):
        futures = await screen.session.reader.futures(screen.heat.chosen)
        named = ", ".join(f"“{visible(way.token.data)}”" for way in futures.ways)
        screen.app.notify(
            f"After {named} what comes next differs by {futures.divergence:.2f} bits"
            f" of at most {futures.most:.2f}: {_weighed(futures)}",
            title="Futures",
            markup=False,
            timeout=8,
        )


def _weighed(futures: Futures) -> str:
    share = futures.divergence / futures.most if futures.most > 0 else 0.0
    if share < 0.15:
        return "they lead to much the same."
    return "they part ways." if share > 0.5 else "they lead to somewhat different places."


def inspect(screen: Panes) -> None:
    """Every candidate at the chosen place."""
    spot, reading = spot_of(screen), screen.heat.reading
    if spot is None or reading is None:
        return
    inspector = InspectorDialog(screen.session, spot, visible(reading.token.data))
    screen.ask(inspector, lambda chosen: put(screen, spot, *chosen))


def attribution(screen: Panes) -> None:
    """What led the model to the chosen token, or to the chosen candidate in its place."""
    backend, spot = screen.session.backend, spot_of(screen)
    if backend is None or spot is None:
        return
    candidate = screen.heat.candidate
    id = candidate.token.id if candidate is not None else spot.stands
    question = Question(spot.at.context, spot.head, id)
    if len(question.tokens) == question.head:
        screen.flash("nothing stands before this token")
        return
    attributing = Attributions(backend, question)
    let_go = screen.session.let_go
    screen.app.push_screen(AttributionDialog(attributing, backend.vocabulary, let_go))
