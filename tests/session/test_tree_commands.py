"""Commands on the tree: any sequence of them can be undone, redone, and survives a restart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.loom_tree import BIN, ROOT, Marks
from llterm.core.tree_outline import find
from llterm.errors import UsageError
from llterm.formats.exports import ExportOptions
from llterm.session.document import Document
from tests.helpers.document_edits import check, model_run
from tests.helpers.exports import export
from tests.helpers.soak_rounds import rounds
from tests.helpers.tree_commands import (
    OPERATIONS,
    Operation,
    grown,
    kept,
    perform,
    state,
)


@settings(max_examples=rounds(300))
@given(operations=OPERATIONS)
def test_undone_gives_the_first_state_and_redone_the_last(operations: list[Operation]) -> None:
    document = grown()
    for operation in operations:
        perform(document, operation)
        check(document)
        document.loom.check()
    while document.redo() is not None:
        pass
    last = state(document)
    while document.undo() is not None:
        document.loom.check()
    assert state(document) == state(Document.scratch(document.bytes_before(10**9)))
    while document.redo() is not None:
        check(document)
    assert state(document) == last


@settings(max_examples=rounds(60))
@given(operations=OPERATIONS)
def test_a_restart_changes_nothing(operations: list[Operation]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.loom")
        grown().copy_to(path)
        document, twin = Document.open(path), grown()
        for index, operation in enumerate(operations):
            perform(document, operation)
            perform(twin, operation)
            if index % 3 == 2:
                document.close()
                document = Document.open(path)
                twin.checkpoint()
            assert state(document) == state(twin)
            assert document.loom.sight == twin.loom.sight
        document.close()
        document = Document.open(path)
        while document.undo() is not None:
            assert twin.undo() is not None
            assert state(document) == state(twin)
        assert twin.undo() is None
        document.close()


@settings(max_examples=rounds(200))
@given(operations=OPERATIONS)
def test_a_models_text_is_never_lost(operations: list[Operation]) -> None:
    """It is in the tree, in the bin, or one undo or redo away."""
    document = grown()
    for operation in operations:
        perform(document, operation)
        document.checkpoint()
        assert models(document, document.loom.pieces.texts) <= kept(document)


def models(document: Document, pieces: Iterable[int]) -> set[int]:
    """Those that a model wrote."""
    return {one for one in pieces if document.loom.pieces[one].ids is not None}


@settings(max_examples=rounds(200))
@given(operations=OPERATIONS, back=st.integers(1, 9), text=st.sampled_from(["!", " new"]))
def test_new_work_after_undos_keeps_the_story_and_every_undone_text(
    operations: list[Operation], back: int, text: str
) -> None:
    """What the undone steps had added is in the tree again, beside a story that is as it was."""
    document = grown()
    for operation in operations:
        perform(document, operation)
    document.checkpoint()
    while document.redo() is not None:
        pass
    had = reachable(document)
    for _ in range(back):
        document.undo()
    story, now = document.bytes_before(len(document.text)), standing(document)
    at = len(document.text)
    document.edit(at, at, text)
    document.checkpoint()
    assert document.bytes_before(10**9) == story + text.encode()
    assert now <= standing(document)
    assert models(document, had) <= reachable(document)
    document.loom.check()
    check(document)


def reachable(document: Document) -> set[int]:
    """The pieces that are read along some branch, or lie in the bin."""
    return {one.piece for node in document.loom.nodes.values() for one in node.slices}


def standing(document: Document) -> set[int]:
    """Those that are read along some branch."""
    nodes = filter(lambda node: document.loom.holds(node.id), document.loom.nodes.values())
    return {one.piece for node in nodes for one in node.slices}


@pytest.fixture
def document() -> Document:
    document = Document.scratch(b"The")
    document.accept(model_run(b" little", b" fox"), 3)
    document.accept(model_run(b" ran"), len(document.text))
    return document


def texts(document: Document, id: int = ROOT) -> list[str]:
    loom = document.loom
    return [loom.data(loom.nodes[one]).decode() for one in loom.children.get(id, ())]


def test_split_and_merge_give_the_same_node_back(document: Document) -> None:
    node = document.loom.path()[1]
    document.branches.split(node.id, 7)
    assert [document.loom.data(one) for one in document.loom.path()] == [
        b"The", b" little", b" fox", b" ran",
    ]  # fmt: skip
    assert document.text == "The little fox ran"
    document.branches.merge(document.loom.path()[2].id)
    assert document.loom.path()[1] == node


def test_a_merge_keeps_every_token_and_its_probability(document: Document) -> None:
    document.branches.merge(document.loom.path()[2].id)
    merged = document.loom.path()[1]
    assert [(span.data, span.logprob) for span in document.loom.spans(merged)] == [
        (b" little", -1.0), (b" fox", -1.0), (b" ran", -1.0),
    ]  # fmt: skip
    document.branches.merge(merged.id)
    (whole,) = document.loom.path()
    assert [span.logprob for span in document.loom.spans(whole)] == [None, -1.0, -1.0, -1.0]
    assert [run.ids for run in document.runs_before(99)] == [None, (10, 11), (10,)]


def test_a_merge_leaves_other_children_their_parent(document: Document) -> None:
    _, fox, ran = document.loom.path()
    document.branches.child(fox.id, " sat")
    document.branches.merge(ran.id)
    assert texts(document, fox.id) == [" sat"]
    assert document.text == "The little fox ran"
    assert texts(document, fox.parent) == [" little fox", " little fox ran"]


def test_deleting_ends_the_story_before_it_and_the_bin_has_it(document: Document) -> None:
    _, fox, ran = document.loom.path()
    change = document.branches.delete(fox.id)
    assert document.text == "The"
    assert (change.start, change.text) == (3, "")
    assert texts(document, BIN) == [" little fox"]
    with pytest.raises(UsageError, match="not there"):
        document.branches.bookmark(ran.id)
    with pytest.raises(UsageError, match="not there"):
        document.choose(ran.id)
    document.branches.move(fox.id, ROOT)
    document.choose(fox.id)
    assert document.text == " little fox ran"
    for _ in range(3):
        document.undo()
    assert document.text == "The little fox ran"
    assert texts(document, BIN) == []


def test_children_and_siblings_are_deleted_apart(document: Document) -> None:
    _, fox, ran = document.loom.path()
    document.branches.sibling(ran.id, " sat")
    document.branches.sibling(ran.id, " hid")
    document.branches.delete_siblings(ran.id)
    assert texts(document, fox.id) == [" ran"]
    document.undo()
    document.branches.delete_children(fox.id)
    assert texts(document, fox.id) == []
    assert document.text == "The little fox"


def test_clip_and_trim_take_tokens_off_the_end(document: Document) -> None:
    fox = document.loom.path()[1]
    document.branches.trim(fox.id)
    assert document.text == "The little"
    document.undo()
    document.branches.clip(fox.id, 4)
    assert document.text == "The lit"
    typed = document.branches.child(ROOT, "some words of mine")
    document.branches.trim(typed, 2)
    assert document.loom.data(document.loom.nodes[typed]) == b"some words"


def test_an_alternative_goes_in_and_the_old_tail_stays(document: Document) -> None:
    fox = document.loom.path()[1]
    document.branches.alternative(fox.id, 1, 0)
    assert document.text == "The littlex"
    assert texts(document, fox.id) == [" fox", "x"] or texts(document, fox.id) == ["x", " fox"]
    node = document.loom.path()[-1]
    assert [(span.logprob, span.piece.author) for span in document.loom.spans(node)] == [
        (-2.0, "m")
    ]
    document.undo()
    assert document.text == "The little fox ran"
    with pytest.raises(UsageError, match="no such token"):
        document.branches.alternative(fox.id, 2, 0)
    with pytest.raises(UsageError, match="no such alternative"):
        document.branches.alternative(fox.id, 1, 7)


def test_an_alternative_of_a_healed_token_finishes_the_same_word() -> None:
    document = Document.scratch(b"The bea")
    run = model_run(b" beau", b"ty", overlap=4)
    object.__setattr__(run, "alternatives", (((7, b" bears", -2.0), (8, b" be", -3.0)), ()))
    document.accept(run, 7)
    node = document.loom.path()[-1].id
    with pytest.raises(UsageError, match="no text"):
        document.branches.alternative(node, 0, 1)
    document.branches.alternative(node, 0, 0)
    assert document.text == "The bears"


def test_planted_continuations_are_unread_until_seen_and_can_be_cleared(
    document: Document,
) -> None:
    fox = document.loom.path()[1]
    text = document.text
    made = document.branches.plant(fox.id, [model_run(b" sat"), model_run(b""), model_run(b" hid")])
    assert len(made) == 2
    assert document.text == text
    assert document.loom.sight.unread == set(made)
    document.branches.read(made[0])
    document.branches.clear(fox.id)
    assert texts(document, fox.id) == [" ran", " sat"]
    document.undo()
    assert texts(document, fox.id) == [" ran", " sat", " hid"]


def test_marks_are_steps_and_how_it_is_looked_at_is_not(document: Document) -> None:
    _, fox, ran = document.loom.path()
    branches = document.branches
    branches.bookmark(fox.id)
    branches.rate(fox.id, 4)
    branches.tag(fox.id, " hero ", "hero", "")
    branches.note(fox.id, "a\x1b[31mnote")
    branches.sort(ROOT, "probability")
    wanted = Marks(bookmark=True, rating=4, tags=("hero",), note="a\x1b[31mnote")
    assert branches.marks(fox.id) == wanted
    branches.fold(fox.id)
    branches.hoist(fox.id)
    assert document.undo_label == "sort children"
    for _ in range(5):
        document.undo()
    assert document.loom.marks == {}
    assert document.loom.sight.folded == {fox.id}
    with pytest.raises(UsageError, match="from 1 to 5"):
        branches.rate(ran.id, 6)
    with pytest.raises(UsageError, match="sorted by 'length'"):
        branches.sort(ran.id, "length")


def test_a_merged_node_takes_over_what_was_noted(document: Document) -> None:
    _, fox, ran = document.loom.path()
    document.branches.bookmark(fox.id)
    document.branches.tag(fox.id, "a")
    document.branches.tag(ran.id, "b")
    document.branches.merge(ran.id)
    assert document.branches.marks(fox.id) == Marks(bookmark=True, tags=("a", "b"))


def test_nothing_hangs_under_itself(document: Document) -> None:
    first, _, ran = document.loom.path()
    with pytest.raises(UsageError, match="under itself"):
        document.branches.move(first.id, ran.id)
    assert document.branches.move(ran.id, ran.parent).text == ""
    document.branches.move(ran.id, first.id)
    assert document.text == "The ran"


def test_a_branch_that_nobody_read_is_not_walked_into(document: Document) -> None:
    _, fox, ran = document.loom.path()
    (made,) = document.branches.plant(ran.id, [model_run(b" away")])
    document.choose(document.branches.child(fox.id, " sat"))
    document.choose(fox.id)
    assert document.text == "The little fox sat"
    document.choose(ran.id)
    assert document.text == "The little fox ran"
    document.choose(made)
    assert document.text == "The little fox ran away"


def test_a_phrase_in_a_dead_branch_is_found_revived_and_published(tmp_path: Path) -> None:
    """Ten forks, twenty undos, a restart, and nothing is lost."""
    path = tmp_path / "a.loom"
    document = Document.create(path, b"Once")
    for number in range(10):
        end = len(document.text)
        document.accept(model_run(b" dead", b" end %d." % number), end)
        document.undo()
        document.accept(model_run(b" step", b" %d" % number), end)
    for _ in range(20):
        document.undo()
    assert document.text == "Once"
    document.edit(4, 4, " more")
    document.close()
    again = Document.open(path)
    (hit,) = find(again.loom, "step 5 dead end 6.")
    again.choose(hit.id)
    assert again.text.endswith(" step 4 step 5 dead end 6.")
    text = again.text
    again.close()
    assert text.encode() in export(path, "markdown", ExportOptions())
    assert b"dead" in export(path, "html", ExportOptions(every=True))


@pytest.mark.parametrize("command", ["trim", "clip", "split", "child"])
def test_a_command_after_undos_means_the_node_that_was_shown(command: str) -> None:
    """Keeping what was undone as a branch cuts nodes; the command is about the whole text."""
    document = grown()
    document.undo()
    document.undo()
    node = document.loom.nodes[2]
    text = document.loom.data(node)
    if command == "trim":
        document.branches.trim(2)
    elif command == "clip":
        document.branches.clip(2, len(text) - 3)
    elif command == "split":
        document.branches.split(2, len(text) - 3)
    else:
        document.branches.child(2, " and more")
    loom = document.loom
    loom.check()
    ends = {
        b"".join(loom.data(one) for one in loom.path(id)) for id in loom.nodes if loom.holds(id)
    }
    wanted = {"trim": text[:-2], "child": text + b" and more"}.get(command, text[:-3])
    assert wanted in ends
    document.undo()
    assert loom.data(loom.nodes[2]).startswith(b"Once")
    loom.check()
