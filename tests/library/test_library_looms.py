"""Looms in programs: the same documents as the app's, with N8Loom's verbs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import llterm

BEGINNING = "Once upon a time"


@pytest.fixture
def loom(model: llterm.Model) -> llterm.Loom:
    return model.loom(BEGINNING)


def test_a_loom_begins_with_its_text_and_goes_on_below_it(loom: llterm.Loom) -> None:
    start = loom.root.write(" there was a fox")
    assert (loom.root.text, start.text, start.data) == (
        BEGINNING, " there was a fox", b" there was a fox",
    )  # fmt: skip
    assert start.crown() == " there was a fox"
    assert start.path == (loom.root, start)
    assert (start.parent, loom.root.parent) == (loom.root, None)
    assert start.author == "person"
    assert math.isnan(start.p)
    assert loom.node(start.id) == start


def test_children_are_drawn_side_by_side_and_keep_their_figures(loom: llterm.Loom) -> None:
    children = loom.root.grow(4, tokens=5, seed=1)
    assert list(loom.root.children) == children
    for child in children:
        assert child.author == "fable"
        assert child.p == pytest.approx(child.p_per_token ** len(child.tokens), rel=1e-6)
        assert loom.root.next(top=4096).p[child.text[: child.text.find(" ", 1)]] > 0
    again = loom.root.grow(4, tokens=5, seed=1)
    assert [child.text for child in again] == [child.text for child in children]


def test_a_growth_is_one_step_of_the_history(loom: llterm.Loom) -> None:
    loom.root.grow(3, tokens=3, seed=1)
    assert loom.undo() == "plant continuations"
    assert loom.root.is_leaf
    assert loom.redo() == "plant continuations"
    assert loom.root.count() == 4
    assert loom.redo() is None


def test_a_text_that_the_model_ended_takes_text_and_does_not_grow(loom: llterm.Loom) -> None:
    (end,) = loom.root.grow(1, choices=[" The end."])
    assert end.terminal
    with pytest.raises(llterm.UsageError, match="ended its text here"):
        end.grow(2)
    more = end.write(" But wait:")
    assert not more.terminal
    assert more.grow(1, tokens=2, seed=1)
    assert end.trim(1).terminal is False


def test_clip_and_trim_count_tokens_from_either_end(loom: llterm.Loom) -> None:
    (child,) = loom.root.grow(1, tokens=8, seed=2)
    child.write("below")
    tokens, text = child.tokens, child.text
    assert child.clip(len(tokens)).count() == 2
    assert child.trim(0).count() == 2
    assert child.clip(-2).tokens == tokens[:-2]
    assert child.is_leaf
    assert child.trim().tokens == tokens[:-3]
    assert child.clip(2).tokens == tokens[:2]
    with pytest.raises(llterm.UsageError, match="A node has text"):
        child.clip(0)
    with pytest.raises(llterm.UsageError, match="A node has text"):
        child.trim(9)
    for _ in range(3):
        loom.undo()
    assert child.text == text
    typed = loom.root.write(" a fox and a hen")
    assert typed.clip(2).text == " a fox"
    with pytest.raises(llterm.UsageError, match="root stays"):
        loom.root.trim(1)


def test_branches_are_taken_away_and_hung_elsewhere(loom: llterm.Loom) -> None:
    left, right = loom.root.write([" left", " right"])
    below = left.write(" below")
    assert loom.root.remove(left) == left
    assert loom.root.children == (right,)
    with pytest.raises(llterm.UsageError, match="not there"):
        _ = left.text
    assert "deleted" in repr(left)
    assert right.add(left) == left
    assert below.crown() == " right left below"
    with pytest.raises(llterm.UsageError, match="no child"):
        loom.root.remove(below)
    with pytest.raises(llterm.UsageError, match="under itself"):
        below.add(right)
    assert right.leaf().is_leaf
    assert loom.root.count() == 2
    assert "1 below" in repr(loom.root)


def test_the_tree_is_walked_and_counted(loom: llterm.Loom) -> None:
    left, right = loom.root.write([" left", " right"])
    deep = left.write(" deep")
    assert [node.text for node in loom.root.walk()] == [BEGINNING, " left", " deep", " right"]
    assert loom.root.all_children == (left, deep, right)
    assert loom.root.all_leaves == (deep, right)
    assert (loom.root.count(), loom.root.count_leaves(), deep.count_leaves()) == (4, 2, 1)
    assert deep.all_leaves == ()
    assert loom.root.apply(lambda node: node.text, itself=True, leaves_only=True) == [
        BEGINNING, " deep", " right",
    ]  # fmt: skip
    assert deep.path_text(exclude=1) == " left deep"
    assert deep.path_tokens(exclude=1) == (*left.tokens, *deep.tokens)
    assert deep.choose() == deep
    assert loom.head == deep
    assert loom.story == BEGINNING + " left deep"


def test_children_that_stream_are_in_the_loom_when_all_have_ended(loom: llterm.Loom) -> None:
    stream = loom.root.ramify(stream=True, n=2, tokens=4, seed=1)
    texts = {0: "", 1: ""}
    for token in stream:
        assert token.parent == loom.root.id
        texts[token.number] += token.text
        if loom.root.is_leaf:
            assert not stream.children
    assert [child.text for child in stream.children] == [*texts.values()]
    early = loom.root.stream(2, tokens=500)
    next(early)
    early.close()
    assert len(loom.root.children) == 2


def test_ramify_takes_a_text_or_several_or_draws(loom: llterm.Loom) -> None:
    one = loom.root.ramify(" one")
    two = loom.root.ramify([" two", " three"])
    drawn = loom.root.ramify(n=2, tokens=2, seed=1)
    assert [*loom.root.children] == [one, *two, *drawn]


def test_the_root_of_a_chat_is_what_was_said_in_the_models_template(model: llterm.Model) -> None:
    loom = model.loom("How are you?", chat=True, system="Be brief.")
    assert loom.user_prompt == "How are you?"
    assert "How are you?" in loom.root.text
    assert "Be brief." in loom.root.text
    assert model.detokenize(loom.root.tokens).decode().strip() == loom.root.text.strip()
    assert loom.root.display == "Prompt: How are you?\n\nResponse:\n\n"
    reply = loom.root.write(" Well.")
    assert reply.crown() == " Well."
    assert reply.path_display() == loom.root.display + " Well."
    assert reply.prompt_tokens == (*loom.root.tokens, *reply.tokens)
    assert reply.grow(1, tokens=3, seed=1)


def test_a_file_is_the_apps_and_keeps_all(model: llterm.Model, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "fox.loom"
    with model.loom(BEGINNING, save=path) as loom:
        (child,) = loom.root.grow(1, choices=[" The end."])
        with model.open_loom(path) as other:
            assert other.read_only
            assert other.notice.startswith("Another llterm")
            with pytest.raises(llterm.UsageError, match="reading only"):
                other.root.write("x")
    with pytest.raises(llterm.UsageError, match="closed"):
        _ = loom.root
    with pytest.raises(llterm.LltermError, match="exists"):
        model.loom("x", save=path)
    with model.open_loom(path) as loom:
        (again,) = loom.root.children
        assert (again.text, again.tokens, again.terminal) == (" The end.", again.tokens, True)
        assert again.p == pytest.approx(1.0, abs=1.0)
        assert again.id == child.id
        assert loom.undo() == "plant continuations"
        loom.redo()
        loom.export(tmp_path / "fox.txt")
        loom.save(tmp_path / "copy.loom")
        with pytest.raises(llterm.UsageError, match="which format"):
            loom.export(tmp_path / "fox.nothing")
    assert (tmp_path / "fox.txt").read_text("utf-8").strip().endswith("The end.")
    with model.open_loom(tmp_path / "copy.loom") as copy:
        assert copy.root.count() == 2


def test_a_pipeline_does_nothing_until_it_is_asked(loom: llterm.Loom) -> None:
    loom.root.grow(3, tokens=4, seed=1)
    pipeline = loom.root.leaves().write(" and").grow(2, tokens=3, seed=2)
    assert loom.root.count() == 4
    nodes = [*pipeline]
    assert len(nodes) == 6
    assert all(node.parent is not None and node.parent.text == " and" for node in nodes)


def test_a_stage_is_one_step_and_one_decode_a_token_for_all_leaves(model: llterm.Model) -> None:
    loom = model.loom(BEGINNING)
    loom.root.write([" one", " two", " three"])
    before = model.spent.decodes
    made = [*loom.root.leaves().grow(2, tokens=5, seed=1, heal=False)]
    assert len(made) == 6
    assert model.spent.decodes - before <= 5 + 2
    loom.undo()
    assert loom.root.count() == 4


def test_one_failing_leaf_loses_no_other(loom: llterm.Loom) -> None:
    loom.root.write([" one", " two", " three"])

    def visit(node: llterm.Node) -> str:
        if node.text == " two":
            raise ValueError("not this one")
        return node.write("!").text

    with pytest.raises(llterm.LeavesFailed) as raised:
        loom.root.apply_at_leaves(visit, lambda node: node.crown())
    assert raised.value.results == [" one!", " three!"]
    (failure,) = raised.value.failures
    assert failure.node.text == " two"
    ran = loom.root.leaves().apply(lambda node: node.text.index("!")).run()
    assert (ran.results, len(ran.failures)) == ([0, 0], 1)
    listed: list[llterm.Node] = []
    with pytest.raises(llterm.LeavesFailed):
        listed.extend(loom.root.leaves().where(lambda node: bool(node.text.index("!") + 1)))
    written = loom.root.leaves().write(lambda node: f" {1 / (node.text != ' two')}").run()
    assert (len(written.results), len(written.failures)) == (2, 1)


def test_leaves_are_found_anew_for_each_stage_and_stay_while_it_runs(loom: llterm.Loom) -> None:
    loom.root.write([" one", " two"])
    texts = loom.root.apply_at_leaves(
        lambda node: node.write(["a", "b"]), lambda node: node.write("c"), lambda node: node.crown()
    )
    assert texts == [" oneac", " onebc", " twoac", " twobc"]


def test_pipelines_choose_cut_and_skip_what_has_ended(loom: llterm.Loom) -> None:
    (end,) = loom.root.grow(1, choices=[" The end."])
    loom.root.grow(3, tokens=6, seed=1)
    grown = [*loom.root.leaves().where(lambda node: node.terminal).grow(2)]
    assert grown == [end]
    trimmed = [*loom.root.leaves().where(lambda node: not node.terminal).trim(2)]
    assert [len(node.tokens) for node in trimmed] == [3, 3, 3]
    best = [*loom.root.leaves().best(2)]
    by_mean = sorted(loom.root.children, key=lambda node: node.p_per_token, reverse=True)
    assert best == by_mean[:2]
    assert [*loom.root.leaves().best(1, key=lambda node: len(node.text))]
    assert [*loom.root.leaves().clip(1).grow(1, tokens=1, seed=1)]


def test_leaves_with_different_texts_are_healed_each_for_itself(loom: llterm.Loom) -> None:
    loom.root.write([" The litt", " A wolf and a ki"])
    nodes = [*loom.root.leaves().grow(2, tokens=3, seed=1)]
    assert len(nodes) == 4
    alone = loom.root.children[0].grow(2, tokens=3, seed=1)
    assert [node.text for node in alone] == [node.text for node in nodes[:2]]


def test_what_goes_on_in_a_loom_is_drawn_under_its_own_settings(model: llterm.Model) -> None:
    loom = model.loom(BEGINNING, prefix="A story about a hen.")
    assert loom.root.prompt_tokens != model.loom(BEGINNING).root.prompt_tokens
    assert model.next(loom.root, top=3).candidates == loom.root.next(top=3).candidates
    assert [s.text for s in model.suggest(loom.root.path, depth=3, beams=2)] == [
        s.text for s in loom.root.suggest(depth=3, beams=2)
    ]
