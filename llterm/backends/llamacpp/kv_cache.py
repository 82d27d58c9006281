"""The token path that each llama.cpp sequence holds. Pure bookkeeping: it plans, others carry out.

The trunk is the anchor without its last token. It stands in sequence 0, and every other sequence
holds its cells too, so that a step touches only the tails. A tail here begins with the anchor's
last token and is never empty: asking for the distribution after the anchor itself costs one token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field

from llterm.core.tokens import Tail, common

TRUNK = 0
"""The sequence that holds the trunk alone."""
LONGEST = 512
"""Most tokens of a tail that is worth parking."""


@dataclass(frozen=True, slots=True)
class CopyCells:
    """`llama_memory_seq_cp`; positions from `start` to `stop` (whole states: 0 and -1)."""

    source: int
    target: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class RemoveCells:
    """`llama_memory_seq_rm` of the positions from `start` on."""

    sequence: int
    start: int


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """Tokens to evaluate in one sequence; the logits after the last are asked for."""

    query: int
    sequence: int
    start: int
    """Position of the first token."""
    tokens: Tail


@dataclass(slots=True)
class DecodePlan:
    """Moves before a decode, the rows to decode, and the queries that wait for the next one."""

    moves: list[CopyCells | RemoveCells] = field(default_factory=list)
    rows: list[DecodeRow] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


class KVCache:
    """The prefix trie over sequences.

    A sequence holds the trunk's first `base` tokens and then a tail of its own. Where `base` is the
    whole trunk it is live; the others are parked: paths of earlier trunks, good again when the
    trunk comes back (an undo, another accept), and the first to be let go.
    """

    def __init__(self, sequences: int, *, whole: bool, parked: int, ordered: bool = False) -> None:
        """`whole`: states can only be copied as a whole (recurrent and hybrid models).

        `parked`: most cells that parked paths may hold. Every row looks at every cell in use.
        `ordered`: no path outlives its trunk, whose cells are the first ones, in order. Not with
        `whole`.
        """
        self.trunk: Tail = ()
        self._whole = whole
        self._parked = parked
        self._ordered = ordered
        self._base = dict.fromkeys(range(1, sequences), 0)
        self._tails: dict[int, Tail] = dict.fromkeys(range(1, sequences), ())
        self._where: dict[Tail, set[int]] = {}
        """Live tails and their prefixes (whole states: the tails alone)."""
        self._used: dict[int, None] = {}
        """Sequences with tails, least recently used first."""
        self._empty: dict[int, None] = dict.fromkeys(self._base)
        """The others."""

    def copied(self) -> KVCache:
        """The same, from which this one may go on apart."""
        other = copy(self)
        other._base, other._tails = dict(self._base), dict(self._tails)
        other._used, other._empty = dict(self._used), dict(self._empty)
        other._where = {tail: set(holders) for tail, holders in self._where.items()}
        return other

    def holding(self, trunk: Tail) -> KVCache:
        """One of the same kind in which this trunk stands alone."""
        other = self.copied()
        other.clear()
        other.trunk = trunk
        return other

    def known(self, tokens: Tail) -> int:
        """How many of these tokens a question about them finds evaluated."""
        size = self.held(tokens)
        rest = tokens[size:] if size == len(self.trunk) else ()
        return size + self._longest(rest)[0]

    def common(self, trunk: Tail) -> int:
        """How many of these tokens the present trunk begins with."""
        return common(self.trunk, trunk)

    def held(self, trunk: Tail) -> int:
        """How many of these tokens the trunk spares: of a whole state all that it has, or none."""
        size = self.common(trunk)
        return size if not self._whole or size == len(self.trunk) else 0

    def move_trunk(self, trunk: Tail) -> tuple[list[CopyCells | RemoveCells], int]:
        """Make this the trunk: the moves to make, and how many of its tokens are there then."""
        if self._ordered:
            return self._start_over(trunk)
        old, same = self.trunk, common(self.trunk, trunk)
        moves = self._rebase(same)
        held, source = same, TRUNK
        if self._whole and same < len(old):
            held = 0
        for sequence, tail in self._tails.items():
            base = self._base[sequence]
            size = common(tail, trunk[base : base + len(tail)])
            if base + size > held and (size == len(tail) or not self._whole):
                held, source = base + size, sequence
        if self._whole:
            if source != TRUNK:
                moves += [RemoveCells(TRUNK, 0), CopyCells(source, TRUNK, 0, -1)]
            elif held < len(old):
                moves.append(RemoveCells(TRUNK, 0))
        else:
            if same < len(old):
                moves.append(RemoveCells(TRUNK, same))
            if source != TRUNK:
                moves.append(CopyCells(source, TRUNK, same, held))
        self.trunk = trunk
        self._sort_out()
        return moves + self._unpark(), held

    def cut_trunk(self, size: int) -> list[CopyCells | RemoveCells]:
        """Only its first `size` tokens were evaluated, of a whole state exactly these or none."""
        moves = self._rebase(size)
        if not size or not self._whole:
            moves.append(RemoveCells(TRUNK, size))
        self.trunk = self.trunk[:size]
        self._sort_out()
        return moves + self._unpark()

    def _start_over(self, trunk: Tail) -> tuple[list[CopyCells | RemoveCells], int]:
        """Keep what the old trunk and this one begin with, and nothing else.

        llama.cpp puts each token into the first free cell. So the cells in use are the first ones,
        and what is evaluated from here on comes into the same cells as in a new context.
        """
        same = common(self.trunk, trunk)
        moves: list[CopyCells | RemoveCells] = [
            self._let_go(sequence, self._base[sequence]) for sequence in list(self._used)
        ]
        moves += self._rebase(same)
        if same < len(self.trunk):
            moves.append(RemoveCells(TRUNK, same))
        self.trunk = trunk
        # Which sequence is taken first is as in a new context too.
        self._empty = dict.fromkeys(self._base)
        return moves, same

    @property
    def parked(self) -> int:
        """Cells that parked paths hold."""
        return len({cell for sequence in self._used for cell in self._parked_cells(sequence)})

    def _unpark(self) -> list[CopyCells | RemoveCells]:
        """Let go of the parked paths, least recently used first, that hold too many cells."""
        moves: list[CopyCells | RemoveCells] = []
        parked: set[tuple[int, Tail]] = set()
        for sequence in reversed(list(self._used)):
            cells = parked.union(self._parked_cells(sequence))
            if len(cells) > self._parked:
                moves.append(self._let_go(sequence, self._base[sequence]))
            else:
                parked = cells
        return moves

    def _parked_cells(self, sequence: int) -> Iterator[tuple[int, Tail]]:
        """A parked path's own cells: paths with a common beginning share those."""
        base, tail = self._base[sequence], self._tails[sequence]
        if base != len(self.trunk):
            yield from ((base, tail[:size]) for size in range(1, len(tail) + 1))

    def _rebase(self, same: int) -> list[CopyCells | RemoveCells]:
        """Say what each sequence holds in terms of the first `same` tokens of the trunk."""
        moves: list[CopyCells | RemoveCells] = []
        for sequence, base in self._base.items():
            if base <= same:
                continue
            tail = self._tails[sequence]
            if tail and base - same + len(tail) <= LONGEST:
                self._tails[sequence] = self.trunk[same:base] + tail
            else:
                moves.append(self._let_go(sequence, same))
            self._base[sequence] = 0 if self._whole and not self._tails[sequence] else same
        return moves

    def _sort_out(self) -> None:
        """Find out which sequences are live under the new trunk."""
        self._where.clear()
        length = len(self.trunk)
        for sequence, tail in self._tails.items():
            base = self._base[sequence]
            if not tail or base > length:
                continue
            size = common(tail, self.trunk[base : base + len(tail)])
            if size == length - base and len(tail) > size:
                self._base[sequence] = length
                self._hold(sequence, tail[size:])
            elif size == len(tail) and not self._whole:
                self._base[sequence] = base + size
                self._tails[sequence] = ()
                self._put_aside(sequence)

    def plan(self, tails: Sequence[Tail], room: int) -> DecodePlan:
        """Place each tail in a sequence of its own; `room` is how many tokens a decode takes."""
        plan = DecodePlan()
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

    def evaluated(self, row: DecodeRow, tail: Tail) -> None:
        """The row went through a decode: its sequence holds the whole tail now."""
        had = self._tails[row.sequence]
        if self._whole or not had or tail[: len(had)] != had:
            self._drop(row.sequence)
            had = ()
        self._hold(row.sequence, tail, len(had))

    def undone(self, row: DecodeRow) -> RemoveCells:
        """The row did not go through: its sequence holds nothing of it."""
        return self._let_go(row.sequence, self._base[row.sequence])

    def forget(self, share: float, busy: set[int]) -> list[CopyCells | RemoveCells]:
        """Free this share of the sequences with tails, least recently used first."""
        old = [s for s in self._used if s not in busy]
        count = min(max(int(len(old) * share), 1), len(old))
        return [self._let_go(sequence, self._base[sequence]) for sequence in old[:count]]

    def clear(self) -> None:
        """Nothing is held any more."""
        self.trunk = ()
        self._where.clear()
        self._used.clear()
        self._empty = dict.fromkeys(self._base)
        self._base = dict.fromkeys(self._base, 0)
        self._tails = dict.fromkeys(self._base, ())

    def _let_go(self, sequence: int, keep: int) -> RemoveCells:
        """Make a sequence free, but for the first `keep` tokens of the trunk."""
        self._drop(sequence)
        self._put_aside(sequence)
        self._base[sequence] = 0 if self._whole else keep
        return RemoveCells(sequence, self._base[sequence])

    def _put_aside(self, sequence: int) -> None:
        """The sequence has no tail any more."""
        self._used.pop(sequence, None)
        self._empty[sequence] = None

    def _row(self, query: int, sequence: int, tail: Tail, size: int) -> DecodeRow:
        self._empty.pop(sequence, None)
        self._used.pop(sequence, None)
        self._used[sequence] = None
        return DecodeRow(query, sequence, len(self.trunk) + size, tail[size:])

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
        free = (one for group in (self._empty, self._used) for one in group if one not in busy)
        return next(free, None)

    def _made(self, source: int, target: int, size: int) -> list[CopyCells | RemoveCells]:
        """Moves that make `target` hold the trunk and `size` tokens of `source`'s tail."""
        moves: list[CopyCells | RemoveCells] = []
        had_tail = bool(self._tails[target])
        base, length = self._base[target], len(self.trunk)
        self._drop(target)
        self._base[target] = length
        if self._whole:
            copies: list[CopyCells | RemoveCells] = (
                [CopyCells(source, target, 0, -1)] if length or size else []
            )
            return [RemoveCells(target, 0), *copies]
        if had_tail:
            moves.append(RemoveCells(target, base))
        if base < length:
            moves.append(CopyCells(TRUNK, target, base, length))
        if size:
            moves.append(CopyCells(source, target, length, length + size))
        return moves

    def _hold(self, sequence: int, tail: Tail, known: int = 0) -> None:
        """Note that a sequence holds this tail, the first `known` tokens of which are noted."""
        self._tails[sequence] = tail
        for size in [len(tail)] if self._whole else range(known + 1, len(tail) + 1):
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
