"""A loom that several llterms have open: one writes, the others follow, and may take over."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.loom_tree import ROOT
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from tests.helpers import document_edits
from tests.helpers.document_edits import model_run
from tests.helpers.soak_rounds import rounds
from tests.helpers.tree_commands import COMMANDS, Operation, perform

STEPS = st.one_of(
    COMMANDS,
    document_edits.OPERATIONS.map(tuple),
    st.just((("undo",),)),
    st.just((("redo",),)),
    st.just(("follow",)),
    st.just(("swap",)),
)


def state(document: Document) -> tuple[object, ...]:
    loom = document.loom
    history = document.undo_log.history
    return (
        document_edits.state(document),
        {id: children for id, children in loom.children.items() if children},
        loom.marks,
        document.sampling,
        document.constraint,
        {id: loom.pieces[id].data for node in loom.nodes.values() for id, _, _ in node.slices},
        [step.id for step in history.done],
        [step.id for step in history.undone],
        document.undo_log.revision,
    )


@settings(max_examples=rounds(40))
@given(st.lists(STEPS, max_size=16))
def test_who_follows_has_the_same_loom_as_who_writes(operations: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.loom"
        writer = Document.create(path, b"The fox")
        reader = Document.open(path, reading=True)
        for operation in operations:
            if operation == ("swap",):
                writer.release()
                reader.take()
                writer, reader = reader, writer
            elif operation == ("follow",):
                writer.undo_log.flush()
            else:
                perform(writer, operation)
                continue
            reader.follow()
            document_edits.check(reader)
            assert state(reader) == state(writer)
        writer.close()
        reader.follow()
        again = Document.open(path)
        assert state(reader) == state(again)
        again.close()
        reader.close()


def statements(document: Document) -> list[str]:
    """What its connection is asked from now on."""
    assert document.undo_log.file is not None
    asked: list[str] = []
    document.undo_log.file.database.set_trace_callback(asked.append)
    return asked


def test_following_reads_the_steps_since_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    writer = Document.create(tmp_path / "a.loom", b"The fox")
    for number in range(300):
        writer.branches.child(ROOT, f"child {number}")
    reader = Document.open(tmp_path / "a.loom", reading=True)
    asked = statements(reader)
    assert reader.follow() is None
    assert asked == ["pragma data_version"]
    writer.branches.child(ROOT, "one more")
    assert reader.follow() is not None
    assert len(reader.loom.children[ROOT]) == 302
    whole = ("from node order by id", "select id, data from piece", "from mark", "integrity_check")
    assert not [sql for sql in asked if sql.endswith(whole)]
    writer.close()
    reader.close()


def test_the_cursor_of_who_follows_stays_at_its_text_and_at_the_end_goes_along(
    tmp_path: Path,
) -> None:
    writer = Document.create(tmp_path / "a.loom", b"The fox")
    at_end, inside = (Document.open(tmp_path / "a.loom", reading=True) for _ in range(2))
    at_end.cursor, inside.cursor = 7, 4
    writer.accept(model_run(b" ran"), 7)
    for reader, cursor in ((at_end, 11), (inside, 4)):
        change = reader.follow()
        assert change is not None
        assert (change.text, change.start, change.stop) == (" ran", 7, 7)
        assert (change.cursor, reader.cursor, reader.text) == (cursor, cursor, "The fox ran")
    writer.edit(0, 0, "So: ")
    writer.release()
    inside.follow()
    assert inside.cursor == 8
    for document in (writer, at_end, inside):
        document.close()


def test_one_writes_at_a_time_and_another_once_it_has_ended_or_given_the_lock_back(
    tmp_path: Path,
) -> None:
    first = Document.create(tmp_path / "a.loom", b"The fox")
    second = Document.open(tmp_path / "a.loom", reading=True)
    with pytest.raises(UsageError, match="cannot be written now"):
        second.take()
    with pytest.raises(UsageError, match="reading only"):
        second.branches.child(ROOT, "x")
    first.release()
    second.take()
    second.branches.child(ROOT, "second")
    with pytest.raises(UsageError):
        first.take()
    second.close()
    first.take()
    assert first.undo() is not None
    assert list(first.loom.children[ROOT]) == [first.loom.head]
    first.close()


def test_the_lock_of_a_writer_that_was_killed_is_free_and_its_last_step_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.loom"
    Document.create(path, b"The fox").close()
    reader = Document.open(path, reading=True)
    code = (
        "import sys; from pathlib import Path; from llterm.session.document import Document\n"
        "document = Document.open(Path(sys.argv[1])); document.branches.child(1, 'kept')\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert reader.follow() is not None
        with pytest.raises(UsageError):
            reader.take()
        writer.kill()
    reader.take()
    loom = reader.loom
    assert [loom.data(loom.nodes[id]) for id in loom.children[ROOT]] == [b"The fox", b"kept"]
    reader.close()


def test_a_loom_that_another_one_took_the_place_of_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    Document.create(path, b"The fox").close()
    reader = Document.open(path, reading=True)
    path.rename(tmp_path / "b.loom")
    Document.create(path, b"Another").close()
    with pytest.raises(LltermError, match="does not hold the story"):
        reader.take()
    reader.close()
