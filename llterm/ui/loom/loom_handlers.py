"""`loom.*`: commands on branches. Each is one step, and undo takes it back at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llterm.core.loom_tree import ROOT
from llterm.core.provenance import Alternative
from llterm.core.tree_outline import OutlineRow
from llterm.session.manuscript import Change
from llterm.ui.dialogs.comparison_dialog import ComparisonDialog
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.dialogs.place_dialogs import AlternativesDialog, BranchToken, CutPlace, PlaceDialog
from llterm.ui.dialogs.text_dialogs import AskLine, AskText
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.loom.loom_panes import LoomPanes
from llterm.ui.weave.edit_handlers import travel


def table(screen: LoomPanes) -> Table:
    """Those of `loom.*` that change or mark branches, and what the screen shares with the main one,
    by id."""

    def some() -> bool:
        return screen.view.selected is not None

    def on_row(work: Callable[[LoomPanes, OutlineRow], object]) -> Handler:
        return Handler(lambda: work(screen, screen.row), some)

    def rate(rating: int) -> Callable[[LoomPanes, OutlineRow], object]:
        return lambda screen, row: _mark(screen, row, lambda id: screen.branches.rate(id, rating))

    return {
        "loom.open": on_row(open_branch),
        "loom.choose": on_row(choose),
        "loom.bookmark": on_row(bookmark),
        "loom.tag": on_row(tag),
        "loom.note": on_row(note),
        **{f"loom.rate_{n}": on_row(rate(n)) for n in range(6)},
        "loom.compare": on_row(compare),
        "loom.classify": on_row(classify),
        "loom.alternative": on_row(alternative),
        "loom.child": Handler(lambda: write(screen, below=True)),
        "loom.sibling": Handler(lambda: write(screen, below=False), some),
        "loom.split": on_row(split),
        "loom.merge": on_row(merge),
        "loom.move": on_row(move),
        "loom.clip": on_row(clip),
        "loom.trim": on_row(trim),
        "loom.delete": on_row(delete),
        "loom.delete_children": on_row(delete_children),
        "loom.delete_siblings": on_row(delete_siblings),
        "loom.clear": on_row(clear),
        "edit.undo": Handler(lambda: travel(screen.main, screen, screen.relist, back=True)),
        "edit.redo": Handler(lambda: travel(screen.main, screen, screen.relist, back=False)),
    }


def open_branch(screen: LoomPanes, row: OutlineRow) -> None:
    """Make the branch the story, and go and write there."""
    if row.ids[-1] != screen.loom.head:
        screen.change(lambda: screen.document.choose(row.ids[-1]), row.ids[-1])
    screen.dismiss()


def choose(screen: LoomPanes, row: OutlineRow) -> None:
    screen.change(lambda: screen.document.choose(row.ids[-1]), row.ids[-1])
    screen.flash("this branch is the story now")


# --- marks


def _mark(screen: LoomPanes, row: OutlineRow, work: Callable[[int], object]) -> None:
    """Note something on the row: on its node that has notes already, or on its first."""
    marks = screen.loom.marks
    id = next((one for one in row.ids if one in marks), row.ids[0])
    work(id)
    screen.relist(id)


def bookmark(screen: LoomPanes, row: OutlineRow) -> None:
    id = row.ids[0]
    screen.branches.bookmark(id, not screen.branches.marks(id).bookmark)
    screen.relist(id)


def tag(screen: LoomPanes, row: OutlineRow) -> None:
    known = screen.view.facts(screen.view.index).marks.tags

    screen.ask(
        AskLine("Tags", "Joined by commas; none removes them.", ", ".join(known)),
        lambda text: _mark(screen, row, lambda id: screen.branches.tag(id, *text.split(","))),
    )


def note(screen: LoomPanes, row: OutlineRow) -> None:
    known = screen.view.facts(screen.view.index).marks.note
    screen.ask(
        AskText("A note on this branch", known),
        lambda text: _mark(screen, row, lambda id: screen.branches.note(id, text.strip())),
    )


# --- branches


def write(screen: LoomPanes, *, below: bool) -> None:
    """A branch by hand; the story stays where it is."""
    row = screen.view.selected

    def done(text: str) -> None:
        if not text:
            return
        if row is None:
            made = screen.branches.child(ROOT, text)
        elif below:
            made = screen.branches.child(row.ids[-1], text)
        else:
            made = screen.branches.sibling(row.ids[0], text)
        screen.relist(made)

    screen.ask(AskText("Write a branch"), done)


def _spots(screen: LoomPanes, row: OutlineRow, *, seams: bool) -> list[CutPlace]:
    """Where a row can be cut: at tokens and words, and with `seams` between its nodes too."""
    places: list[CutPlace] = []
    at = 0
    for id in row.ids:
        edges = screen.branches.edges(id)
        size = edges[-1]
        places += [CutPlace(id, edge, at + edge) for edge in edges[:-1]]
        if seams and id != row.ids[-1]:
            places.append(CutPlace(id, size, at + size))
        at += size
    return places


def _at_place(screen: LoomPanes, row: OutlineRow, title: str, seams: bool,
              work: Callable[[CutPlace], Change]) -> None:  # fmt: skip
    spots = _spots(screen, row, seams=seams)
    if not spots:
        screen.flash("it is a single token or word")
        return
    data = b"".join(screen.loom.data(screen.loom.nodes[id]) for id in row.ids)
    screen.ask(
        PlaceDialog(title, data, spots),
        lambda spot: screen.change(lambda: work(spot), spot.id),
    )


def split(screen: LoomPanes, row: OutlineRow) -> None:
    _at_place(screen, row, "Cut the branch in two", False,
              lambda spot: screen.branches.split(spot.id, spot.size))  # fmt: skip


def clip(screen: LoomPanes, row: OutlineRow) -> None:
    def work(spot: CutPlace) -> Change:
        if spot.size < screen.loom.nodes[spot.id].size:
            return screen.branches.clip(spot.id, spot.size)
        return screen.branches.delete(row.ids[row.ids.index(spot.id) + 1])

    _at_place(screen, row, "Delete from here on", True, work)


def trim(screen: LoomPanes, row: OutlineRow) -> None:
    """The last token or word; a node that has no more goes whole."""
    id = row.ids[-1]
    if len(screen.branches.edges(id)) == 1:
        screen.change(lambda: screen.branches.delete(id), screen.loom.nodes[id].parent)
    else:
        screen.change(lambda: screen.branches.trim(id), id)


def merge(screen: LoomPanes, row: OutlineRow) -> None:
    screen.change(lambda: screen.branches.merge(row.ids[0]), row.ids[0])


def move(screen: LoomPanes, row: OutlineRow) -> None:
    """Take a branch up; the second time, hang it below the selected row."""
    if screen.held is None or screen.held[0] != "move":
        screen.hold(("move", row.ids[0]), "take it to another row, v hangs it there, Esc lets go")
        return
    id = screen.held[1]
    screen.hold(None)
    screen.change(lambda: screen.branches.move(id, row.ids[-1]), id)


def _after(screen: LoomPanes, row: OutlineRow) -> int:
    """Where to go when this row is deleted: the next branch of the fork, or what is above."""
    siblings = screen.listing.siblings(screen.view.index)
    others = [one for one in siblings if one != screen.view.index]
    below = [one for one in others if one > screen.view.index]
    near = (below or others[-1:] or [screen.listing.parents[screen.view.index]])[0]
    return screen.listing.rows[near].ids[0] if near >= 0 else ROOT


def delete(screen: LoomPanes, row: OutlineRow) -> None:
    count = screen.listing.outline.below(row.ids[0]) + 1
    screen.change(lambda: screen.branches.delete(row.ids[0]), _after(screen, row))
    screen.flash(_deleted(screen, count))


def delete_children(screen: LoomPanes, row: OutlineRow) -> None:
    count = screen.listing.outline.below(row.ids[-1])
    screen.change(lambda: screen.branches.delete_children(row.ids[-1]), row.ids[-1])
    screen.flash(_deleted(screen, count))


def delete_siblings(screen: LoomPanes, row: OutlineRow) -> None:
    count = len(screen.listing.siblings(screen.view.index)) - 1
    screen.change(lambda: screen.branches.delete_siblings(row.ids[0]), row.ids[0])
    screen.flash(_deleted(screen, count))


def clear(screen: LoomPanes, row: OutlineRow) -> None:
    """Continuations below the row that nobody has read."""
    unread = screen.loom.sight.unread
    count = sum(id in unread for id in screen.loom.children.get(row.ids[-1], ()))
    screen.change(lambda: screen.branches.clear(row.ids[-1]), row.ids[-1])
    screen.flash(_deleted(screen, count))


def _deleted(screen: LoomPanes, count: int) -> str:
    if not count:
        return "there is nothing to delete"
    return f"{count:,} deleted, {screen.key('edit.undo')} brings back"


def classify(screen: LoomPanes, row: OutlineRow) -> None:
    """What the model would call the story, if it ended with this branch."""
    text, main = screen.loom.text(row.ids[-1]), screen.main
    screen.app.push_screen(LabelsDialog(main.session, main.options, text, "the branch"))


def alternative(screen: LoomPanes, row: OutlineRow) -> None:
    """Swap in another candidate that was there when a token was made."""
    tokens: list[BranchToken] = []
    for id in row.ids:
        number = 0
        for span in screen.loom.spans(screen.loom.nodes[id]):
            if span.index is None:
                continue
            tokens.append(
                BranchToken(id, number, span.data, _known(screen, span.piece.id, span.index))
            )
            number += 1
    if not tokens:
        screen.flash("no model wrote this")
        return

    def done(chosen: tuple[BranchToken, int]) -> None:
        token, choice = chosen
        screen.change(lambda: screen.branches.alternative(token.id, token.number, choice), None)

    screen.ask(AlternativesDialog(tokens), done)


def _known(screen: LoomPanes, piece: int, index: int) -> Callable[[], Sequence[Alternative]]:
    """Reads what was kept of a token's alternatives, when it is asked for."""

    def read() -> Sequence[Alternative]:
        known = screen.document.undo_log.birth(piece).alternatives
        return known[index] if index < len(known) else ()

    return read


def compare(screen: LoomPanes, row: OutlineRow) -> None:
    """This branch beside the story, or beside a branch that was taken for it before."""
    end, held = row.ids[-1], screen.held
    other = held[1] if held is not None and held[0] == "compare" else screen.loom.head
    story = {node.id for node in screen.loom.path()}
    if (held is None or held[0] != "compare") and end in story:
        screen.hold(("compare", end), "go to another branch; w compares, Esc lets go")
        return
    screen.hold(None)
    screen.app.push_screen(ComparisonDialog(screen.loom, other, end))
