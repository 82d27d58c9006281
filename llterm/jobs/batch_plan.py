"""The order in which many requests are asked: those that begin alike one after the other.

Of each row a few numbers are kept, whatever its length: its place, a digest of its id, and digests
of its beginning at some lengths.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llterm.core.batch_row import BatchInput, BatchRow, RowPlace
from llterm.core.display_text import label_text
from llterm.errors import UsageError

LENGTHS = (64, 256, 1024, 4096, 16384)
"""Bytes of a beginning that may be shared."""
_EVERY = 1000
"""Rows between two words about how far the reading is."""


def id_digest(custom_id: str) -> bytes:
    """What is kept of an id: 16 bytes, which no two ids share."""
    return hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class BatchPlan:
    """Every row of an input, by few bytes each."""

    def __init__(self, places: Sequence[RowPlace], ids: bytes, order: NDArray[np.int64]) -> None:
        """`ids`: 16 bytes of each row. `order`: row numbers, as they are to be asked."""
        self._places = places
        self._ids = ids
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def id_of(self, row: int) -> bytes:
        """See `id_digest`."""
        return self._ids[16 * row : 16 * row + 16]

    def places(self, but: Callable[[bytes], bool] = lambda _: False) -> Iterator[RowPlace]:
        """Where the rows are, in the order in which they are to be asked; `but` says by its id
        which one is not."""
        return (self._places[row] for row in self._order.tolist() if not but(self.id_of(row)))

    def spread(self, count: int) -> list[RowPlace]:
        """So many rows from all over the input, or all."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        return [self._places[row] for row in chosen.tolist()]


class _Places(Sequence[RowPlace]):
    """Places in 24 bytes each."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __getitem__(self, row: int) -> RowPlace:  # type: ignore[override]
        return RowPlace(*self._numbers[3 * row : 3 * row + 3])

    def append(self, place: RowPlace) -> None:
        self._numbers.extend(place)


def plan_rows(
    rows: BatchInput, limit: int | None = None, hear: Callable[[int], None] = lambda _: None
) -> BatchPlan:
    """Read every row once, or the first `limit`. `hear` is told how many were read.

    Raises UsageError for a row that cannot be, or an id that stands there twice.
    """
    places, ids, beginnings = _Places(), bytearray(), array("q")
    known: set[bytes] = set()
    for place, row in rows.walk():
        if limit is not None and len(places) == limit:
            break
        digest = id_digest(row.custom_id)
        if digest in known:
            raise UsageError(
                f"Two rows are called {label_text(row.custom_id)}",
                f"The second is row {place.number:,} of {rows.name}.",
                "Results are found by custom_id: give each row its own.",
            )
        known.add(digest)
        places.append(place)
        ids += digest
        beginnings.extend(_beginnings(row))
        if len(places) % _EVERY == 0:
            hear(len(places))
    if not len(places):
        raise UsageError(f"There is no row in {rows.name}", "", "Is this the right file?")
    keys = np.array(beginnings, np.int64).reshape(len(places), len(LENGTHS))
    return BatchPlan(places, bytes(ids), _order(keys))


def _beginnings(row: BatchRow) -> Iterator[int]:
    """Digests of the beginning, from the shortest length on; of a shorter text, of all of it."""
    text = row.beginning
    for length in LENGTHS:
        digest = hashlib.blake2b(text[:length], digest_size=8).digest()
        yield int.from_bytes(digest, signed=True)


def _order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows with equal keys beside each other, column by column; otherwise as they came."""
    columns = []
    for column in keys.T:
        _, first, which = np.unique(column, return_index=True, return_inverse=True)
        columns.append(first[which])
    return np.lexsort((np.arange(len(keys)), *reversed(columns)))
