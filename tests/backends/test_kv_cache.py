"""Which paths stay in the cache; what llama.cpp then makes of it is tested in test_llama.py."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.llamacpp.kv_cache import TRUNK, CopyCells, KVCache, RemoveCells
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


class Cells:
    """What llama.cpp makes of the moves: each token goes into the first free cell."""

    def __init__(self) -> None:
        self.used: dict[int, tuple[int, int, set[int]]] = {}
        """By index: position, token, and the sequences that see it."""

    def make(self, moves: Sequence[CopyCells | RemoveCells]) -> None:
        for move in moves:
            for index, (position, _, seen_by) in list(self.used.items()):
                if isinstance(move, CopyCells):
                    if move.source in seen_by and move.start <= position < move.stop:
                        seen_by.add(move.target)
                elif position >= move.start:
                    seen_by.discard(move.sequence)
                if not seen_by:
                    del self.used[index]

    def put(self, sequence: int, start: int, tokens: Tail) -> None:
        for offset, token in enumerate(tokens):
            free = next(n for n in range(len(self.used) + 1) if n not in self.used)
            self.used[free] = start + offset, token, {sequence}

    @property
    def layout(self) -> list[tuple[int, int, int]]:
        """Index, position and token of each cell in use."""
        return sorted((n, position, token) for n, (position, token, _) in self.used.items())


def woven(cache: KVCache, cells: Cells, trunk: Tail, rounds: Sequence[Sequence[Tail]]) -> None:
    """A search after a trunk, a few of its paths at a time."""
    moves, held = cache.move_trunk(trunk)
    cells.make(moves)
    cells.put(TRUNK, held, trunk[held:])
    for tails in rounds:
        waiting = sorted(set(tails))
        while waiting:
            plan = cache.plan(waiting, 1000)
            cells.make(plan.moves)
            for row in plan.rows:
                cells.put(row.sequence, row.start, row.tokens)
                cache.evaluated(row, waiting[row.query])
            waiting = [waiting[index] for index in plan.waiting]


Searches = st.tuples(
    st.lists(st.integers(0, 2), max_size=5).map(tuple), st.lists(Tails, max_size=3)
)


@given(st.lists(Searches, max_size=6), Searches)
def test_a_search_has_the_cells_of_a_new_context_where_that_shows(
    before: list[tuple[Tail, list[list[Tail]]]], last: tuple[Tail, list[list[Tail]]]
) -> None:
    used, new = Cells(), Cells()
    cache = KVCache(7, whole=False, parked=9, ordered=True)
    for trunk, rounds in before:
        woven(cache, used, trunk, rounds)
    woven(cache, used, *last)
    woven(KVCache(7, whole=False, parked=9, ordered=True), new, *last)
    assert used.layout == new.layout
    assert used.layout[: len(last[0])] == [(n, n, token) for n, token in enumerate(last[0])]
