"""How many tokens a slot has room for, by the memory that all of them may take."""

from __future__ import annotations

from llterm.backends.llamacpp.loader import SEQUENCES
from llterm.backends.llamacpp.memory_estimate import machine_memory
from llterm.errors import UsageError

LEAST = 512
"""Tokens: less is no use to anybody, where the model itself sees more."""
MOST_SLOTS = SEQUENCES - 1
"""One sequence is for the double of a row that would be evaluated alone."""
CELL_BLOCK = 256
"""Cells that llama.cpp gives at a time."""
_SHARE = 4
"""Of the machine's memory a quarter."""


def default_cache_memory() -> int:
    """Bytes that slots may take in all where nobody says: a quarter of the machine's memory."""
    return machine_memory() // _SHARE


def slot_room(
    cell: float,
    slots: int,
    trained: int,
    *,
    context: int | None = None,
    memory: int | None = None,
    cells: int | None = None,
) -> int:
    """Most tokens of each slot: `context`, or as many as fit into `memory` bytes, which is the
    default where it is None, or into so many `cells` in all. Raises UsageError as `slot_context`.
    """
    if cells is not None:
        return shared_context(cells, slots, context or trained)
    memory = default_cache_memory() if memory is None else memory
    fitting = slot_context(cell, slots, memory, trained)
    return context or fitting


def slot_context(cell: float, slots: int, memory: int, trained: int) -> int:
    """The largest of 512, 1,024, 2,048 … up to what the model sees, `trained` tokens, at which the
    slots' cells of `cell` bytes each stay under `memory` bytes.

    Raises UsageError for more slots than llama.cpp has, and where not even the least fits.
    """
    _check_count(slots)
    trained = trained if trained > 0 else LEAST
    size = min(LEAST, trained)
    if cell * slots * size > memory:
        raise UsageError(
            f"{slots:,} slots do not fit into the cache memory",
            f"With {size:,} tokens each they take {cell * slots * size / 1e6:,.0f} MB;"
            f" {memory / 1e6:,.0f} MB are allowed.",
            "Set a smaller --parallel, or a larger --cache-memory.",
        )
    while size < trained and cell * slots * min(2 * size, trained) <= memory:
        size = min(2 * size, trained)
    return size


def shared_context(cells: int, slots: int, trained: int) -> int:
    """The largest number of tokens of a slot, up to what the model sees, at which all slots have no
    more than `cells`; llama.cpp gives each whole blocks.

    Raises UsageError as `slot_context`.
    """
    _check_count(slots)
    trained = trained if trained > 0 else LEAST
    each, least = cells // slots, min(LEAST, trained)
    if each < least:
        raise UsageError(
            f"{slots:,} slots do not fit into a cache_size of {cells:,}",
            f"Each would have room for {each:,} tokens.",
            f"Set a smaller --parallel, or a cache_size of {slots * least:,} at least.",
        )
    return min(each // CELL_BLOCK * CELL_BLOCK or each, trained)


def _check_count(slots: int) -> None:
    if not 1 <= slots <= MOST_SLOTS:
        raise UsageError(
            f"{slots:,} slots cannot be had",
            f"llama.cpp has {MOST_SLOTS} at the most.",
            "Set a smaller --parallel.",
        )
