"""Rows with their places: as an outline, and on a map."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.loom_tree import ROOT
from llterm.core.outline_map import Listing, reveal
from tests.helpers.tree_commands import OPERATIONS, Operation, grown, perform


@given(operations=st.lists(OPERATIONS, max_size=1))
def test_a_map_of_any_loom_has_a_place_for_every_row(operations: list[list[Operation]]) -> None:
    document = grown()
    for operation in (one for some in operations for one in some):
        perform(document, operation)
    listing = Listing(document.loom, set(document.loom.nodes) | {ROOT})
    places = list(zip(listing.map.lines, listing.map.columns, strict=True))
    assert len(set(places)) == len(places) == len(listing.rows)
    for index, (line, column) in enumerate(places):
        assert listing.map.row_at(line, column) == index
        assert listing.map.row_at(line, listing.map.width) is None
        parent = listing.parents[index]
        if parent < 0:
            assert column == 0
            continue
        above, left = places[parent]
        assert (left, above <= line) == (column - 1, True)
        # A line runs from the parent down to it, through each line between.
        between = (listing.map.passing(one) for one in range(above + 1, line))
        assert all(column in passing for passing in between)


def test_unread_nodes_are_shown_only_where_they_were_opened() -> None:
    document = grown()
    loom = document.loom
    head = loom.head
    listing = Listing(loom)
    (row,) = [row for row in listing.rows if head in row.ids]
    assert row.untaken == 2
    assert len(Listing(loom, {head}).rows) == len(listing.rows) + 2


def test_what_hides_a_node_is_named() -> None:
    document = grown()
    loom = document.loom
    path = [node.id for node in loom.path()]
    unread = loom.children[loom.head][0]
    document.branches.fold(path[0])
    assert reveal(loom, unread) == ([path[0]], [loom.head], False)
    document.branches.hoist(loom.children[loom.head][1])
    assert reveal(loom, unread)[2]
    listing = Listing(loom)
    assert listing.nearest(unread) == 0
