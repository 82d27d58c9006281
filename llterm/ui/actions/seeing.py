"""The heat panel: what the model sees in the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.core.attribution_methods import Question
from llterm.core.display import raw_text, visible
from llterm.core.futures import Futures
from llterm.core.suggestion_tree import taken
from llterm.number_format import fine_percent
from llterm.session import replacing
from llterm.session.attributing import Attributing
from llterm.session.spots import Spot, in_story, in_suggestion
from llterm.ui.actions import Deed, Table
from llterm.ui.actions.suggesting import follow
from llterm.ui.screens.attribution import AttributionScreen
from llterm.ui.screens.edit_branch import PutText
from llterm.ui.screens.inspector import Inspector
from llterm.ui.screens.painting import troubles
from llterm.ui.screens.sampler import Sampler

if TYPE_CHECKING:
    from llterm.ui.screens.weave import WeaveScreen
    from llterm.ui.widgets.heat import HeatPanel


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""

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
    return {f"heat.{name}": Deed(run, here) for name, run in moves.items()} | {
        "app.sampling": Deed(lambda: sampling(screen)),
        "tree.banned": Deed(lambda: show_banned(screen)),
        "heat.toggle": Deed(lambda: toggle(screen)),
        "heat.force": Deed(
            lambda: force(screen),
            lambda: here() and panel().candidate is not None,
        ),
        "heat.write": Deed(
            lambda: write(screen),
            lambda: here() and panel().in_story,
        ),
        "heat.futures": Deed(
            lambda: screen.run_worker(compare(screen), group="futures", exclusive=True),
            lambda: here() and panel().in_story and panel().reading is not None,
        ),
        "heat.attribute": Deed(
            lambda: attribution(screen),
            lambda: here() and screen.session.backend is not None,
        ),
        "heat.inspect": Deed(
            lambda: inspect(screen),
            lambda: here() and panel().reading is not None,
        ),
    }


def onward(screen: WeaveScreen, step: int) -> None:
    """Tokens further on; past the story's last one stand those of a suggestion woven at its end."""
    panel = screen.heat
    if panel.in_story and panel.chosen + step >= len(screen.session.reader.places):
        screen.editor.go_to(len(screen.session.document.text))
        screen.sync_cursor()
        screen.show_all()
    panel.move(step)


def toggle(screen: WeaveScreen) -> None:
    """Open the panel and go there; close it when it has the focus already."""
    panel = screen.heat
    if panel.has_focus:
        close(screen)
        return
    if not panel.display:
        panel.display = True
        screen.session.reader.start()
    enter(screen)


def enter(screen: WeaveScreen) -> None:
    """Go to the panel, at the token of the story's cursor."""
    screen.left_at = screen.session.document.cursor
    screen.left_stale = screen.session.stale
    screen.heat.following = True
    screen.heat.focus()
    screen.show_heat()


def close(screen: WeaveScreen) -> None:
    """Nobody looks any more."""
    screen.heat.display = False
    screen.session.reader.stop()
    leave(screen)


def leave(screen: WeaveScreen) -> None:
    """Back to the story, and to where the cursor was in it."""
    screen.heat.following = True
    screen.editor.go_to(screen.left_at)
    screen.editor.focus()


def spot_of(screen: WeaveScreen) -> Spot | None:
    """The chosen place, in the story or in the highlighted suggestion; None without a token."""
    panel, row = screen.heat, screen.row
    if panel.in_story:
        return in_story(screen.session, panel.chosen)
    if panel.reading is None or row is None:
        return None
    return in_suggestion(screen.session, row.tail, panel.reading.index)


def force(screen: WeaveScreen) -> None:
    """Put the chosen candidate where the chosen token stands."""
    spot, candidate = spot_of(screen), screen.heat.candidate
    if spot is not None and candidate is not None:
        put(screen, spot, candidate.token.id, candidate.logprob)


def put(screen: WeaveScreen, spot: Spot, id: int, logprob: float) -> None:
    """Let another token stand there; the suggestion before it is accepted, if it is in one."""
    with troubles(screen):
        if spot.tail is None:
            change = replacing.force(screen.session, len(spot.at.story), id, logprob)
        else:
            change = replacing.accept_but(screen.session, spot.tail, len(spot.written), id, logprob)
        follow(screen, change)
        screen.editor.focus()


def write(screen: WeaveScreen) -> None:
    """A text of the person's own, where the chosen token stands."""
    number = screen.heat.chosen

    def done(text: str | None) -> None:
        if text:
            with troubles(screen):
                follow(screen, replacing.put_text(screen.session, number, text))
                screen.editor.focus()

    stands = raw_text(screen.session.reader.places[number].data)
    screen.app.push_screen(PutText(stands), done)


async def compare(screen: WeaveScreen) -> None:
    """Say how different the futures of the chosen place's candidates are."""
    with troubles(screen):
        found = await screen.session.reader.futures(screen.heat.chosen)
        named = ", ".join(f"“{visible(one.token.data)}”" for one in found.ways)
        screen.app.notify(
            f"After {named} what comes next differs by {found.divergence:.2f} bits"
            f" of at most {found.most:.2f}: {_weighed(found)}",
            title="Futures",
            markup=False,
            timeout=8,
        )


def _weighed(found: Futures) -> str:
    share = found.divergence / found.most if found.most > 0 else 0.0
    if share < 0.15:
        return "they lead to much the same."
    return "they part ways." if share > 0.5 else "they lead to somewhat different places."


def inspect(screen: WeaveScreen) -> None:
    """Every candidate at the chosen place."""
    spot, reading = spot_of(screen), screen.heat.reading
    if spot is None or reading is None:
        return

    def done(chosen: tuple[int, float] | None) -> None:
        if chosen is not None:
            put(screen, spot, *chosen)

    screen.app.push_screen(Inspector(screen, spot, visible(reading.token.data)), done)


def attribution(screen: WeaveScreen) -> None:
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
    attributing = Attributing(backend, question)
    screen.app.push_screen(AttributionScreen(attributing, backend.vocabulary))


def sampling(screen: WeaveScreen) -> None:
    """The sampler panel; with the heat panel's token, what the chain makes of it."""
    panel = screen.heat
    spot = spot_of(screen) if panel.display and panel.reading is not None else None
    screen.app.push_screen(Sampler(screen, spot))


def show_banned(screen: WeaveScreen) -> None:
    """What bans and the constraint take, in the tree, or not."""
    session = screen.session
    session.show_banned(not session.banned_shown)
    if not session.banned_shown:
        screen.flash("what is banned is hidden")
        return
    view = session.view
    rows = view.branches if view is not None else ()
    count, mass = taken(rows, masked=session.constraint is not None)
    screen.flash(f"{count} banned branch{'es' * (count != 1)}, {fine_percent(mass)} of all")
