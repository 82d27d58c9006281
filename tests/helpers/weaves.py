"""Weaves over a random model, run by hand and compared with a plain search."""

from __future__ import annotations

import math
import random

from hypothesis import strategies as st

from llterm.backends.scripted import listed
from llterm.core.healing import Healer
from llterm.core.query import Fact, Query
from llterm.core.suggestion_tree import View
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from tests.helpers.random_model import RandomModel

RULES = st.builds(
    WeaveSettings,
    depth=st.integers(1, 5),
    cutoff=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    multiplier=st.sampled_from([0.5, 1.0, 1.5]),
    split_limit=st.integers(0, 4),
    beams=st.integers(0, 20),
    auto_stop=st.booleans(),
    budget=st.just(10**9),
).filter(
    # Without a limit of any other kind a tree of all tokens stays small enough to be walked.
    lambda rules: (
        rules.split_limit
        or rules.depth < 3
        or (rules.cutoff > 0.0 and (rules.beams or rules.depth < 4))
    )
)
RESIDUES = st.sampled_from([b"", b" ", b" be", b" bea", b"ab", b"e"])


def answer(model: RandomModel, query: Query) -> Fact:
    found = listed(model.logprobs(query.path.tokens), query.keep, query.mask)
    return Fact(query.path, found)


def run(weave: Weave, model: RandomModel, room: int = 7, seed: int = 0) -> int:
    """Drive a weave to its end, answering each batch in a random order; counts the questions."""
    shuffle = random.Random(seed).shuffle
    asked = 0
    while queries := weave.wants(room):
        shuffle(queries)
        for query in queries:
            weave.learn(answer(model, query))
        asked += len(queries)
    return asked


def begin(model: RandomModel, rules: WeaveSettings, residue: bytes = b"") -> Weave:
    return Weave(model, Anchor((0,)), rules, residue=residue, healer=Healer(model))


def found(view: View) -> list[tuple[float, Tail]]:
    return [(suggestion.logprob, suggestion.tail) for suggestion in view.suggestions]


def same(mine: list[tuple[float, Tail]], plain: list[tuple[float, Tail]]) -> None:
    assert [tail for _, tail in mine] == [tail for _, tail in plain]
    for (one, _), (other, _) in zip(mine, plain, strict=True):
        assert math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)


def run_refusing_one(weave: Weave, model: RandomModel) -> Tail:
    """Search to the end, but for one question of the second round; the path it was about."""
    (first,) = weave.wants(1)
    weave.learn(answer(model, first))
    refused, *others = weave.wants(50)
    weave.refuse(refused.path.tail)
    for query in others:
        weave.learn(answer(model, query))
    run(weave, model)
    return refused.path.tail
