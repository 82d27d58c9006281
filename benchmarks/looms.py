"""Looms of 1,000, 10,000 and 100,000 nodes: open, look, search, edit, undo; bytes a token."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rows import Row
from llterm.backends.scripted import ScriptedBackend
from llterm.config import Config
from llterm.core.history import UndoStep
from llterm.core.loom_tree import ROOT, LoomNode, Piece, PieceSlice
from llterm.core.provenance import Provenance, provenance_text
from llterm.core.query import Backend
from llterm.core.server_news import HearNews
from llterm.core.tree_outline import Outline, find
from llterm.serve.loom_records import page_record
from llterm.session.document import Document
from llterm.session.manuscript import ModelRun
from llterm.session.stories import STORIES
from llterm.store.file import LoomFile
from llterm.store.stored_rows import Changes
from llterm.ui.launch import Launch
from llterm.ui.llterm_app import LltermApp
from llterm.ui.loom.loom_screen import LoomScreen

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5
TOKENS = 4
"""Tokens of a node."""
PAGE, PAGED = 500, 10_000
"""Nodes of a page, and the largest loom for which its budget counts."""
PAGE_BUDGET = 50.0
"""Milliseconds."""
OPEN_BUDGET = 1.0
"""Seconds for the largest loom."""


def measure() -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder, f"{size}.loom")
            grow(path, size)
            rows += _measured(path, size)
            rows += asyncio.run(_drawn(path, size))
        rows.append(_size(Path(folder, "size.loom")))
    return rows


def grow(path: Path, size: int) -> None:
    """A loom of so many accepts, each a step: a story of a tenth of them, and dead branches."""
    dice = random.Random(1)
    words = (STORIES[0].text + " frighten him.").split()
    changes = Changes()
    story, parent = [ROOT], ROOT
    birth = provenance_text(Provenance({"depth": 12}, _alternatives()))
    for id in range(2, size + 2):
        data = "".join(f" {dice.choice(words)}" for _ in range(TOKENS)).encode()
        sizes = tuple(len(word) + 1 for word in data[1:].split(b" "))
        changes.pieces[id] = Piece(
            id, data, "fable", float(id), tuple(range(TOKENS)), sizes, 0, "f",
            (-1.5,) * TOKENS, birth,
        )  # fmt: skip
        on_story = id % 10 == 0
        above = story[-1] if on_story else parent
        node = LoomNode(id, above, (PieceSlice(id, 0, len(data)),))
        changes.nodes[id] = node
        step = UndoStep("accept", nodes={id: (None, node)}, facts={"head": (above, id)}, id=id)
        changes.steps[id] = step, False
        if on_story:
            story.append(id)
        parent = id if dice.random() < 0.7 else dice.choice(story)
    changes.meta = {"head": story[-1], "next_node": size + 2}
    file = LoomFile(path, new=True)
    file.commit(changes)
    file.close()


def _measured(path: Path, size: int) -> list[Row]:
    def opened() -> None:
        Document.open(path).close()

    budget = OPEN_BUDGET if size == max(SIZES) else None
    rows = [Row(f"open a loom of {size:,} nodes", _best(opened), "s", budget)]
    document = Document.open(path)
    document.branches.delete_children(ROOT)
    turn = itertools.cycle((document.undo, document.redo))
    document.undo()

    def typed() -> None:
        document.edit(len(document.text), len(document.text), "a word ")
        document.checkpoint()

    def looked() -> None:
        list(itertools.islice(Outline(document.loom).rows(), 50))

    def searched() -> None:
        assert list(find(document.loom, "FRIGHTEN HIM"))

    def paged() -> None:
        page_record(document, ROOT, size // 2, PAGE, None)

    page_budget = PAGE_BUDGET if size <= PAGED else None
    rows += [
        Row(f"tell a page of {PAGE} nodes of {size:,}, as a server does", _best(paged) * 1000,
            "ms", page_budget),
        Row(f"count and show the outline, {size:,} nodes", _best(looked) * 1000, "ms"),
        Row(f"search every branch, {size:,} nodes", _best(searched) * 1000, "ms"),
        Row(f"undo or redo deleting it all, {size:,} nodes", _best(lambda: next(turn)()) * 1000,
            "ms"),
        Row(f"type, at the end of {size // 10:,} nodes", _best(typed) * 1000, "ms"),
        Row(f"file of {size:,} nodes", path.stat().st_size / 1e6, "MB"),
    ]  # fmt: skip
    document.close()
    return rows


async def _drawn(path: Path, size: int) -> list[Row]:
    """The loom screen at 80×24: listing the rows anew, and drawing what is on screen of them."""

    async def opening(_: object, hear: HearNews) -> Backend:
        return ScriptedBackend()

    launch = Launch(path, None, None, None, Config(), opening, "scripted", False)
    app = LltermApp(launch, Document.open(path))
    rows = []
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+l")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, LoomScreen)
        turn = itertools.cycle((1, -1))

        def redrawn() -> None:
            view = screen.view
            view.show(screen.listing, view.index)
            assert [view.render_line(y) for y in range(view.size.height)]

        def moved() -> None:
            screen.view.select(screen.view.index + next(turn))
            screen.look()

        for name in ("outline", "map"):
            rows += [
                Row(f"list the {name} anew, {size:,} nodes", _best(screen.relist) * 1000, "ms"),
                Row(f"redraw the {name}, {size:,} nodes", _best(redrawn) * 1000, "ms"),
                Row(f"move in the {name}, {size:,} nodes", _best(moved) * 1000, "ms"),
            ]
            screen.turn()
            await pilot.pause()
    return rows


def _size(path: Path) -> Row:
    """What an accepted token costs on disk, with its alternatives and the step to undo it."""
    document = Document.create(path, b"Once upon a time")
    document.close()
    empty = path.stat().st_size
    document = Document.open(path)
    run = ModelRun(
        ids=(1, 2, 3, 4), sizes=(4, 4, 4, 4), data=b" foo bar baz qux", logprobs=(-1.25,) * TOKENS,
        overlap=0, model="fable", fingerprint="0123456789abcdef", settings={"depth": 12},
        alternatives=_alternatives(),
        rejected=tuple((b" some other words, said he.", -3.25) for _ in range(4)),
    )  # fmt: skip
    count = 1000
    for _ in range(count):
        document.accept(run, len(document.text))
    document.close()
    bytes_a_token = (path.stat().st_size - empty) / (count * TOKENS)
    note = f"{TOKENS} tokens an accept, with 5 alternatives each and 4 rejected suggestions"
    return Row("file size an accepted token", bytes_a_token, "bytes", note=note)


def _alternatives() -> tuple[tuple[tuple[int, bytes, float], ...], ...]:
    return (tuple((id, b" word", -1.0 - id) for id in range(5)),) * TOKENS


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
