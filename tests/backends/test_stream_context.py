"""Slots with a stream of cells each: bit for bit the same in any company, and as large as fits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.binding import Stopped
from llterm.backends.llamacpp.side_context import TokenRun
from llterm.backends.llamacpp.slot_sizes import MOST_SLOTS, slot_context
from llterm.backends.llamacpp.stream_context import StreamContext
from llterm.core.tokens import Tail
from llterm.errors import UsageError
from tests.helpers.bundled_model import BUNDLED, quantized

TEXT = b"The forest seemed darker than usual, but that did not bother Elis in the least."
Row = NDArray[np.float32]


@pytest.fixture
async def streams(backend: LlamaBackend) -> AsyncIterator[StreamContext]:
    opened = await backend.open_streams(12, 256)
    yield opened
    opened.close()


def tokens_of(backend: LlamaBackend) -> Tail:
    return backend.vocabulary.prefix + backend.vocabulary.encode(TEXT)


def fill(streams: StreamContext, tokens: Tail, slots: list[int]) -> None:
    streams.evaluate([TokenRun(slot, 0, tokens) for slot in slots])


def rows(streams: StreamContext, tokens: Tail, slots: list[int]) -> list[Row]:
    """The logits after the last token, where all before it are in these slots."""
    runs = [TokenRun(slot, len(tokens) - 1, tokens[-1:]) for slot in slots]
    return list(streams.logits(runs).copy())


@pytest.mark.parametrize(
    "slots", [[0], [3], [0, 1], [0, 1, 5], [0, 2, 4, 11], [*range(12)]], ids=str
)
async def test_a_row_is_bit_for_bit_the_same_in_any_company(
    backend: LlamaBackend, streams: StreamContext, slots: list[int]
) -> None:
    tokens = tokens_of(backend)
    fill(streams, tokens[:-1], [0])
    (alone,) = rows(streams, tokens, [0])
    streams.clear()
    fill(streams, tokens[:-1], slots)
    for row in rows(streams, tokens, slots):
        assert np.array_equal(row, alone)


@pytest.mark.parametrize("kind", ["f16", "q4_K_M"])
async def test_a_row_alone_has_a_double_only_where_it_would_come_out_otherwise(
    tmp_path: Path, kind: str
) -> None:
    file = BUNDLED if kind == "f16" else quantized(tmp_path, kind)
    backend = await open_llama(file, LlamaSettings())
    streams = await backend.open_streams(4, 256)
    try:
        streams.measure()
        needed = streams.doubled
        tokens = tokens_of(backend)
        fill(streams, tokens[:-1], [0, 1, 2])
        beside = rows(streams, tokens, [0, 1, 2])
        for doubled in (needed, False):
            streams.clear()
            streams.doubled = doubled
            fill(streams, tokens[:-1], [0])
            (alone,) = rows(streams, tokens, [0])
            assert np.array_equal(alone, beside[0]) == (doubled == needed)
    finally:
        streams.close()
        await backend.close()


async def test_parts_copies_and_cuts_leave_every_bit(
    backend: LlamaBackend, streams: StreamContext
) -> None:
    tokens = tokens_of(backend)
    fill(streams, tokens[:-1], [0])
    (alone,) = rows(streams, tokens, [0])
    # What was evaluated after it is cut off again, and a copy goes on from there.
    streams.copy(0, 4, 5)
    for start, stop in [(5, 7), (7, len(tokens) - 1)]:
        streams.evaluate([TokenRun(4, start, tokens[start:stop])])
    assert np.array_equal(rows(streams, tokens, [4])[0], alone)
    streams.trim(0, len(tokens) - 1)
    assert np.array_equal(rows(streams, tokens, [0])[0], alone)


async def test_neighbours_with_equal_parts_are_one_decode(
    backend: LlamaBackend, streams: StreamContext
) -> None:
    tokens = tokens_of(backend)[:9]
    before = streams.decodes
    fill(streams, tokens, [0, 1, 2, 7, 8])
    assert streams.decodes - before == 2
    assert streams.tokens == 5 * 9


async def test_a_stop_is_heeded_and_what_was_begun_can_be_removed(
    backend: LlamaBackend, streams: StreamContext
) -> None:
    tokens = tokens_of(backend)
    fill(streams, tokens[:4], [0])
    streams.stop.set()
    with pytest.raises(Stopped):
        streams.evaluate([TokenRun(0, 4, tokens[4:-1])])
    streams.trim(0, 4)
    streams.stop.clear()
    streams.evaluate([TokenRun(0, 4, tokens[4:-1])])
    (row,) = rows(streams, tokens, [0])
    streams.clear()
    fill(streams, tokens[:-1], [0])
    assert np.array_equal(rows(streams, tokens, [0])[0], row)


async def test_what_things_take_is_measured_and_leaves_empty_slots(
    backend: LlamaBackend, streams: StreamContext
) -> None:
    costs = streams.measure()
    assert costs.token > 0
    assert costs.row > 0
    assert costs.copy >= 0
    tokens = tokens_of(backend)
    fill(streams, tokens[:-1], [0, 1])
    first, second = rows(streams, tokens, [0, 1])
    assert np.array_equal(first, second)


def test_a_slot_has_as_many_tokens_as_fit() -> None:
    assert slot_context(1000, 16, 10**9, 8192) == 8192
    assert slot_context(1000, 16, 40 * 10**6, 8192) == 2048
    assert slot_context(1000, 16, 10**9, 3000) == 3000
    assert slot_context(1000, 16, 40 * 10**6, 300) == 300
    for slots, memory in [(0, 10**9), (MOST_SLOTS + 1, 10**12), (16, 10**6)]:
        with pytest.raises(UsageError) as refused:
            slot_context(1000, slots, memory, 8192)
        assert refused.value.hint
