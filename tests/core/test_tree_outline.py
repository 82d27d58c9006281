"""Rows, chunks, order, search and comparison of a loom."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.branch_comparison import compare
from llterm.core.loom_tree import ROOT
from llterm.core.tree_outline import Outline, children, find
from llterm.session.document import Document
from tests.helpers.document_edits import model_run
from tests.helpers.tree_commands import OPERATIONS, Operation, grown, perform


@pytest.fixture
def document() -> Document:
    """The red fox ran | sat | hid, and another beginning."""
    document = Document.scratch(b"The red")
    document.accept(model_run(b" fox"), 7)
    fox = document.loom.head
    document.branches.plant(fox, [
        replace(model_run(b" sat"), logprobs=(-2.0,)),
        replace(model_run(b" ran", b" away"), logprobs=(-0.25, -0.25)),
        replace(model_run(b" hid"), logprobs=(-1.0,)),
    ])  # fmt: skip
    document.branches.child(fox, " slept")
    document.branches.child(ROOT, "A blue")
    document.choose(document.loom.children[fox][1])
    return document


def rows(document: Document) -> list[tuple[str, int, int, bool]]:
    """Text, depth, nodes below, folded."""
    loom = document.loom
    return [
        (b"".join(loom.data(loom.nodes[id]) for id in row.ids).decode(), row.depth, row.below,
         row.folded)
        for row in Outline(loom).rows()
    ]  # fmt: skip


def text(document: Document, id: int) -> str:
    return document.loom.data(document.loom.nodes[id]).decode()


def test_a_row_is_a_run_without_a_fork(document: Document) -> None:
    assert rows(document) == [
        ("The red fox", 0, 4, False),
        (" sat", 1, 0, False), (" ran away", 1, 0, False), (" hid", 1, 0, False),
        (" slept", 1, 0, False),
        ("A blue", 0, 0, False),
    ]  # fmt: skip


def test_folded_branches_are_counted_and_hidden(document: Document) -> None:
    red, fox = document.loom.path()[:2]
    document.branches.fold(fox.id)
    assert rows(document) == [("The red fox", 0, 4, True), ("A blue", 0, 0, False)]
    document.branches.bookmark(fox.id)
    assert [row[0] for row in rows(document)] == ["The red", " fox", "A blue"]
    document.branches.fold(fox.id, False)
    document.branches.hoist(fox.id)
    assert rows(document)[0][:2] == (" sat", 0)
    assert Outline(document.loom).bookmarks() == [fox.id]
    document.branches.hoist(red.id)
    document.branches.delete(red.id)
    assert Outline(document.loom).root == ROOT


def test_children_are_sorted_as_asked(document: Document) -> None:
    fox = document.loom.path()[1].id
    assert [text(document, id) for id in children(document.loom, fox)] == [
        " sat", " ran away", " hid", " slept",
    ]  # fmt: skip
    document.branches.sort(fox, "probability")
    assert [text(document, id) for id in children(document.loom, fox)] == [
        " ran away", " hid", " sat", " slept",
    ]  # fmt: skip
    document.branches.sort(fox, "rating")
    document.branches.rate(document.loom.children[fox][3], 4)
    assert text(document, children(document.loom, fox)[0]) == " slept"
    document.branches.sort(fox, "time")
    assert document.branches.marks(fox).order == ""


def test_the_path_is_cut_at_forks(document: Document) -> None:
    chunks = Outline(document.loom).chunks()
    texts = ["".join(text(document, id) for id in chunk.ids) for chunk in chunks]
    assert texts == ["The red fox", " ran away"]
    assert [len(chunk.others) for chunk in chunks] == [3, 0]
    assert chunks[0].below == 3


def test_a_phrase_is_found_in_dead_branches_and_over_nodes(document: Document) -> None:
    hits = list(find(document.loom, "FOX HID"))
    assert [(text(document, hit.id), hit.before, hit.phrase, hit.after) for hit in hits] == [
        (" hid", "The red ", "fox hid", "")
    ]
    assert [text(document, hit.id) for hit in find(document.loom, "s")] == [" sat", " slept"]
    document.branches.delete(hits[0].id)
    assert list(find(document.loom, "fox hid")) == []
    assert list(find(document.loom, "")) == []


def test_letters_that_grow_in_lower_case_do_not_shift_the_rest() -> None:
    document = Document.scratch("İİ Straße É x".encode())
    (hit,) = find(document.loom, "straße é")
    assert hit.phrase == "Straße É"
    assert hit.after == " x"


@settings(max_examples=150)
@given(operations=st.lists(OPERATIONS, max_size=1))
def test_counts_and_rows_hold_for_any_loom(operations: list[list[Operation]]) -> None:
    document = grown()
    for operation in (one for some in operations for one in some):
        perform(document, operation)
    loom, outline = document.loom, Outline(document.loom)
    standing = [id for id in loom.nodes if loom.holds(id)]
    assert outline.below(ROOT) == len(standing)
    shown = [id for row in outline.rows(whole=True) for id in row.ids]
    assert sorted(shown) == sorted(standing)
    assert [id for chunk in outline.chunks() for id in chunk.ids] == [
        node.id for node in loom.path()
    ]
    for id in standing:
        assert outline.below(id) == len(list(loom.below(id))) - 1
    story = loom.text().decode("utf-8", "replace")
    for phrase in {story[:3], story[-4:]} - {""}:
        ends = {hit.id for hit in find(loom, phrase)}
        assert ends & {node.id for node in loom.path()}


def test_two_branches_side_by_side() -> None:
    document = Document.scratch(b"The fox")
    run = replace(model_run(b" ran", b" quick", b"ly home."), logprobs=(-0.5, -1.0, -0.25))
    one, other = document.branches.plant(
        document.loom.head, [run, replace(model_run(b" ran", b" home."), logprobs=(-0.5, -3.0))]
    )
    found = compare(document.loom, one, other)
    assert found.shared == b"The fox"
    assert [(part.same, *map(_words, (part.one, part.other))) for part in found.parts] == [
        (True, [(" ran", -0.5)], [(" ran", -0.5)]),
        (False, [(" quickly", -1.25)], []),
        (True, [(" home.", 0.0)], [(" home.", -3.0)]),
    ]


def _words(words: tuple[object, ...]) -> list[tuple[str, float | None]]:
    return [(word.data.decode(), word.logprob) for word in words]  # type: ignore[attr-defined]


def test_a_word_that_a_person_wrote_has_no_probability() -> None:
    document = Document.scratch(b"The fox")
    document.accept(model_run(b" ran", b" ho"), 7)
    end = len(document.text)
    document.edit(end, end, "me today")
    document.checkpoint()
    other = document.branches.child(ROOT, "A")
    found = compare(document.loom, document.loom.head, other)
    words = [word for part in found.parts for word in part.one]
    assert [(word.data, word.logprob) for word in words] == [
        (b"The", None), (b" fox", None), (b" ran", -1.0), (b" home", None), (b" today", None),
    ]  # fmt: skip


def test_a_branch_beside_itself_differs_nowhere(document: Document) -> None:
    head = document.loom.head
    found = compare(document.loom, head, head)
    assert found.shared == document.loom.text()
    assert found.parts == ()
    logprob = document.loom.logprob(head)
    assert logprob is not None
    assert math.exp(logprob) == pytest.approx(math.exp(-0.5))
