"""Copies of logits come back by themselves, and never while anything of them can be reached."""

from __future__ import annotations

import numpy as np

from llterm.backends.llamacpp.logit_buffers import LogitBuffers


def address(rows: np.ndarray) -> int:
    return int(rows.__array_interface__["data"][0])


def test_a_copy_nobody_reads_any_more_is_written_over_by_the_next() -> None:
    buffers = LogitBuffers()
    first = buffers.copy(np.ones((4, 8), np.float32))
    place = address(first)
    del first
    second = buffers.copy(np.full((4, 8), 2, np.float32))
    assert address(second) == place
    assert (second == 2).all()
    del second
    # Fewer rows fit into the same room.
    assert address(buffers.copy(np.ones((1, 8), np.float32))) == place


def test_a_part_of_a_copy_keeps_all_of_it() -> None:
    buffers = LogitBuffers()
    whole = buffers.copy(np.ones((4, 8), np.float32))
    row = whole[2:3][0]
    del whole
    others = [buffers.copy(np.zeros((4, 8), np.float32)) for _ in range(3)]
    assert (row == 1).all()
    assert not any(np.shares_memory(row, other) for other in others)
