"""Sampled continuations: one decode a token, accepted like suggestions, kept with their place."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.scripted import ScriptedBackend
from llterm.constraints.spec import choices
from llterm.core.bans import Bans
from llterm.core.suggestion_tree import Branch
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.session.stories import STORIES
from llterm.store.file import MOST_SAMPLED
from tests.helpers.plain_decoder import counted
from tests.helpers.sessions import SEEDED, TEXT, Gate, draw_by


def session(
    text: bytes = TEXT, gate: Gate | None = None, rules: WeaveSettings | None = None
) -> Session:
    begun = Session(Document.scratch(text, rules))
    begun.attach(ScriptedBackend(gate))
    draw_by(begun, SEEDED)
    return begun


async def sampled(begun: Session, count: int = 4, tokens: int = 8, **how: bool) -> list[Branch]:
    begun.samples.start(count, tokens, sentence=how.get("sentence", False))
    await begun.samples.task.wait()
    return lines(begun)


def lines(begun: Session) -> list[Branch]:
    view = begun.view
    return [one for one in view.branches if one.sampled] if view is not None else []


def story(begun: Session) -> bytes:
    return begun.document.bytes_before(len(begun.document.text))


async def test_they_stand_in_the_tree_beside_the_search() -> None:
    begun = session()
    begun.weave()
    rows = await sampled(begun)
    await begun.wait()
    assert begun.view is not None
    assert begun.view.branches[: len(rows)] == tuple(lines(begun))
    assert any(not row.sampled for row in begun.view.branches)
    assert all(not row.tail[0] < 0 for row in begun.view.suggestions)
    assert sum(row.sampled.count(",") + 1 for row in rows) == 4
    assert all(math.isclose(row.p, math.exp(row.logprob)) for row in rows)


async def test_a_seed_gives_the_same_lines_and_again_gives_others() -> None:
    first, second = session(), session()
    one, other = await sampled(first), await sampled(second)
    assert [row.data for row in one] == [row.data for row in other]
    more = await sampled(first, 2)
    assert [row.data for row in more[-len(one) :]] == [row.data for row in one]
    assert {row.data for row in more[:2]} - {row.data for row in one}


async def test_accepting_a_line_lands_it_with_its_probabilities_as_one_step() -> None:
    begun = session()
    row = (await sampled(begun))[1]
    begun.accept(row.tail)
    assert story(begun) == TEXT + row.data
    piece = begun.document.loom.pieces[begun.document.loom.nodes[begun.document.loom.head].piece]
    assert piece.ids == row.tail[1:]
    assert math.isclose(sum(piece.logprobs), row.logprob)
    assert json.loads(piece.birth)["settings"]["line"] == 1
    assert begun.undo() is not None
    assert story(begun) == TEXT
    assert row in lines(begun), "undo brings the place back, and its lines"


async def test_the_others_are_kept_as_branches_beside_the_accepted_one() -> None:
    begun = session()
    rows = await sampled(begun)
    kept = begun.samples.keep(rows[1].tail)
    assert kept == len(rows) - 1
    assert begun.samples.keep(rows[1].tail) == 0, "they hang there already"
    assert story(begun) == TEXT
    begun.accept(rows[1].tail)
    loom = begun.document.loom
    parent = loom.nodes[loom.head].parent
    beside = {loom.data(one) for one in loom.nodes.values() if one.parent == parent}
    assert beside == {row.data for row in rows}
    begun.move(0)
    with pytest.raises(UsageError):
        begun.samples.keep()


async def test_a_word_or_token_of_a_line_leaves_the_rest_of_it() -> None:
    begun = session()
    row = (await sampled(begun))[0]
    word = begun.word_of(row.tail)
    token = begun.token_of(row.tail)
    assert word[0] == token[0] == row.tail[0]
    begun.accept(word)
    added = story(begun)[len(TEXT) :]
    assert row.data.startswith(added)
    rest = next(one for one in lines(begun) if one.tail[0] == row.tail[0])
    assert added + rest.data == row.data
    begun.accept(rest.tail)
    assert story(begun) == TEXT + row.data


async def test_what_may_be_written_holds_for_them() -> None:
    begun = session()
    begun.set_sampling(replace(begun.sampling, bans=Bans(phrases=("river",))))
    for row in await sampled(begun, 16, 12):
        assert b"river" not in row.data
    begun = session()
    await begun.set_constraint(choices([" river", " sea"]))
    rows = await sampled(begun, 8)
    assert {row.data for row in rows} <= {b" river", b" sea"}
    assert rows
    assert all(row.finish == "end" for row in rows)


async def test_a_sentence_ends_them_if_wished() -> None:
    begun = session()
    ended = [row for row in await sampled(begun, 8, 60, sentence=True) if row.finish == "stop"]
    assert ended
    assert all(row.data.rstrip(b'"')[-1:] in b".!?" for row in ended)


async def test_a_healed_word_is_finished_by_every_line() -> None:
    begun = session(b"The maker went to the riv")
    for row in await sampled(begun, 6):
        begun.accept(row.tail)
        assert story(begun).startswith(b"The maker went to the riv" + row.data)
        begun.undo()


@pytest.mark.parametrize("act", ["stop", "edit", "detach", "rest"])
async def test_a_stop_an_edit_and_the_loss_of_the_model_end_the_drawing(act: str) -> None:
    gate = Gate(3)
    begun = session(gate=gate)
    begun.samples.start(3, 50, sentence=False)
    await gate.reached.wait()
    assert begun.samples.going == 3
    if act == "stop":
        begun.samples.stop()
    elif act == "edit":
        begun.edit(len(TEXT), len(TEXT), " sea")
    elif act == "detach":
        begun.detach()
    else:
        begun.set_resting(True)
    gate.opened.set()
    await begun.samples.task.wait()
    assert not begun.samples.running
    assert begun.samples.going == 0
    assert lines(begun)
    assert all(3 <= len(row.steps) <= 4 for row in lines(begun))


async def test_without_a_model_there_is_an_error() -> None:
    with pytest.raises(BackendUnavailable):
        Session(Document.scratch(TEXT)).samples.start(2, 5, sentence=False)


async def test_lines_past_the_context_fail_and_say_so() -> None:
    begun = session(TEXT * 2)
    errors: list[LltermError] = []
    begun.samples.ended = errors.append
    assert begun.source is not None
    rows = await sampled(begun, 2, begun.source.capabilities.context)
    assert rows
    assert all(row.finish in ("open", "end") for row in rows)
    assert errors or all(row.finish == "end" for row in rows)


async def test_on_the_bundled_model_all_lines_cost_one_decode_a_token(
    backend: LlamaBackend,
) -> None:
    begun = Session(Document.scratch(STORIES[0].text.encode()))
    begun.attach(backend)
    draw_by(begun, SEEDED)
    with counted() as calls:
        await sampled(begun, 8, 20)
    assert 20 <= len(calls.sizes) <= 21


def reopened(path: Path, source: ScriptedBackend | None = None) -> Session:
    begun = Session(Document.open(path))
    begun.attach(source or ScriptedBackend())
    return begun


async def test_they_are_there_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    begun = Session(Document.create(path, TEXT))
    begun.attach(ScriptedBackend())
    draw_by(begun, SEEDED)
    before = await sampled(begun)
    begun.accept(before[0].tail)
    await begun.close()
    # The story went on along one of them: the others are at their place, one undo away.
    begun = reopened(path)
    assert not lines(begun)
    begun.undo()
    assert lines(begun) == before
    assert begun.readings_of(before[1].tail)[0].top
    begun.accept(before[1].tail)
    assert story(begun) == TEXT + before[1].data
    node = begun.document.loom.nodes[begun.document.loom.head]
    born = begun.document.undo_log.birth(node.piece)
    assert born.settings["sampling"]["settings"]["seed"] == 3
    assert born.alternatives[0]
    begun.undo()
    more = await sampled(begun, 1)
    assert len(more) == len(before) + 1
    begun.document.copy_to(tmp_path / "copy.loom")
    await begun.close()
    for one in (path, tmp_path / "copy.loom"):
        begun = reopened(one)
        assert lines(begun) == more
        await begun.close()


async def test_in_the_middle_of_the_story_they_come_back_too(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    begun = Session(Document.create(path, TEXT + b" river and sang"))
    begun.attach(ScriptedBackend())
    begun.move(len(TEXT))
    before = await sampled(begun)
    begun.move(0)
    await begun.close()
    begun = reopened(path)
    assert not lines(begun)
    begun.move(len(TEXT))
    assert lines(begun) == before
    assert not begun.stale
    await begun.close()


async def test_what_a_kill_leaves_of_them_is_what_was_drawn(tmp_path: Path) -> None:
    """They are written when they end, not when the app does."""
    begun = Session(Document.create(tmp_path / "a.loom", TEXT))
    begun.attach(ScriptedBackend())
    before = await sampled(begun)
    copy = tmp_path / "copy.loom"
    with (
        closing(sqlite3.connect(tmp_path / "a.loom")) as file,
        closing(sqlite3.connect(copy)) as to,
    ):
        file.backup(to)
    await begun.close()
    begun = reopened(copy)
    assert lines(begun) == before
    await begun.close()


async def test_of_another_model_or_broken_ones_none_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    begun = Session(Document.create(path, TEXT))
    begun.attach(ScriptedBackend())
    before = await sampled(begun)
    await begun.close()
    other = ScriptedBackend()
    other.name = "another"
    begun = reopened(path, other)
    assert not lines(begun)
    await begun.close()
    begun = reopened(path)
    assert lines(begun) == before
    begun.set_prefix("Write like Grimm. ")
    assert begun.stale
    begun.undo()
    assert lines(begun) == before
    assert not begun.stale
    await begun.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("update lines set blob = substr(blob, 1, 999)")
    begun = reopened(path)
    assert not lines(begun)
    await begun.close()


async def test_of_very_many_places_the_last_are_kept(tmp_path: Path) -> None:
    document = Document.create(tmp_path / "a.loom", TEXT)
    for node in range(1, MOST_SAMPLED + 6):
        document.save_lines(b"%d" % node, b"line")
    document.close()
    document = Document.open(tmp_path / "a.loom")
    left = [node for node in range(1, MOST_SAMPLED + 6) if document.load_lines(b"%d" % node)]
    assert left == list(range(6, MOST_SAMPLED + 6))
    document.close()
