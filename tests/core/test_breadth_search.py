"""LLooM's breadth-first order: the same as a plain level-by-level search, however answers come."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.stops import Stopper
from llterm.core.suggestion_tree import View
from llterm.core.tokens import Tail, text_bytes
from llterm.core.weave_settings import WeaveSettings
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.weaves import RULES, answer, begin, found, run, run_refusing_one, same

Level = list[tuple[float, Tail]]


def levels(model: RandomModel, anchor: Tail, rules: WeaveSettings) -> Level:
    """The order as seeds.md §1.1 gives it, a level at a time, every prefix decoded alone.

    The first candidate always goes on, others from the cutoff, at most the split limit's number.
    At most N: the most probable of a level's beams fill what room the finished ones leave.
    """
    stopper = Stopper(rules)
    live: Level = [(0.0, ())]
    done: Level = []
    while live:
        children: Level = []
        for score, tail in live:
            logprobs = [float(logprob) for logprob in model.logprobs(anchor + tail)]
            ids = sorted(range(model.size), key=lambda id: (-logprobs[id], id))
            least = rules.cutoff * rules.multiplier ** len(tail)
            ids = [id for n, id in enumerate(ids) if not n or math.exp(logprobs[id]) >= least]
            children += [
                (score + logprobs[id], (*tail, id)) for id in ids[: rules.split_limit or None]
            ]
        children.sort(key=lambda beam: (-beam[0], beam[1]))
        children = children[: rules.goal - len(done)]
        ended = [
            len(tail) >= rules.depth
            or model.token(tail[-1]).end
            or stopper.ended(text_bytes(model, tail).decode("utf-8", "ignore"))
            for _, tail in children
        ]
        done += [beam for beam, end in zip(children, ended, strict=True) if end]
        live = [beam for beam, end in zip(children, ended, strict=True) if not end]
    return sorted(done, key=lambda beam: (-beam[0], beam[1]))


@settings(max_examples=80)
@given(seed=st.integers(0, 10**6), rules=RULES, room=st.integers(1, 40))
def test_the_order_is_that_of_levels(seed: int, rules: WeaveSettings, room: int) -> None:
    rules = replace(rules, strategy="breadth")
    model = RandomModel(seed)
    weave = begin(model, rules)
    run(weave, model, room, seed)
    view = weave.view()
    assert view.done
    same(found(view), levels(model, (0,), rules))
    assert len(view.suggestions) <= rules.goal
    unseen_at_most(view, model, rules)


def unseen_at_most(view: View, model: RandomModel, rules: WeaveSettings) -> None:
    """Nothing that is not shown is more probable than the view's bound."""
    shown = {one.tail for one in view.suggestions}
    everything = plain_search(model, (0,), replace(rules, beams=10**6))
    unseen = [math.exp(logprob) for logprob, tail in everything if tail not in shown]
    assert all(p <= view.bound * (1 + 1e-6) for p in unseen)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), rules=RULES)
def test_below_the_limit_both_orders_find_the_same(seed: int, rules: WeaveSettings) -> None:
    model = RandomModel(seed)
    everything = plain_search(model, (0,), replace(rules, beams=10**6))
    rules = replace(rules, beams=10**6, strategy="breadth")
    weave = begin(model, rules)
    run(weave, model)
    same(found(weave.view()), everything)


def test_a_level_is_asked_before_any_longer_beam() -> None:
    model = RandomModel(7)
    weave = begin(model, WeaveSettings(4, 0.05, beams=30, auto_stop=False, strategy="breadth"))
    sizes = []
    while queries := weave.wants(2):
        sizes += [len(query.path.tail) for query in queries]
        for query in queries:
            weave.learn(answer(model, query))
    assert sizes == sorted(sizes)
    assert set(sizes) == {0, 1, 2, 3}


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), rules=RULES, rounds=st.integers(0, 5))
def test_stopped_and_gone_on_with_it_comes_to_the_same(
    seed: int, rules: WeaveSettings, rounds: int
) -> None:
    rules = replace(rules, strategy="breadth")
    model = RandomModel(seed)
    weave = begin(model, rules)
    for _ in range(rounds):
        queries = weave.wants(5)
        for query in queries[::2]:
            weave.learn(answer(model, query))
        weave.release(queries)
    weave.wants(3)
    weave.let_go()
    unseen_at_most(weave.view(running=True), model, rules)
    run(weave, model)
    same(found(weave.view()), levels(model, (0,), rules))
    other = weave.under(replace(rules, strategy="best"))
    run(other, model)
    same(found(other.view()), plain_search(model, (0,), rules))


def test_a_refused_question_leaves_its_branch_open_and_the_rest_alive() -> None:
    model = RandomModel(3)
    weave = begin(model, WeaveSettings(3, 0.05, beams=50, auto_stop=False, strategy="breadth"))
    refused = run_refusing_one(weave, model)
    view = weave.view()
    assert [one.tail for one in view.suggestions if one.finish == "open"] == [refused]
    assert math.isclose(view.bound, math.exp(weave.beam(refused).logprob))
    assert sum(one.finish != "open" for one in view.suggestions) > 1


def test_a_branch_is_grown_in_the_same_order() -> None:
    model = RandomModel(5)
    weave = begin(model, WeaveSettings(3, 0.1, beams=5, auto_stop=False, strategy="breadth"))
    run(weave, model)
    leaf = next(one.tail for one in weave.view().suggestions if one.finish == "depth")
    weave.grow(leaf, 2)
    run(weave, model)
    assert any(one.tail[:3] == leaf and len(one.tail) == 5 for one in weave.view().suggestions)
