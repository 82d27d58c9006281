"""The search: exactly the best N, however the answers come; re-pruned and gone on with for free."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.beams import Beam
from llterm.core.suggestion_tree import Branch
from llterm.core.tokens import Anchor, text_bytes
from llterm.core.weave_settings import WeaveSettings
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.weaves import RESIDUES, RULES, answer, begin, found, run, run_refusing_one, same


@settings(max_examples=150)
@given(seed=st.integers(0, 10**6), rules=RULES, residue=RESIDUES, room=st.integers(1, 40))
def test_exactly_the_best_n(seed: int, rules: WeaveSettings, residue: bytes, room: int) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules, residue)
    run(weave, model, room, seed)
    view = weave.view()
    assert view.done
    same(found(view), plain_search(model, (0,), rules, residue))
    assert view.settled == len(view.suggestions)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_children_made_only_when_they_are_due_change_nothing(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.core.search.AT_ONCE", at_once)
    for seed in range(40):
        rules = WeaveSettings(1 + seed % 4, [0.0, 0.02, 0.1][seed % 3],
                              split_limit=[0, 3, 7][seed % 3],
                              beams=1 + seed % 20, auto_stop=seed % 2 == 0,
                              budget=10**9)  # fmt: skip
        if seed % 3 == 0:
            rules = replace(rules, depth=2)
        model = RandomModel(seed)
        weave = begin(model, rules)
        run(weave, model, 1 + seed % 9, seed)
        same(found(weave.view()), plain_search(model, (0,), rules))
        assert weave.done
        again = weave.under(rules)
        assert not again.wants(10**6)
        same(found(again.view()), found(weave.view()))


def test_a_search_without_limits_keeps_few_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token of the vocabulary may follow each: the children are not made beforehand."""
    made = 0

    def counted(**fields: Any) -> Beam:
        nonlocal made
        made += 1
        return Beam(**fields)

    monkeypatch.setattr("llterm.core.beams.Beam", counted)
    monkeypatch.setattr("llterm.core.search.AT_ONCE", 3)
    model = RandomModel(3)
    rules = WeaveSettings(40, 0.0, split_limit=0, beams=5000, auto_stop=False, budget=300)
    weave = begin(model, rules)
    asked = run(weave, model)
    assert asked == 300
    assert made <= 8 * asked < model.size * asked / 2


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), rules=RULES, stop_after=st.integers(1, 30))
def test_what_is_settled_early_is_final(seed: int, rules: WeaveSettings, stop_after: int) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules)
    for _ in range(stop_after):
        for query in weave.wants(1):
            weave.learn(answer(model, query))
    early = weave.view(running=True)
    plain = plain_search(model, (0,), rules)
    same(found(early)[: early.settled], plain[: early.settled])
    shown = {suggestion.tail for suggestion in early.suggestions}
    unseen = [math.exp(logprob) for logprob, tail in plain if tail not in shown]
    assert all(p <= early.bound * (1 + 1e-6) for p in unseen)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), rules=RULES, other=RULES, residue=RESIDUES)
def test_pruning_again_asks_nothing_and_going_on_only_what_is_new(
    seed: int, rules: WeaveSettings, other: WeaveSettings, residue: bytes
) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules, residue)
    run(weave, model)
    known = set(weave.facts)
    again = weave.under(other)
    new = {query.path.tail for query in again.wants(10**6)}
    assert not new & known or other.split_limit == 0 or other.cutoff == 0.0
    again = weave.under(other)
    run(again, model)
    same(found(again.view()), plain_search(model, (0,), other, residue))
    if len(weave.view().suggestions) < rules.goal:
        tighter = weave.under(replace(rules, cutoff=max(rules.cutoff, 0.5), split_limit=1))
        assert tighter.done, "a tighter rule needs no question where all was known"


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), rules=RULES, rounds=st.integers(0, 5))
def test_cancelled_questions_are_asked_again(seed: int, rules: WeaveSettings, rounds: int) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules)
    for _ in range(rounds):
        queries = weave.wants(5)
        for query in queries[::2]:
            weave.learn(answer(model, query))
        weave.release(queries)
    run(weave, model)
    same(found(weave.view()), plain_search(model, (0,), rules))


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), rules=RULES, residue=RESIDUES, pick=st.integers(0, 100))
def test_after_an_accept_what_is_known_stays_known(
    seed: int, rules: WeaveSettings, residue: bytes, pick: int
) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules, residue)
    run(weave, model)
    tails = [s.tail for s in weave.view().suggestions if s.finish != "end" and s.data]
    if not tails:
        return
    tail = tails[pick % len(tails)]
    size = next(n for n in range(1, len(tail) + 1) if weave.beam(tail[:n]).data)
    part = tail[:size]
    after = weave.at(part, Anchor((0, *part)))
    inherited = set(after.facts)
    assert inherited == {key[size:] for key in weave.facts if key[:size] == part}
    asked = {query.path.tail for query in after.wants(10**6)}
    assert not asked & inherited or rules.split_limit == 0 or rules.cutoff == 0.0


def test_growing_a_leaf_goes_on_from_it_alone() -> None:
    model = RandomModel(5)
    weave = begin(model, WeaveSettings(depth=3, cutoff=0.1, beams=5, auto_stop=False))
    run(weave, model)
    leaf = next(s.tail for s in weave.view().suggestions if s.finish == "depth")
    before = {s.tail for s in weave.view().suggestions}
    weave.grow(leaf, 2)
    queries = weave.wants(100)
    assert {query.path.tail for query in queries} == {leaf}
    weave.release(queries)
    run(weave, model)
    after = {s.tail for s in weave.view().suggestions}
    assert before - {leaf} <= after
    grown = [tail for tail in after if tail[:3] == leaf]
    assert grown
    assert all(len(tail) <= 5 for tail in grown)


def test_the_budget_is_kept_and_said() -> None:
    model = RandomModel(1)
    weave = begin(model, WeaveSettings(depth=6, cutoff=0.01, beams=500, auto_stop=False, budget=40))
    assert run(weave, model) == 40
    view = weave.view()
    assert view.spent
    assert not view.done
    assert view.settled < len(view.suggestions)
    weave.extend()
    assert run(weave, model) == 40


def test_a_refused_question_leaves_its_branch_open_and_the_rest_alive() -> None:
    model = RandomModel(3)
    weave = begin(model, WeaveSettings(depth=3, cutoff=0.05, beams=50, auto_stop=False))
    refused = run_refusing_one(weave, model)
    view = weave.view()
    assert refused in {s.tail for s in view.suggestions if s.finish == "open"}
    assert any(s.finish == "depth" for s in view.suggestions)


def walk(branches: tuple[Branch, ...]) -> list[Branch]:
    return [one for branch in branches for one in (branch, *walk(branch.children))]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), rules=RULES, residue=RESIDUES)
def test_the_tree_draws_prefixes_and_texts_once(
    seed: int, rules: WeaveSettings, residue: bytes
) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules, residue)
    run(weave, model)
    view = weave.view()
    rows = walk(view.branches)
    assert len({row.tail for row in rows}) == len(rows)
    leaves = [row for row in rows if not row.children]
    texts = [(text_bytes(model, row.tail), row.finish == "end") for row in leaves]
    assert len(set(texts)) == len(texts)
    for siblings in (view.branches, *(row.children for row in rows)):
        forks = [row.data for row in siblings if row.children]
        assert len(set(forks)) == len(forks)
    drawn = sum(math.exp(s.logprob) for s in view.suggestions)
    if view.coverage:
        assert math.isclose(view.coverage[-1], drawn, rel_tol=1e-5, abs_tol=1e-7)
        assert all(0 <= one <= 1 + 1e-6 for one in view.coverage)
