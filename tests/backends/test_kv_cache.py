"""Which paths stay in the cache; what llama.cpp then makes of it is tested in test_llama.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.llamacpp.kv_cache import KVCache
from llterm.core.tokens import Tail

Tails = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=8)


def evaluate(cells: KVCache, tails: list[Tail]) -> None:
    """Carry out a plan for tails below the trunk, in as many decodes as it takes."""
    while tails:
        plan = cells.plan(tails, 1000)
        for row in plan.rows:
            cells.evaluated(row, tails[row.query])
        tails = [tails[index] for index in plan.waiting]


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=5).map(tuple), Tails), max_size=8))
def test_parked_paths_hold_few_cells(steps: list[tuple[Tail, list[Tail]]]) -> None:
    cells = KVCache(12, whole=False, parked=9)
    for trunk, tails in steps:
        cells.move_trunk(trunk)
        assert cells.parked <= 9
        evaluate(cells, sorted(set(tails)))


def test_an_undone_accept_finds_its_paths_again() -> None:
    cells = KVCache(12, whole=False, parked=9)
    cells.move_trunk((5,))
    evaluate(cells, [(7, 1), (7, 2), (7, 3, 4)])
    cells.move_trunk((5, 7, 3))
    assert cells.parked
    cells.move_trunk((5,))
    assert not cells.parked
    (row,) = cells.plan([(7, 2, 8)], 10).rows
    assert row.tokens == (8,)
