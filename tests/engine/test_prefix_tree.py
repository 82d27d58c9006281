"""The prefix tree against looking at every path."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.tokens import Tail, common
from llterm.engine.prefix_tree import PrefixTree

PATHS = st.lists(st.integers(0, 2), max_size=8).map(tuple)
CHANGES = st.lists(st.tuples(st.integers(0, 5), st.none() | PATHS), max_size=30)


@settings(max_examples=50)
@given(CHANGES, PATHS)
def test_the_longest_beginning_is_that_of_a_look_at_every_path(
    changes: list[tuple[int, Tail | None]], wanted: Tail
) -> None:
    tree, paths = PrefixTree(), dict[int, Tail]()
    for owner, path in changes:
        if path is None:
            tree.remove(owner)
            paths.pop(owner, None)
        else:
            tree.put(owner, path)
            paths[owner] = path
    size = max((common(path, wanted) for path in paths.values()), default=0)
    holders = {owner for owner, path in paths.items() if size and common(path, wanted) == size}
    assert tree.longest(wanted) == (size, frozenset(holders))
    whole = {
        owner: len(path) for owner, path in paths.items() if path and wanted[: len(path)] == path
    }
    most = max(whole.values(), default=0)
    ends = frozenset(owner for owner, length in whole.items() if length == most)
    assert tree.longest_whole(wanted) == (most, ends)
    assert {owner: tree.path(owner) for owner in paths} == paths
    assert len(tree) == len(paths)
