"""Which token path each llama.cpp sequence holds. Pure bookkeeping: it plans, others carry out.

The trunk is the anchor without its last token. It stands in sequence 0, and every other sequence
holds its cells too, so that a step touches only the tails. A tail here begins with the anchor's
last token and is never empty: asking for the distribution after the anchor itself costs one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llterm.core.tokens import Tail

TRUNK = 0
"""The sequence that holds the trunk alone."""


@dataclass(frozen=True, slots=True)
class Copy:
    """`llama_memory_seq_cp`; positions from `start` to `stop` (whole states: 0 and -1)."""

    source: int
    target: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Remove:
    """`llama_memory_seq_rm` of the positions from `start` on."""

    sequence: int
    start: int


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens to evaluate in one sequence; the logits after the last are asked for."""

    query: int
    sequence: int
    start: int
    """Position of the first token."""
    tokens: Tail


@dataclass(slots=True)
class Plan:
    """What to do before a decode, what to decode, and which queries must wait for the next one."""

    moves: list[Copy | Remove] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


class Cells:
    """The prefix trie over sequences."""

    def __init__(self, sequences: int, *, whole: bool) -> None:
        """`whole`: states can only be copied as a whole (recurrent and hybrid models)."""
        self.trunk: Tail = ()
        self._whole = whole
        self._base = dict.fromkeys(range(1, sequences), 0)
        self._tails: dict[int, Tail] = dict.fromkeys(range(1, sequences), ())
        self._where: dict[Tail, set[int]] = {}
        self._used: dict[int, None] = {}

    def move_trunk(self, trunk: Tail) -> tuple[list[Copy | Remove], int]:
        """Make this the trunk: the moves to make, and how many of its tokens are there then."""
        moves: list[Copy | Remove] = []
        same = _common(self.trunk, trunk)
        held = same
        kept: dict[int, Tail] = {}
        if same == len(self.trunk):
            rest = trunk[same:]
            size, source = self._longest(rest)
            if size:
                moves += self._copied(source, TRUNK, same, same + size)
                held = same + size
            kept = {s: tail[len(rest) :] for s, tail in self._tails.items()
                    if len(tail) > len(rest) and tail[: len(rest)] == rest}  # fmt: skip
        elif self._whole:
            held = 0
            moves.append(Remove(TRUNK, 0))
        else:
            moves.append(Remove(TRUNK, same))
        for sequence, base in self._base.items():
            if sequence in kept:
                self._base[sequence] = len(trunk)
                continue
            keep = 0 if self._whole else min(base, same)
            if base > keep or self._tails[sequence]:
                moves.append(Remove(sequence, keep))
            self._base[sequence] = keep
        self._where.clear()
        self._tails = dict.fromkeys(self._base, ())
        self.trunk = trunk
        for sequence, tail in kept.items():
            self._hold(sequence, tail)
        return moves, held

    def plan(self, tails: Sequence[Tail], room: int) -> Plan:
        """Place each tail in a sequence of its own; `room` is how many tokens a decode takes."""
        plan = Plan()
        sources = [self._source(tail) for tail in tails]
        busy = {source for _, source in sources}
        extended: set[int] = set()
        for query, (tail, (size, source)) in enumerate(zip(tails, sources, strict=True)):
            tokens = tail[size:]
            room -= len(tokens)
            if room < 0 and plan.rows:
                plan.waiting.append(query)
                continue
            ends_there = size and self._tails.get(source) == tail[:size]
            if ends_there and source not in extended and not self._whole:
                extended.add(source)
                plan.rows.append(self._row(query, source, tail, size))
                continue
            target = self._free(busy)
            if target is None:
                plan.waiting.append(query)
                continue
            busy.add(target)
            plan.moves += self._made(source, target, size)
            plan.rows.append(self._row(query, target, tail, size))
        return plan

    def evaluated(self, row: Row, tail: Tail) -> None:
        """The row went through a decode: its sequence holds the whole tail now."""
        self._drop(row.sequence)
        self._hold(row.sequence, tail)

    def undone(self, row: Row, tail: Tail) -> Remove:
        """The row did not go through: its sequence holds nothing of it."""
        self._drop(row.sequence)
        keep = 0 if self._whole else self._base[row.sequence]
        self._base[row.sequence] = keep
        self._used.pop(row.sequence, None)
        return Remove(row.sequence, keep)

    def forget(self, share: float, busy: set[int]) -> list[Copy | Remove]:
        """Free this share of the sequences with tails, least recently used first."""
        old = [s for s in self._used if s not in busy and self._tails[s]]
        moves: list[Copy | Remove] = []
        for sequence in old[: max(int(len(old) * share), 1)]:
            self._drop(sequence)
            self._used.pop(sequence, None)
            keep = 0 if self._whole else self._base[sequence]
            self._base[sequence] = keep
            moves.append(Remove(sequence, keep))
        return moves

    def clear(self) -> None:
        """Nothing is held any more."""
        self.trunk = ()
        self._where.clear()
        self._used.clear()
        self._base = dict.fromkeys(self._base, 0)
        self._tails = dict.fromkeys(self._base, ())

    def _row(self, query: int, sequence: int, tail: Tail, size: int) -> Row:
        self._used.pop(sequence, None)
        self._used[sequence] = None
        return Row(query, sequence, len(self.trunk) + size, tail[size:])

    def _source(self, tail: Tail) -> tuple[int, int]:
        """How much of a tail is held, short of its last token, and by which sequence."""
        return self._longest(tail[:-1])

    def _longest(self, tail: Tail) -> tuple[int, int]:
        for size in range(len(tail), 0, -1):
            holders = self._where.get(tail[:size])
            if holders:
                exact = [one for one in holders if self._tails[one] == tail[:size]]
                return size, min(exact or holders)
        return 0, TRUNK

    def _free(self, busy: set[int]) -> int | None:
        for sequence, tail in self._tails.items():
            if not tail and sequence not in busy and sequence not in self._used:
                return sequence
        return next((sequence for sequence in self._used if sequence not in busy), None)

    def _made(self, source: int, target: int, size: int) -> list[Copy | Remove]:
        """Moves that make `target` hold the trunk and `size` tokens of `source`'s tail."""
        moves: list[Copy | Remove] = []
        had_tail = bool(self._tails[target])
        self._drop(target)
        if self._whole:
            moves.append(Remove(target, 0))
            if self.trunk or size:
                moves.append(Copy(source, target, 0, -1))
            return moves
        base, length = self._base[target], len(self.trunk)
        if had_tail:
            moves.append(Remove(target, base))
        if base < length:
            moves.append(Copy(TRUNK, target, base, length))
            self._base[target] = length
        if size:
            moves.append(Copy(source, target, length, length + size))
        return moves

    def _copied(self, source: int, target: int, start: int, stop: int) -> list[Copy | Remove]:
        if self._whole:
            return [Remove(target, 0), Copy(source, target, 0, -1)]
        return [Copy(source, target, start, stop)]

    def _hold(self, sequence: int, tail: Tail) -> None:
        self._tails[sequence] = tail
        for size in [len(tail)] if self._whole else range(1, len(tail) + 1):
            self._where.setdefault(tail[:size], set()).add(sequence)

    def _drop(self, sequence: int) -> None:
        tail = self._tails[sequence]
        for size in [len(tail)] if self._whole else range(1, len(tail) + 1):
            holders = self._where.get(tail[:size])
            if holders is not None:
                holders.discard(sequence)
                if not holders:
                    del self._where[tail[:size]]
        self._tails[sequence] = ()


def _common(one: Tail, other: Tail) -> int:
    """Length of the common prefix."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(index for index in range(size) if one[index] != other[index])
