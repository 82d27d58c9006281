"""The document: text and tree under any sequence of edits; undo, redo, restart; nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.loom_tree import ROOT, LoomNode
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import UsageError
from llterm.session.document import Document
from tests.helpers.document_edits import OPERATIONS, check, model_run, perform, state
from tests.helpers.soak_rounds import rounds


@settings(max_examples=rounds(250))
@given(operations=OPERATIONS)
def test_undone_gives_the_first_state_and_redone_the_last(
    operations: list[tuple[object, ...]],
) -> None:
    document = Document.scratch(b"Once upon a time.")
    first = state(document)
    for operation in operations:
        perform(document, operation)
        check(document)
    while document.redo_label is not None:
        document.redo()
    last = state(document)
    while document.undo_label is not None:
        document.undo()
        check(document)
    assert state(document) == first
    while document.redo_label is not None:
        document.redo()
        check(document)
    assert state(document) == last


@settings(max_examples=rounds(60))
@given(operations=OPERATIONS, cut=st.integers(0, 25))
def test_a_restart_changes_nothing(operations: list[tuple[object, ...]], cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.loom")
        document = Document.create(path, b"Once upon a time.")
        twin = Document.scratch(b"Once upon a time.")
        for index, operation in enumerate(operations):
            perform(document, operation)
            perform(twin, operation)
            if index == cut or index % 7 == 6:
                cursor = document.cursor
                document.close()
                document = Document.open(path)
                twin.checkpoint()
                assert document.cursor == cursor
            check(document)
            assert state(document) == state(twin)
            assert document.undo_label == twin.undo_label
            assert document.redo_label == twin.redo_label
        document.close()


@settings(max_examples=rounds(80))
@given(operations=OPERATIONS)
def test_an_accepted_text_is_always_somewhere(operations: list[tuple[object, ...]]) -> None:
    """In the tree, or one redo away: also after new work on top of an undo."""
    document = Document.scratch(b"Once")
    accepted = 0
    for operation in operations:
        perform(document, operation)
        accepted += operation[0] in ("accept", "go on")
        models = {n.piece for n in document.loom.nodes.values()} | {
            row.piece
            for step in document.undo_log.history.undone
            for pair in step.nodes.values()
            for row in pair
            if isinstance(row, LoomNode)
        }
        present = sum(document.loom.pieces[piece].ids is not None for piece in models)
        assert present == accepted


@settings(max_examples=rounds(150))
@given(operations=OPERATIONS)
def test_each_undo_and_redo_is_one_step_exactly(operations: list[tuple[object, ...]]) -> None:
    document = Document.scratch(b"Once upon a time.")
    moments = [state(document)]
    for operation in operations:
        if operation[0] in ("undo", "redo"):
            continue
        perform(document, operation)
        document.checkpoint()
        steps = len(document.undo_log.history.done)
        assert steps - len(moments) < 1
        moments[steps:] = [state(document)]
    for moment in moments[-2::-1]:
        document.undo()
        assert state(document) == moment
    for moment in moments[1:]:
        document.redo()
        assert state(document) == moment


def test_undo_and_redo_give_back_the_cursor() -> None:
    document = Document.scratch(b"The fox ran.")
    document.cursor = 7
    for letter in "es":
        document.edit(document.cursor, document.cursor, letter)
    document.cursor = 3
    document.accept(model_run(b" cat"), 3, carry=False)
    document.cursor = 1
    document.set_rules(WeaveSettings(depth=3))
    document.undo()
    assert document.cursor == 1
    document.undo()
    assert (document.text, document.cursor) == ("The foxes ran.", 3)
    document.undo()
    assert (document.text, document.cursor) == ("The fox ran.", 7)
    document.redo()
    assert (document.text, document.cursor) == ("The foxes ran.", 9)
    document.redo()
    assert (document.text, document.cursor) == ("The cat", 7)


def test_changes_of_one_setting_in_a_row_are_one_step() -> None:
    document = Document.scratch(b"The")
    document.set_rules(WeaveSettings(depth=5))
    document.set_rules(WeaveSettings(depth=6))
    document.set_rules(WeaveSettings(depth=6, cutoff=0.2))
    document.undo()
    assert document.rules == WeaveSettings(depth=6)
    document.undo()
    assert document.rules == WeaveSettings()
    document.set_rules(WeaveSettings(depth=9))
    document.set_rules(WeaveSettings())
    assert document.undo_label is None


def test_choosing_what_is_not_there_changes_nothing() -> None:
    document = Document.scratch(b"The")
    document.choose(document.loom.head)
    with pytest.raises(UsageError, match="not there"):
        document.choose(4711)
    assert document.text == "The"
    assert document.undo_label is None


def test_text_that_was_not_touched_keeps_its_bytes() -> None:
    document = Document.scratch(b"a\x1b\xff\r\nb\xe2\x80\xa8c")
    assert document.text == "a␛\ufffd␍\nb\ufffdc"
    document.edit(5, 6, "B\r\nB\rB\x1b")
    assert document.bytes_before(99) == b"a\x1b\xff\r\nB\nB\nB\x1b\xe2\x80\xa8c"
    document.edit(1, 2, "")
    assert document.bytes_before(99) == b"a\xff\r\nB\nB\nB\x1b\xe2\x80\xa8c"


def test_a_character_in_two_accepts_joins() -> None:
    document = Document.scratch(b"caf")
    document.accept(model_run(b"\xc3"), 3)
    assert document.text == "caf\ufffd"
    change = document.accept(model_run(b"\xa9", b"s"), 4)
    assert document.text == "cafés"
    assert (change.start, change.stop, change.text, change.cursor) == (3, 4, "és", 5)
    document.undo()
    assert document.text == "caf\ufffd"


def test_a_token_without_text_at_a_cut_stands_once() -> None:
    document = Document.scratch(b"")
    run = replace(model_run(b"A", b"", b"B"), sizes=(1, 0, 1))
    document.accept(run, 0)
    document.edit(1, 1, "x")
    ids = [run.ids for run in document.runs_before(3)]
    assert ids == [(10, 11), None, (12,)]


def test_a_burst_is_one_node_and_one_step() -> None:
    document = Document.scratch(b"The")
    for letter in " little fox":
        document.edit(document.cursor, document.cursor, letter)
    for _ in range(3):
        document.edit(document.cursor - 1, document.cursor, "")
    document.edit(document.cursor, document.cursor, "dog")
    assert document.text == "The little dog"
    assert len(document.loom.nodes) == 2
    document.undo()
    assert document.text == "The"
    assert document.undo_label is None


def test_deleting_into_a_models_text_forks_once_and_keeps_it() -> None:
    document = Document.scratch(b"The")
    document.accept(model_run(b" little", b" fox"), 3)
    for _ in range(6):
        document.edit(document.cursor - 1, document.cursor, "")
    document.edit(document.cursor, document.cursor, "er")
    assert document.text == "The litter"
    assert len(document.loom.nodes) == 4
    texts = {document.loom.data(node) for node in document.loom.nodes.values()}
    assert texts == {b"The", b" litt", b"le fox", b"er"}


def test_an_edit_in_the_middle_carries_the_rest_and_keeps_the_old_branch() -> None:
    document = Document.scratch(b"The little fox ran.")
    document.edit(4, 10, "old")
    assert document.text == "The old fox ran."
    (first,) = document.loom.children[ROOT]
    branches = [document.loom.deepest(id) for id in document.loom.children[first]]
    document.choose(branches[0])
    assert document.text == "The little fox ran."
    document.undo()
    assert document.text == "The old fox ran."


def test_going_on_in_the_middle_leaves_the_tail_as_a_branch() -> None:
    document = Document.scratch(b"The fox ran.")
    document.accept(model_run(b" cat"), 3, carry=False)
    assert document.text == "The cat"
    left = document.loom.children[document.loom.path()[0].id]
    assert {document.loom.data(document.loom.nodes[id]) for id in left} == {b" fox ran.", b" cat"}


def test_new_work_after_an_undo_keeps_what_was_undone_as_a_branch() -> None:
    document = Document.scratch(b"The")
    document.accept(model_run(b" fox"), 3)
    document.undo()
    document.accept(model_run(b" cat"), 3)
    assert document.text == "The cat"
    texts = {document.loom.data(node) for node in document.loom.nodes.values()}
    assert {b" fox", b" cat"} <= texts


def test_runs_keep_whole_tokens_and_the_rest_is_text() -> None:
    document = Document.scratch(b"The bea")
    document.accept(model_run(b" beau", b"ty", b" ran", overlap=4), 7)
    whole = document.runs_before(len(document.text))
    assert [(run.data, run.ids, run.overlap) for run in whole] == [
        (b"The bea", None, 0),
        (b"uty ran", (10, 11, 12), 4),
    ]
    part = document.runs_before(len("The beauty r"))
    assert [(run.data, run.ids, run.overlap) for run in part] == [
        (b"The bea", None, 0),
        (b"uty", (10, 11), 4),
        (b" r", None, 0),
    ]


def test_a_loom_is_private_and_says_what_made_it(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    document = Document.create(path, b"The", WeaveSettings(depth=5))
    document.accept(model_run(b" fox"), 3)
    document.set_prefix("memory")
    assert document.model == "m"
    document.model = "other"
    document.close()
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    again = Document.open(path)
    assert again.rules.depth == 5
    assert again.prefix == "memory"
    assert again.model == "other"
    piece = again.loom.pieces[max(again.loom.pieces.texts)]
    assert (piece.author, piece.ids, piece.logprobs) == ("m", (10,), (-1.0,))
    again.close()


def test_a_second_llterm_reads_only(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    document = Document.create(path, b"The")
    second = Document.open(path)
    assert second.read_only
    assert second.text == "The"
    with pytest.raises(UsageError, match="reading only"):
        second.edit(3, 3, "x")
    second.close()
    document.edit(3, 3, "x")
    document.close()
    third = Document.open(path)
    assert not third.read_only
    assert third.text == "Thex"
    third.close()


@pytest.mark.parametrize("content", [b"just text", b"SQLite format 3\0" + b"x" * 200, b"\0" * 5000])
def test_a_file_that_is_no_loom_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.loom"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Document.open(path)
    assert "a.loom" in caught.value.title
    assert caught.value.hint
    assert path.read_bytes() == content


def test_missing_folder_and_taken_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder"):
        Document.open(tmp_path)
    with pytest.raises(UsageError, match="could not be opened"):
        Document.open(tmp_path / "none.loom")
    Document.create(tmp_path / "a.loom").close()
    with pytest.raises(UsageError, match="exists already"):
        Document.create(tmp_path / "a.loom")


CHILD = """
import os, signal, sys
from pathlib import Path
from llterm.session.document import Document
from llterm.store.file import LoomFile

commit, before = LoomFile.commit, int(sys.argv[2])

def killed(file, changes):
    if not before:
        commit(file, changes)
    os.kill(os.getpid(), signal.SIGKILL)

LoomFile.commit = killed
Document.create(Path(sys.argv[1]), b"Once upon a time.")
"""


@pytest.mark.parametrize("before", [0, 1])
def test_a_loom_whose_making_was_killed_is_not_there_and_can_be_made(
    tmp_path: Path, before: int
) -> None:
    path = tmp_path / "a.loom"
    made = subprocess.run([sys.executable, "-c", CHILD, str(path), str(before)], check=False)
    assert made.returncode == -signal.SIGKILL
    assert not path.exists()
    document = Document.create(path, b"Once upon a time.")
    assert (document.text, document.read_only) == ("Once upon a time.", False)
    document.close()
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".loom"] == ["a.loom"]
