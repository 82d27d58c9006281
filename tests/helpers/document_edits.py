"""Edits of a document, and what holds after each of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from llterm.core.display_text import display_text
from llterm.core.loom_tree import BIN, ROOT
from llterm.session.document import Document
from llterm.session.manuscript import Change, ModelRun

TEXTS = st.sampled_from(
    ["a", "the fox", " ", "\n", "é", "日本", "👩‍🚀", "a\u0301", "\x1b[31m", "\u202e", "x\r\ny", ""]
)
DATA = st.sampled_from(
    [b" the", b" fox", b".", b"\xe2", b"\x80\x94", b"\xff", "é".encode(), b"\x1b", b"\r\n", b" "]
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.floats(0, 1), st.floats(0, 0.4), TEXTS),
        st.tuples(st.just("type"), TEXTS),
        st.tuples(st.just("backspace")),
        st.tuples(st.just("accept"), st.floats(0, 1), st.lists(DATA, min_size=1, max_size=3)),
        st.tuples(st.just("go on"), st.floats(0, 1), st.lists(DATA, min_size=1, max_size=3)),
        st.tuples(st.just("undo")),
        st.tuples(st.just("redo")),
        st.tuples(st.just("rules"), st.integers(1, 30)),
        st.tuples(st.just("prefix"), TEXTS),
        st.tuples(st.just("choose"), st.integers(0, 100)),
        st.tuples(st.just("checkpoint")),
    ),
    max_size=25,
)


def model_run(*tokens: bytes, overlap: int = 0) -> ModelRun:
    whole = b"".join(tokens)
    return ModelRun(
        ids=tuple(range(10, 10 + len(tokens))),
        sizes=tuple(map(len, tokens)),
        data=whole[overlap:],
        logprobs=(-1.0,) * len(tokens),
        overlap=overlap,
        model="m",
        fingerprint="f",
        settings={"depth": 3},
        alternatives=tuple(((1, b"x", -2.0),) for _ in tokens),
    )


def perform(document: Document, operation: tuple[object, ...]) -> None:
    """Do one operation, and hold the returned change against the text."""
    before, length = document.text, len(document.text)
    change: Change | None = None
    match operation:
        case ("edit", float(where), float(share), str(text)):
            start = int(where * length)
            change = document.edit(start, min(start + int(share * length), length), text)
        case ("type", str(text)):
            change = document.edit(document.cursor, document.cursor, text)
        case ("backspace",) if document.cursor:
            change = document.edit(document.cursor - 1, document.cursor, "")
        case ("accept", float(where), list(tokens)):
            change = document.accept(model_run(*tokens), int(where * length))
        case ("go on", float(where), list(tokens)):
            change = document.accept(model_run(*tokens), int(where * length), carry=False)
        case ("undo",):
            change = document.undo()
        case ("redo",):
            change = document.redo()
        case ("rules", int(depth)):
            document.set_rules(replace(document.rules, depth=depth))
        case ("prefix", str(text)):
            document.set_prefix(text)
        case ("choose", int(pick)) if document.loom.nodes:
            nodes = sorted(filter(document.loom.holds, document.loom.nodes))
            change = document.choose(nodes[pick % len(nodes)]) if nodes else None
        case ("checkpoint",):
            document.checkpoint()
    if change is not None:
        assert before[: change.start] + change.text + before[change.stop :] == document.text
        assert change.cursor == document.cursor
    assert 0 <= document.cursor <= len(document.text)


def state(document: Document) -> tuple[object, ...]:
    loom = document.loom
    return (
        document.bytes_before(len(document.text)),
        dict(loom.nodes),
        loom.head,
        document.rules,
        document.prefix,
    )


def check(document: Document) -> None:
    """What holds at every moment."""
    data = document.bytes_before(len(document.text))
    assert document.text == display_text(data)
    loom = document.loom
    assert data == b"".join(map(loom.data, loom.path()))
    for node in loom.nodes.values():
        assert node.parent in (ROOT, BIN) or node.parent in loom.nodes
        for piece, start, stop in node.slices:
            assert 0 <= start < stop <= len(loom.pieces[piece].data)
    assert b"".join(run.data for run in document.runs_before(len(document.text))) == data
    for offset in range(0, len(document.text) + 1, 3):
        size = len(document.bytes_before(offset))
        assert document.display_offset(size) == offset
