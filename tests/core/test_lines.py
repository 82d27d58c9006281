"""Asking a dear source: the same suggestions, and no question that could have been spared."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.weaves import RESIDUES, RULES, answer, begin, found, same


def line(model: RandomModel, query: Query, cut: int | None = None) -> list[Fact]:
    """The answer to a question, going on along the first choices; `cut` short of them all."""
    path, facts = query.path, []
    for _ in range(1 + (query.ahead if cut is None else min(query.ahead, cut))):
        one = answer(model, Query(path, query.keep, query.mask))
        facts.append(one)
        path = Path(path.anchor, (*path.tail, int(one.distribution.ids[0])))
        if model.token(path.tail[-1]).end:
            break
    return facts


def run(weave: Weave, model: RandomModel, room: int, seed: int, abreast: int = 1) -> list[Query]:
    """Answer each question with its line, some cut short; several under way in any order."""
    shuffle = random.Random(seed)
    under_way: list[tuple[Query, list[Fact]]] = []
    asked: list[Query] = []
    while True:
        queries = weave.wants(room, 15, abreast)
        asked += queries
        for query in queries:
            short = shuffle.choice([None, None, 0, 1, 2])
            under_way.append((query, line(model, query, short)))
        if not under_way:
            return asked
        at = shuffle.randrange(len(under_way))
        query, facts = under_way[at]
        weave.learn(facts.pop(0))
        if not facts:
            weave.release([query])
            del under_way[at]


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), rules=RULES, residue=RESIDUES, room=st.integers(1, 8),
       abreast=st.integers(1, 8))  # fmt: skip
def test_lines_lead_to_the_same_suggestions(
    seed: int, rules: WeaveSettings, residue: bytes, room: int, abreast: int
) -> None:
    model = RandomModel(seed)
    weave = begin(model, rules, residue)
    run(weave, model, room, seed, abreast)
    assert weave.done
    same(found(weave.view()), plain_search(model, (0,), rules, residue))


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), rules=RULES)
def test_no_question_is_asked_that_the_suggestions_could_do_without(
    seed: int, rules: WeaveSettings
) -> None:
    """Each question's path is at least as probable as the last suggestion, whatever is under way
    beside it; and a tail is asked for once."""
    model = RandomModel(seed)
    weave = begin(model, rules)
    asked = run(weave, model, 8, seed)
    view = weave.view()
    full = len(view.suggestions) >= rules.goal
    last = view.suggestions[-1].logprob if full else float("-inf")
    tails = [query.path.tail for query in asked]
    assert all(weave.beam(tail).logprob >= last - 1e-6 for tail in tails if tail)


def test_one_question_a_line_that_is_not_cut_short() -> None:
    """At most the root and the beams that are no first choice are asked for."""
    for seed in range(60):
        model = RandomModel(seed)
        rules = WeaveSettings(depth=5, cutoff=0.05, beams=12, auto_stop=False)
        weave = Weave(model, Anchor((0,)), rules)
        asked: list[Tail] = []
        while queries := weave.wants(1, 15):
            for query in queries:
                asked.append(query.path.tail)
                full = Query(query.path, query.keep, ahead=rules.depth)
                for fact in line(model, full):
                    weave.learn(fact)
            weave.release(queries)
        first = [tail for tail in asked
                 if tail and int(weave.facts[tail[:-1]].ids[0]) == tail[-1]]  # fmt: skip
        assert not first
        assert len(set(asked)) == len(asked)


def test_what_lines_bring_counts_against_the_budget() -> None:
    model = RandomModel(1)
    rules = WeaveSettings(depth=6, cutoff=0.01, beams=500, auto_stop=False, budget=40)
    weave = Weave(model, Anchor((0,)), rules)
    while queries := weave.wants(4, 15):
        for query in queries:
            for fact in line(model, query):
                weave.learn(fact)
        weave.release(queries)
    assert weave.spent
    assert len(weave.facts) <= 40 + 4 * rules.depth
