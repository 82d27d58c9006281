"""A weave under bans: exactly the best N that hold nothing banned; what is taken can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.constraints.compiled import compile
from llterm.constraints.spec import regex
from llterm.core.bans import Bans
from llterm.core.suggestion_tree import Branch, taken
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.weaves import RESIDUES, RULES, answer, begin, found, run, same

BANS = st.builds(
    Bans,
    newline=st.booleans(),
    phrases=st.lists(
        st.sampled_from(["a", "ab", "b b", " bea", "é", "e.", "ea a", '"']), max_size=3
    ).map(tuple),
)


def under(bans: Bans, model: RandomModel, rules: WeaveSettings, residue: bytes = b"") -> Weave:
    return begin(model, rules, residue).under(rules, bans)


def rows(branches: Sequence[Branch]) -> Iterator[Branch]:
    for branch in branches:
        yield branch
        yield from rows(branch.children)


@settings(max_examples=120)
@given(seed=st.integers(0, 10**6), rules=RULES, residue=RESIDUES, bans=BANS)
def test_exactly_the_best_n_that_hold_nothing_banned(
    seed: int, rules: WeaveSettings, residue: bytes, bans: Bans
) -> None:
    model = RandomModel(seed)
    weave = under(bans, model, rules, residue)
    run(weave, model, 7, seed)
    view = weave.view()
    assert view.done
    same(found(view), plain_search(model, (0,), rules, residue, bans))
    for suggestion in view.suggestions:
        for phrase in bans.phrases:
            assert phrase.encode() not in suggestion.data


@pytest.mark.parametrize("seed", range(30))
def test_where_bans_take_most_of_what_is_listed_more_is_asked_for(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.core.beams.KEEP", 2)
    model, rules = RandomModel(seed), WeaveSettings(3, 0.05, split_limit=2, beams=9, budget=10**9)
    bans = Bans(phrases=("a", "."))
    weave = under(bans, model, rules)
    run(weave, model, 5, seed)
    same(found(weave.view()), plain_search(model, (0,), rules, bans=bans))


def test_bans_come_and_go_with_no_inference() -> None:
    model, rules = RandomModel(4), WeaveSettings(3, 0.02, beams=12, budget=10**9)
    weave = begin(model, rules)
    run(weave, model)
    everything = found(weave.view())
    bans = Bans(phrases=("a",))
    banned = weave.under(rules, bans)
    assert not any(b"a" in one.data for one in banned.view().suggestions)
    afresh = under(bans, model, rules)
    assert run(banned, model) < run(afresh, model)
    assert found(banned.view()) == found(afresh.view())
    same(found(banned.view()), plain_search(model, (0,), rules, bans=bans))
    back = banned.under(rules, Bans())
    assert not back.wants(100)
    assert found(back.view()) == everything


def test_what_a_ban_takes_is_in_the_tree_when_asked_for() -> None:
    model, rules = RandomModel(4), WeaveSettings(3, 0.02, beams=12, budget=10**9)
    bans = Bans(phrases=("a",))
    weave = under(bans, model, rules)
    run(weave, model)
    plain, shown = weave.view(), weave.view(banned=True)
    assert (shown.suggestions, shown.coverage) == (plain.suggestions, plain.coverage)
    assert not any(row.banned for row in rows(plain.branches))
    taken = [row for row in rows(shown.branches) if row.banned]
    assert taken
    for row in taken:
        assert (row.banned, row.finish, row.children) == ('banned "a"', "banned", ())
        logprob = model.logprobs((0, *row.tail[:-1]))[row.tail[-1]]
        assert b"a" in model.token(row.tail[-1]).data
        if len(row.steps) == 1:
            assert row.p == pytest.approx(math.exp(float(logprob)), rel=1e-5)


def test_what_a_constraint_takes_is_there_too_with_the_raw_models_mass() -> None:
    model, rules = RandomModel(9), WeaveSettings(3, 0.02, beams=12, budget=10**9, auto_stop=False)
    constraint = compile(regex("[b ]+"), model)
    weave = Weave(model, Anchor((0,)), rules, constraint=constraint)
    while queries := weave.wants(9):
        for query in queries:
            weave.learn(answer(model, query))
    firsts = [row for row in weave.view(banned=True).branches if row.banned]
    assert {row.banned for row in firsts} == {"constraint"}
    for row in firsts:
        raw = float(model.logprobs((0,))[row.tail[0]])
        assert row.p == pytest.approx(math.exp(raw), rel=1e-5)
        assert row.p >= rules.cutoff


def test_all_that_a_constraint_takes_is_told_in_the_raw_models_mass() -> None:
    model, rules = RandomModel(9), WeaveSettings(3, 0.02, beams=12, budget=10**9, auto_stop=False)
    weave = Weave(model, Anchor((0,)), rules, constraint=compile(regex("[b ]+"), model))
    while queries := weave.wants(9):
        for query in queries:
            weave.learn(answer(model, query))
    branches = weave.view(banned=True).branches

    def raw(tail: Tail) -> float:
        return math.exp(sum(model.logprobs((0, *tail[:n]))[id] for n, id in enumerate(tail)))

    tails = [row.tail for row in rows(branches) if row.banned]
    count, mass = taken(branches, masked=True)
    assert count == len(tails)
    assert mass == pytest.approx(sum(map(raw, tails)), rel=1e-4)
    assert mass < 1
