"""A session: weave, accept in parts, change settings, undo, restart; on the scripted model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.session.document import Document
from llterm.session.inspection import accept_text
from llterm.session.session import Session
from tests.helpers.sessions import TEXT, Gate, session


def texts(begun: Session) -> list[str]:
    assert begun.view is not None
    return [suggestion.data.decode() for suggestion in begun.view.suggestions]


async def woven(begun: Session) -> Session:
    begun.weave()
    await begun.wait()
    return begun


async def test_weaving_without_a_model_is_an_error_that_says_so() -> None:
    begun = Session(Document.scratch(TEXT))
    begun.loading(0.5)
    with pytest.raises(BackendUnavailable) as caught:
        begun.weave()
    assert "loaded" in caught.value.cause


async def test_a_weave_tells_its_listeners_and_ends_ready() -> None:
    begun = session()
    seen: list[str] = []
    unsubscribe = begun.listen(lambda: seen.append(begun.status.state))
    await woven(begun)
    assert "weaving" in seen
    assert seen[-1] == "ready"
    unsubscribe()
    count = len(seen)
    begun.move(0)
    assert len(seen) == count
    figures, view = begun.figures, begun.view
    assert view is not None
    assert view.settled == len(texts(begun)) == begun.document.rules.beams
    assert 0 < view.coverage[0] <= 1
    assert figures.tokens > figures.prompt_tokens > 0


async def test_stopping_keeps_what_there_is_and_weaving_on_ends_the_same() -> None:
    gate = Gate(4)
    begun = session(gate=gate)
    begun.weave()
    await gate.reached.wait()
    begun.stop()
    assert begun.status.state == "ready"
    assert not begun.weaving
    early = texts(begun)
    assert early
    gate.opened.set()
    await woven(begun)
    assert texts(begun) == texts(await woven(session()))


async def test_accepting_a_branch_moves_on_and_its_rest_stays_on_show_for_nothing() -> None:
    begun = await woven(session())
    assert begun.view is not None
    assert begun.source is not None
    branch = next(row for row in begun.view.branches if row.children)
    spent = begun.source.spent  # type: ignore[attr-defined]
    change = begun.accept(branch.tail)
    assert begun.document.text == TEXT.decode() + branch.data.decode()
    assert change.text == branch.data.decode()
    assert not begun.stale
    assert begun.at == begun.document.cursor
    rest = {row.data for row in begun.view.branches}
    assert {row.data for row in branch.children} <= rest
    assert begun.source.spent == spent  # type: ignore[attr-defined]


async def test_word_token_and_whole() -> None:
    begun = await woven(session())
    assert begun.view is not None
    tail = max((s for s in begun.view.suggestions), key=lambda s: len(s.steps)).tail
    token = begun.ghost(begun.token_of(tail))
    assert token
    assert begun.ghost(begun.word_of(tail)).startswith(token)
    word = begun.ghost(begun.word_of(tail))
    assert word.count(" ") == 1
    assert begun.ghost(tail).startswith(word)


async def test_a_healed_word_is_finished_and_undone_with_its_suggestions() -> None:
    begun = await woven(session(b"The maker went to the riv"))
    best = begun.view.suggestions[0] if begun.view else None
    assert best is not None
    assert best.data.startswith(b"er")
    before = texts(begun)
    begun.accept(best.tail)
    assert begun.document.text.startswith("The maker went to the river")
    begun.undo()
    assert begun.document.text == "The maker went to the riv"
    assert not begun.stale
    assert texts(begun) == before


async def test_an_accept_and_a_reopened_file_weave_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    begun = Session(Document.create(path, b"The maker went to the riv"))
    begun.attach(ScriptedBackend())
    await woven(begun)
    assert begun.view is not None
    begun.accept(begun.view.suggestions[0].tail)
    await woven(begun)
    warm = texts(begun)
    await begun.close()
    again = Session(Document.open(path))
    source = ScriptedBackend()
    again.attach(source)
    assert texts(again) == warm, "the suggestions are there again"
    assert source.spent.tokens == 0
    again.document.save_weave(b"")
    cold = Session(again.document)
    cold.attach(ScriptedBackend())
    assert cold.view is None, "nothing is kept"
    await woven(cold)
    assert texts(cold) == warm
    await again.close()


async def test_typing_makes_suggestions_stale_and_taking_it_back_makes_them_good() -> None:
    begun = await woven(session())
    before = texts(begun)
    end = len(begun.document.text)
    begun.edit(end, end, "x")
    assert begun.stale
    assert begun.view is not None
    with pytest.raises(UsageError, match="another text"):
        begun.accept(begun.view.suggestions[0].tail)
    begun.edit(end, end + 1, "")
    assert not begun.stale
    assert texts(begun) == before
    begun.move(3)
    assert begun.stale
    begun.move(end)
    assert not begun.stale


async def test_the_cutoff_prunes_again_with_no_inference_and_undo_brings_it_back() -> None:
    begun = await woven(session())
    before = texts(begun)
    source = begun.source
    assert isinstance(source, ScriptedBackend)
    spent = source.spent
    begun.set_rules(replace(begun.document.rules, cutoff=0.4))
    assert len(texts(begun)) < len(before)
    assert begun.view is not None
    assert begun.view.done
    begun.undo()
    assert texts(begun) == before
    assert source.spent == spent


async def test_settings_changed_while_weaving_take_effect_at_once() -> None:
    gate = Gate(3)
    begun = session(gate=gate, rules=WeaveSettings(heal=False))
    begun.weave()
    await gate.reached.wait()
    begun.set_rules(replace(begun.document.rules, depth=2))
    gate.opened.set()
    await begun.wait()
    assert begun.view is not None
    assert max(len(one.steps) for one in begun.view.suggestions) == 2


async def test_growing_a_leaf_goes_deeper_there() -> None:
    begun = await woven(session(rules=WeaveSettings(depth=3, heal=False)))
    assert begun.view is not None
    leaf = next(row for row in begun.view.suggestions if row.finish == "depth")
    begun.grow(leaf.tail)
    await begun.wait()
    grown = [row for row in begun.view.suggestions if row.tail[:3] == leaf.tail]
    assert grown
    assert max(len(row.steps) for row in grown) == 6


async def test_a_rewritten_suggestion_is_the_persons_own_text() -> None:
    begun = await woven(session())
    assert begun.view is not None
    accept_text(begun, begun.view.suggestions[0].tail, " moon and back.")
    assert begun.document.text == TEXT.decode() + " moon and back."
    assert all(run.ids is None for run in begun.document.runs_before(len(begun.document.text)))
    begun.undo()
    assert begun.document.text == TEXT.decode()


async def test_the_weave_starts_at_the_cursor_and_accepting_forks_there() -> None:
    begun = session(b"The maker went to the sea.")
    begun.move(len(TEXT))
    await woven(begun)
    assert begun.view is not None
    begun.accept(begun.view.suggestions[0].tail)
    accepted = begun.document.text
    assert accepted.startswith(TEXT.decode())
    assert not accepted.endswith("sea.sea.")
    loom = begun.document.loom
    assert b" sea." in {loom.data(node) for node in loom.nodes.values()}


async def test_a_failing_model_is_told_and_the_story_lives_on() -> None:
    async def fail() -> None:
        raise LltermError("The model fell over", "cause", "hint")

    begun = Session(Document.scratch(TEXT))
    begun.attach(ScriptedBackend(fail))
    begun.weave()
    with pytest.raises(LltermError, match="fell over"):
        await begun.wait()
    assert begun.status.state == "failed"
    begun.edit(0, 0, "x")
    begun.attach(ScriptedBackend())
    await woven(begun)
    assert texts(begun)


async def test_the_hidden_prefix_changes_what_is_woven() -> None:
    begun = await woven(session())
    begun.set_prefix("the sea")
    assert begun.stale
    await woven(begun)
    begun.undo()
    assert begun.document.prefix == ""
    assert not begun.stale
