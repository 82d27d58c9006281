"""Looms that lie: one for each way in which a file can be damaged, or made to do harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from llterm.cli.doctor_loom import check_loom
from llterm.core.chat_messages import Chat, ChatMessage, chat_text
from llterm.core.loom_tree import ROOT
from llterm.core.sampling.sampler_settings import Sampling
from llterm.errors import LltermError
from llterm.formats.exports import ExportOptions
from llterm.session.document import Document
from llterm.store.loom_schema import MIGRATIONS, columns
from llterm.store.loom_summary import read_summary
from llterm.store.stored_settings import KEPT, sampling_text
from tests.helpers.exports import export
from tests.helpers.tree_commands import grown

_ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n)"
_SAMPLES = {
    "meta": "'k' || i, i", "piece": "i, x'41', 'person', 1.0, null, null, 0, '', null, ''",
    "node": "i + 1, i, 1, 0, 1, null", "step": "i, '', 0, 0, '{}'", "mark": "i, 0, 0, '[]', '', ''",
    "sight": "i, 0, 1", "extra": "i, '{}'", "lines": "i, 1.0, x'41'", "weave": "i, x'41'",
}  # fmt: skip
"""A row of each table, for every number i."""
TABLES: Mapping[str, tuple[str, ...]] = columns(len(MIGRATIONS))
VALUES = {
    "infinity": "9e999",
    "minus infinity": "-9e999",
    "text nan": "'nan'",
    "greatest": str(2**63 - 1),
    "least": str(-(2**63)),
    "just too great": str(2**31),
    "below none": "-1",
    "fraction": "0.5",
    "huge text": "cast(zeroblob(200000) as text)",
    "blob": "x'ff00ff'",
    "null": "null",
    "brackets": "replace(hex(zeroblob(50000)), '00', '[[')",
    "objects": "replace(hex(zeroblob(5000)), '00', '{\"a\":')",
    "surrogate": "cast(x'eda080' as text)",
    "huge number in JSON": '\'{"depth":1e999,"nodes":[[1e999,null,null]]}\'',
    "settings": '\'{"depth":[], "top_k": [], "message": []}\'',
    "a step": '\'{"nodes":[[3,[3,1,0,1],[3,1,0,1]]],"facts":{},"splits":[]}\'',
}


def made(path: Path, more: int = 0) -> Path:
    """A sound loom with something in every table, a history, and undone steps."""
    scratch = grown()
    scratch.branches.bookmark(scratch.loom.head)
    for number in range(more):
        scratch.edit(0, 0, f"once {number} ")
        scratch.checkpoint()
    scratch.copy_to(path)
    document = Document.open(path)
    document.set_sampling(sampling_text(Sampling(bias=(("fox", 1.5),))))
    document.set_chat(chat_text(Chat("", "Tell me of a fox.", (ChatMessage("user", "Hi"),))))
    document.set_prefix("A tale.")
    document.branches.note(document.loom.head, "here")
    document.save_lines(b"Once", b"sampled")
    document.save_weave(b"weave" * 100)
    document.loom.sight.folded.add(document.loom.head)
    document.undo_log.keep_sight(document.loom.head)
    document.undo_log.pending.extras[ROOT] = '{"other": {"title": "a fox"}}'
    document.edit(0, 0, "first ")
    document.undo()
    document.close()
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def lies() -> Iterator[tuple[str, tuple[str, ...]]]:
    """What makes a lying loom of a sound one, by name."""
    for table, names in TABLES.items():
        view = f"create view {table} ({', '.join(names)}) as {_ENDLESS} select"
        yield f"{table} is a view", (f"drop table {table}", f"{view} {_SAMPLES[table]} from n")
        yield f"{table} is gone", (f"drop table {table}",)
        yield (
            f"{table} has a trigger",
            (f"create trigger t after insert on {table} begin"
             f" delete from weave where node in ({_ENDLESS} select i from n); end",),
        )  # fmt: skip
        yield f"{table} has a strange column", (f"alter table {table} add column strange",)
        for name in names:
            for kind, value in VALUES.items():
                # A rowid that another row has, or that is no number, SQLite refuses itself.
                change_one = f"update or ignore {table} set {name} = {value}"
                yield f"{table}.{name} is {kind}", (change_one,)
    for key in KEPT:
        for kind, value in VALUES.items():
            yield f"{key} is {kind}", (f"insert or replace into meta values ('{key}', {value})",)
    yield "a ring", ("update node set parent = id",)
    yield (
        "a ring below the story",
        ("update node set parent = (select max(id) from node)",),
    )
    for side, undone in ((1, 0), (2, 1)):
        yield (
            f"a step that makes a ring, undone: {undone}",
            (f"update step set undone = {undone}, rows = json_set(rows, '$.nodes[0][{side}]',"
             " json_array(json_extract(rows, '$.nodes[0][0]'), 1, 0, 1))"
             " where json_array_length(rows, '$.nodes')",),
        )  # fmt: skip


def tried(path: Path) -> None:
    """Everything that reads a loom, on this one: only an LltermError may come of it. Whatever the
    doctor calls damaged, opening speaks of; what is repaired opens soundly."""
    read_summary(path)
    said = opened(path)
    for format in ("json", "html"):
        with survived():
            assert export(path, format, ExportOptions(every=True))
    report, code = check_loom(path)
    assert said or code == 0, report
    report, code = check_loom(path, repair=True)
    if "Repaired" in report:
        assert not opened(path), report
    if code == 0:
        report, code = check_loom(path)
        assert code == 0, report
    travelled(path)


@contextmanager
def survived() -> Iterator[list[str]]:
    """What goes wrong in here is told as damage, and listed."""
    faults: list[str] = []
    try:
        yield faults
    except LltermError as error:
        faults.append(str(error))
        if "llterm doctor" not in error.hint:
            raise


def opened(path: Path) -> str:
    """What opening says of damage; empty where it says nothing."""
    damage = ""
    with survived() as faults:
        document = Document.open(path)
        damage = document.damage
        try:
            for node in document.loom.nodes.values():
                list(document.loom.spans(node))
        except LltermError:
            # What is read later may fail where opening said that the file is damaged.
            assert damage
        finally:
            document.close()
    return damage or "".join(faults)


def travelled(path: Path) -> None:
    """All the way back, forth, and on, as a person may go."""
    with survived():
        document = Document.open(path)
        try:
            while document.undo() is not None:
                pass
            while document.redo() is not None:
                pass
            document.undo()
            document.edit(0, 0, "on")
        finally:
            document.close()
