"""Commands on the tree of a loom."""

from __future__ import annotations

from hypothesis import strategies as st

from llterm.core.history import EVERY
from llterm.core.loom_tree import ROOT, LoomNode
from llterm.core.tree_outline import ORDERS
from llterm.errors import UsageError
from llterm.session.document import Document
from tests.helpers import document_edits
from tests.helpers.document_edits import DATA, TEXTS, model_run

Operation = tuple[object, ...]
PICK = st.integers(0, 1000)
COMMANDS = st.one_of(
    st.tuples(st.just("split"), PICK, st.floats(0, 1)),
    st.tuples(st.just("merge"), PICK),
    st.tuples(st.just("child"), PICK, TEXTS),
    st.tuples(st.just("sibling"), PICK, TEXTS),
    st.tuples(st.just("plant"), PICK, st.lists(DATA, min_size=1, max_size=3)),
    st.tuples(st.just("move"), PICK, PICK),
    st.tuples(st.just("delete"), PICK),
    st.tuples(st.just("delete_children"), PICK),
    st.tuples(st.just("delete_siblings"), PICK),
    st.tuples(st.just("clip"), PICK, st.floats(0, 1)),
    st.tuples(st.just("trim"), PICK, st.integers(1, 2)),
    st.tuples(st.just("alternative"), PICK, st.integers(0, 2)),
    st.tuples(st.just("bookmark"), PICK, st.booleans()),
    st.tuples(st.just("tag"), PICK, TEXTS),
    st.tuples(st.just("note"), PICK, TEXTS),
    st.tuples(st.just("rate"), PICK, st.integers(0, 5)),
    st.tuples(st.just("sort"), PICK, st.sampled_from(ORDERS)),
)
OPERATIONS = st.lists(
    st.one_of(COMMANDS, COMMANDS, document_edits.OPERATIONS.map(tuple)), max_size=18
)


def perform(document: Document, operation: Operation) -> None:
    """Do one command, or several edits; what makes no sense must be told and change nothing."""
    if not operation or isinstance(operation[0], tuple):
        for one in operation[:4]:
            assert isinstance(one, tuple)
            document_edits.perform(document, one)
        return
    name, pick, *rest = operation
    assert isinstance(pick, int)
    document.checkpoint()
    branches, nodes = document.branches, [ROOT, *sorted(document.loom.nodes)]
    id = nodes[pick % len(nodes)]
    node = document.loom.nodes.get(id)
    arguments: list[object] = list(rest)
    if name in ("split", "clip"):
        assert isinstance(rest[0], float)
        arguments = [int(rest[0] * (node.size if node else 1))]
    elif name == "plant":
        assert isinstance(rest[0], list)
        arguments = [[model_run(*rest[0]), model_run(b" other")]]
    elif name == "move":
        assert isinstance(rest[0], int)
        arguments = [nodes[rest[0] % len(nodes)]]
    elif name == "alternative":
        arguments = [rest[0], 0]
    before, text, steps = state(document), document.text, document.undo_label
    try:
        change = getattr(branches, str(name))(id, *arguments)
    except UsageError:
        assert (state(document), document.undo_label) == (before, steps)
        return
    if change is not None and hasattr(change, "text"):
        assert text[: change.start] + change.text + text[change.stop :] == document.text
        assert change.cursor == document.cursor


def grown() -> Document:
    """A loom with some branches."""
    document = Document.scratch("Once upon a time, é 日本 👩‍🚀.\r\n".encode())
    document.accept(model_run(b" the", b" f\xc3", b"\xa9x"), len(document.text))
    document.accept(model_run(b" ran", b"."), len(document.text))
    document.accept(model_run(b" sat"), len(document.text) - 5, carry=False)
    document.edit(4, 8, " before")
    document.branches.plant(document.loom.head, [model_run(b" a", b" b"), model_run(b" c")])
    document.checkpoint()
    return document


def state(document: Document) -> tuple[object, ...]:
    return (*document_edits.state(document), dict(document.loom.marks))


def kept(document: Document) -> set[int]:
    """The pieces in the tree, the bin, and the steps that can be undone or redone."""
    rows = list(document.loom.nodes.values())
    history = document.undo_log.history
    history.last(EVERY)
    for step in (*history.done, *history.undone):
        rows += (row for pair in step.nodes.values() for row in pair if isinstance(row, LoomNode))
    return {one.piece for row in rows for one in row.slices}
