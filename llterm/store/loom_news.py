"""What another llterm wrote to a loom since it was read: steps, and what they speak of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llterm.core.history import History, UndoStep, Value
from llterm.store.database import Connection
from llterm.store.stored_rows import read_sight, read_step, read_text, step_text
from llterm.store.stored_settings import read_setting

MOST_NEW = 2_000
"""Steps; of more the whole loom is read anew, which is quicker by then."""
_STEPS = "select id, label, silent, undone, rows from step where {} limit ?"


@dataclass(slots=True)
class LoomNews:
    """How a loom's history goes on from what is known of it, and the rows for that."""

    gone: Sequence[UndoStep]
    """Known steps that are not done any more, or are other ones by now; the newest first."""
    done: Sequence[UndoStep]
    """Those done in their place and after them, oldest first."""
    undone: Sequence[UndoStep]
    """All that can be redone, the next one last."""
    meta: dict[str, Value] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)
    """Of the pieces that the new steps speak of."""
    sight: Sequence[tuple[int, bool, bool]] = ()
    """Nodes of the new steps: whether each is folded, and unread."""
    newest_piece: int = 0
    newest_step: int = 0


def read_news(database: Connection, history: History, newest_piece: int) -> LoomNews:
    """What was written since this history was read. `newest_piece` is the last one known.

    Raises sqlite3.Error, and ValueError where the loom is to be read anew.
    """
    database.execute("begin")
    try:
        return _read(database, history, newest_piece)
    finally:
        database.rollback()


def _read(database: Connection, history: History, newest_piece: int) -> LoomNews:
    gone: list[UndoStep] = []
    common = 0
    for known in reversed(history.done):
        same = _steps(database, "id = ? and not undone", known.id)
        if same and step_text(same[0]) == step_text(known):
            common = known.id
            break
        gone.append(known)
    if not common and history.earlier is not None:
        raise ValueError("the history has changed further back than it was read")
    done = _steps(database, "not undone and id > ? order by id", common)
    undone = _steps(database, "undone and id > ? order by id desc", common)
    if len(done) >= MOST_NEW or len(undone) >= MOST_NEW:
        raise ValueError("too many steps are new")
    before = {step.id: step_text(step) for step in history.undone}
    news = LoomNews(gone, done, undone)
    new = [*done, *(step for step in undone if before.get(step.id) != step_text(step))]
    for name, value in database.rows("select key, value from meta"):
        news.meta[name] = read_setting(name, value)
    for piece in sorted(_pieces(new)):
        for row in database.rows("select id, data from piece where id = ?", (piece,), first=1):
            news.texts.update([read_text(*row)])
    nodes = {id for step in done for id in step.nodes}
    sql = "select node, folded, unread from sight where node = ?"
    news.sight = [read_sight(row) for id in sorted(nodes) for row in database.rows(sql, (id,))]
    newest = "select (select max(id) from piece), (select max(id) from step)"
    ((last_piece, last_step),) = database.rows(newest)
    news.newest_piece, news.newest_step = max(last_piece or 0, newest_piece), last_step or 0
    return news


def _steps(database: Connection, which: str, id: int) -> list[UndoStep]:
    return [read_step(row)[0] for row in database.rows(_STEPS.format(which), (id, MOST_NEW))]


def _pieces(steps: Iterable[UndoStep]) -> set[int]:
    nodes = (node for step in steps for pair in step.nodes.values() for node in pair)
    return {one.piece for node in nodes if node is not None for one in node.slices}
