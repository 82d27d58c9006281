"""A large tree page by page: nodes in order, parents first, from wherever the page before ended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from llterm.core.loom_tree import LoomTree


def tree_page(
    loom: LoomTree, root: int, after: int | None, size: int, depth: int | None = None
) -> tuple[list[tuple[int, int]], bool]:
    """Up to `size` nodes below one, each with how far below; whether there are more.

    `after`: the last node of the page before; `depth`: no further below than this. Raises KeyError
    where `after` is not below the root any more.
    """
    page = list(islice(_walk(loom, root, after, depth), size + 1))
    return page[:size], len(page) > size


def _walk(
    loom: LoomTree, root: int, after: int | None, depth: int | None
) -> Iterator[tuple[int, int]]:
    most = depth if depth is not None else len(loom.nodes) + 1
    # Of each level the children that are still to come, the deepest level last.
    levels = (
        [iter(loom.children.get(root, ()))] if after is None else _rest(loom, root, after, most)
    )
    while levels:
        id = next(levels[-1], None)
        if id is None:
            levels.pop()
            continue
        yield id, len(levels)
        if len(levels) < most:
            levels.append(iter(tuple(loom.children.get(id, ()))))


def _rest(loom: LoomTree, root: int, after: int, most: int) -> list[Iterator[int]]:
    """What comes after a node, level by level. Raises KeyError where it is not below the root."""
    upwards: list[Iterator[int]] = []
    below = loom.children.get(after, ())
    id = after
    while id != root:
        parent = loom.nodes[id].parent
        beside = loom.children[parent]
        upwards.append(iter(beside[bisect_right(beside, id) :]))
        id = parent
    levels = upwards[::-1]
    return [*levels, iter(tuple(below))] if len(levels) < most else levels
