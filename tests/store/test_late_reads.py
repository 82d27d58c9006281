"""Whatever becomes of an open loom's file, what is on screen can be saved, and the loss is said."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llterm.core.history import PAGE, History
from llterm.core.loom_tree import ROOT
from llterm.core.provenance import Provenance
from llterm.errors import LltermError
from llterm.formats import png
from llterm.formats.export_source import source_of
from llterm.formats.exports import ExportOptions, exported, holds_history
from llterm.formats.file_formats import EXPORTS
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.file import LoomFile
from llterm.store.late_reads import LateReads, Unreadable
from llterm.store.stored_rows import Changes
from tests.helpers.document_edits import model_run
from tests.helpers.exports import export
from tests.helpers.file_harms import HARMS, Harm

STEPS = PAGE + 30
READS: dict[str, Callable[[LateReads], Any]] = {
    "pieces": lambda late: late.pieces({1: b"Once", 2: b" w0", 3: b" w1"}, [2, 3]),
    "births": lambda late: late.births([2, 3]),
    "extras": lambda late: late.extras(),
    "samples": lambda late: late.samples(),
    "steps": lambda late: late.steps(20, PAGE),
    "weave": lambda late: late.weave(1),
}
"""A call of each lazy read there is."""
OTHERS: dict[str, Callable[[LoomFile], Any]] = {
    "load": lambda file: file.load(),
    "commit": lambda file: file.commit(Changes(meta={"cursor": 1})),
    "check": lambda file: file.check(1, 1),
    "save_weave": lambda file: file.save_weave(1, b"blob"),
    "save_samples": lambda file: file.save_samples(1, 1.0, b"blob"),
    "version": lambda file: file.version(),
    "news": lambda file: file.news(History(), 0),
    "release": lambda file: file.release(),
    "take": lambda file: file.take(),
    "broken": lambda file: file.broken(ValueError("odd")),
    "close": lambda file: file.close(),
}
"""What else an open file does: it opens or writes, and is refused in a person's words."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loom of which there is much to read late: tokens, births, steps, fields, lines."""
    path = tmp_path_factory.mktemp("whole") / "a.loom"
    document = Document.create(path, b"Once")
    for number in range(STEPS):
        run = replace(model_run(b" w%d" % number), rejected=((b" other", -1.0),))
        document.accept(run, len(document.text))
    document.branches.bookmark(document.loom.head)
    document.undo_log.pending.extras[ROOT] = '{"pyloom": {"a": 1}}'
    document.save_lines(b"Once", b"sampled")
    document.save_weave(b"blob")
    document.close()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    path = tmp_path / "a.loom"
    path.write_bytes(whole.read_bytes())
    return path


def file_of(document: Document) -> LoomFile:
    assert document.undo_log.file is not None
    return document.undo_log.file


def refusal(call: Callable[[], Any]) -> LltermError | None:
    """What is told; nothing but an error for people may be raised."""
    try:
        call()
    except LltermError as error:
        return error
    return None


def public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}


def test_every_read_is_known_here() -> None:
    assert public(LateReads) - {"sparing", "read_from"} == READS.keys()
    assert public(LoomFile) == OTHERS.keys()


@pytest.mark.parametrize("harm", HARMS)
def test_a_read_in_vain_is_told_or_left_out(path: Path, harm: Harm) -> None:
    document = Document.open(path)
    file = file_of(document)
    harm(path, file)
    for name, read in READS.items():
        with file.late.sparing() as missing:
            spared = read(file.late)
        trouble = refusal(partial(read, file.late))
        if trouble is None:
            assert read(file.late) == spared, name
        else:
            assert trouble.title and trouble.hint, name  # noqa: PT018
            assert missing.said or name == "weave"
    for call in OTHERS.values():
        refusal(partial(call, file))


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_on_screen_is_rescued_and_the_rest_is_said(path: Path, harm: Harm) -> None:
    heard: list[str] = []
    document = Document.open(path)
    document.bear(lambda missing: heard.append(missing.said))
    document.edit(len(document.text), len(document.text), " typed")
    document.undo_log.flush()
    harm(path, file_of(document))
    document.accept(replace(model_run(b" later"), rejected=((b" x", -2.0),)), len(document.text))
    document.undo_log.birth(2)
    while document.undo() is not None:
        pass
    while document.redo() is not None:
        pass
    assert document.text.endswith("w229 typed later")
    assert (
        "w229 typed later"
        in exported(source_of(document.whole(), "a"), "text", ExportOptions()).decode()
    )
    try:
        document.secure()
    except LltermError as error:
        notice = looms.rescued(document, error)
        target = next((path.parent / "data" / "looms").glob("*.loom"))
        assert str(target) in notice.hint
        with suppress(LltermError):
            document.close()
    else:
        # Nothing was lost: the file does hold all of it.
        target = path
        document.close()
    copy = Document.open(target)
    assert copy.text == document.text
    assert copy.loom.nodes == document.loom.nodes
    assert copy.loom.marks == document.loom.marks
    if target != path:
        check_losses(copy, notice.hint)
    copy.close()


def check_losses(copy: Document, hint: str) -> None:
    """Whatever is not in the copy is said, by kind and number."""
    pieces = [copy.loom.pieces[id] for id in copy.loom.pieces.texts]
    lost = {
        "the tokens of {n} text": sum(one.author == "unknown" for one in pieces),
        "what {n} text": sum(one.ids is not None and copy.undo_log.birth(one.id) == Provenance()
                             for one in pieces),
        "fields of other programs": not file_of(copy).late.extras(),
        "samples, if": not copy.load_lines(b"Once"),
    }  # fmt: skip
    for words, count in lost.items():
        assert (words.format(n=count) in hint) == bool(count), (words, count, hint)
    taken_back = 0
    while copy.undo() is not None:
        taken_back += 1
    assert ("earlier steps" in hint) == (copy.text != "Once")
    assert taken_back >= PAGE


@pytest.mark.parametrize("format", EXPORTS)
def test_every_export_is_made_from_memory(
    path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which letters a picture has is not the point, and a machine may have no font at all.
    monkeypatch.setattr(png, "first_font", lambda families: families[0])
    document = Document.open(path)
    document.set_prefix("before")
    document.undo_log.flush()
    history = holds_history(format)
    snapshot = document.whole(history=history)
    on_disk, in_memory = (
        export(path, format, ExportOptions()),
        exported(source_of(snapshot, "a"), format, ExportOptions()),
    )
    if history:
        from_disk, from_memory = json.loads(on_disk), json.loads(in_memory)
        assert {**from_memory.pop("settings"), **from_disk.pop("settings")}["prefix"] == "before"
        assert from_memory == from_disk
    else:
        assert in_memory == on_disk
    path.unlink()
    again = document.whole(history=history)
    assert exported(source_of(again, "a"), format, ExportOptions())
    with suppress(LltermError):
        document.close()


def test_an_export_is_of_one_moment(path: Path) -> None:
    document = Document.open(path)
    whole = document.whole(history=True)
    before = exported(source_of(whole, "a"), "json", ExportOptions())
    document.undo()
    document.set_prefix("other")
    document.branches.delete(3)
    assert exported(source_of(whole, "a"), "json", ExportOptions()) == before
    document.close()


def test_what_can_still_be_read_is_kept(path: Path) -> None:
    document = Document.open(path)
    with file_of(document).database as database:
        database.execute("update piece set ids = 'x' where id = 5")
        database.execute("update piece set birth = x'ff' where id in (6, 7)")
        database.execute("update step set rows = '[]' where id = 20")
    missing = document.copy_to(path.with_name("copy.loom"))
    assert missing.rows["piece"] == {5}
    assert missing.rows["step"] == set(range(1, 21))
    copy = Document.open(path.with_name("copy.loom"))
    assert [id for id in range(2, 12) if copy.loom.pieces[id].ids is None] == [5]
    while copy.undo() is not None:
        pass
    assert len(copy.text.split()) == 1 + 20
    copy.close()
    document.close()


def test_a_kind_is_heard_of_once_and_counted_on() -> None:
    heard: list[str] = []
    missing = Unreadable(lambda one: heard.append(one.said))
    trouble = LltermError("It is damaged")
    for row in (1, 2, 2):
        missing.note("piece", (row,), trouble)
    missing.note("step", range(1, 4), trouble)
    assert heard == [
        "the tokens of 1 text, who wrote it, and what it was chosen from",
        "the tokens of 2 texts, who wrote them, and what they were chosen from;"
        " up to 3 earlier steps of the history",
    ]


def test_a_loom_that_is_whole_is_never_rescued(path: Path) -> None:
    document = Document.open(path)
    document.bear(lambda missing: pytest.fail(missing.said))
    document.edit(0, 0, "x")
    document.secure()
    assert not document.copy_to(path.with_name("copy.loom"))
    document.close()
