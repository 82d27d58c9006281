"""What the next step of many requests does: which rows, which parts of prompts, which copies.

Pure: no model, no clock, no thread. A slot holds the cells of one token path. Running requests are
in the lowest slots, for only consecutive ones go into one graph; what others held before stays
above, in keepers. A prompt's last token is a row like any drawn one: it is evaluated alike in any
company.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from llterm.core.tokens import Tail, common
from llterm.engine.generation import Busy
from llterm.engine.prefix_tree import PrefixTree

WINDOW = 64
"""Waiting requests of a key among which the one with the longest beginning at hand goes first."""
OVERDUE = 10.0
"""Seconds without any progress after which a request goes before all others."""
UNSERVED = 2.0
"""Seconds that a key may have nothing while others run; then one of theirs is pre-empted."""
WORTH = 4
"""What is kept when its slot is taken must be worth as many copies: perhaps nobody asks for it."""
HOT = 10_000
"""Steps by which a beginning that was used again is kept longer."""
RUNS = 2
"""Most stretches of consecutive slots that running requests are left in: each is a graph."""
BLOCK = 256
"""Cells by which llama.cpp lets all tokens of a part look at more: parts end where a block does."""


@dataclass(slots=True, eq=False)
class PlannedRequest:
    """A request as the plan sees it."""

    tokens: list[int]
    """Its prompt and what was drawn; not empty."""
    key: str = ""
    """Equal turns are by this, and no two share what slots hold."""
    most: int = 1 << 30
    """Tokens that may still be drawn."""
    arrived: float = 0.0
    """Seconds on the caller's clock."""
    further: bool = False
    """It comes with another one, as which it is counted while it waits."""
    held_back: bool = False
    """Its next row is not to be decoded yet."""
    slot: int | None = None
    filled: int = 0
    """How many of its tokens its slot holds."""
    cached: int = 0
    """How many of its prompt's were there when it came in: never evaluated for it."""
    begun: bool = False
    """It had a slot before."""
    progressed: float = 0.0
    number: int = field(default=0, init=False)
    path: Tail = field(default=(), init=False)
    """What is to be evaluated before its next row, while it waits or its prompt is evaluated."""

    @property
    def lacking(self) -> int:
        """Tokens to evaluate before its next row."""
        return len(self.tokens) - 1 - self.filled


@dataclass(frozen=True, slots=True)
class SlotCopy:
    """All that a slot holds goes to another one, of which the first `keep` tokens stay."""

    source: int
    target: int
    keep: int


@dataclass(frozen=True, slots=True)
class SlotTrim:
    """Of a slot the first `keep` tokens stay."""

    slot: int
    keep: int


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """A part of a prompt; no logits are read."""

    request: PlannedRequest
    slot: int
    start: int
    tokens: Tail


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A request's newest token, whose logits are read."""

    request: PlannedRequest
    slot: int
    start: int
    token: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Moves first, in order; then the rows together; then the chunks. Both ascend by slot."""

    moves: Sequence[SlotCopy | SlotTrim] = ()
    rows: Sequence[SlotRow] = ()
    chunks: Sequence[PrefillChunk] = ()

    def __bool__(self) -> bool:
        return bool(self.moves or self.rows or self.chunks)

    @property
    def parts(self) -> Sequence[SlotRow | PrefillChunk]:
        """All that is evaluated."""
        return (*self.rows, *self.chunks)

    @property
    def graphs(self) -> int:
        """How many graphs its rows take."""
        return len(runs_of(row.slot for row in self.rows))


@dataclass(frozen=True, slots=True)
class SlotCosts:
    """Measured on this model and machine, in seconds."""

    copy: float
    """Of a slot to another one."""
    token: float
    """Of a token in a long prompt."""
    graph: float
    """Of a graph more in a step."""


@dataclass(slots=True)
class _Slot:
    request: PlannedRequest | None = None
    whose: str = ""
    size: int = 0
    """Tokens held; of a running request's, those that the tree knows of."""
    used: int = 0
    """The step it was used last in."""
    hot: bool = False
    """What it holds was used again."""

    @property
    def value(self) -> int:
        """The less, the sooner another text may take its place."""
        return self.used + HOT * self.hot if self.size else -1


class SlotPlan:
    """The slots, the queue before them, and whose turn it is."""

    def __init__(
        self,
        parallel: int,
        keepers: int,
        costs: SlotCosts,
        *,
        queue: int = 1024,
        chunk: int = 512,
        whole: bool = False,
    ) -> None:
        """`parallel` requests run at most, in `parallel + keepers` slots; `queue` more may wait.
        `chunk`: most tokens of a part of a prompt. `whole`: a slot's state cannot be cut short."""
        self._parallel = parallel
        self._costs = costs
        self._queue = queue
        self._chunk = chunk
        self._whole = whole
        self._worth = max(round(costs.copy / max(costs.token, 1e-9)), 1)
        """Tokens from which on a copy is cheaper than to evaluate them."""
        self._slots = [_Slot() for _ in range(parallel + keepers)]
        self._waiting: dict[str, list[PlannedRequest]] = {}
        self._served: dict[str, int] = {}
        """Tokens evaluated by key, of those that wait or run; comers begin with the least."""
        self._seen: dict[str, float] = {}
        """When a key got something last."""
        self._held: dict[str, PrefixTree] = {}
        self._coming: dict[str, PrefixTree] = {}
        """What prompts that are being evaluated will hold, by request."""
        self._numbers = count(1)
        self._step = 0

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> Sequence[PlannedRequest]:
        """Those with one, the lowest first."""
        return [slot.request for slot in self._slots if slot.request is not None]

    @property
    def _counted(self) -> int:
        """Requests that wait; those that came with another one are no more than it."""
        return sum(not each.further for queue in self._waiting.values() for each in queue)

    @property
    def _full(self) -> bool:
        """Whether nobody more may wait. Slots that the next step fills are no part of the queue."""
        free = self._parallel - len(self.running)
        return self.waiting >= free and self._counted >= self._queue + min(free, self._counted)

    def holds(self, slot: int) -> Tail:
        """The tokens whose cells are in a slot."""
        request = self._slots[slot].request
        if request is not None:
            return tuple(request.tokens[: request.filled])
        return self._tree(self._slots[slot].whose).path(slot)

    def join(self, request: PlannedRequest, now: float) -> None:
        """Let it wait for a slot. Raises Busy."""
        if not request.further and self._full:
            raise Busy(
                "Too many requests wait",
                f"{self._counted:,} are before this one.",
                "Ask again in a while, or start the server with a larger queue.",
            )
        request.number = next(self._numbers)
        request.arrived = request.progressed = now
        if request.key not in self._served:
            self._served[request.key] = min(self._served.values(), default=0)
            self._seen[request.key] = now
        self._wait(request)

    def leave(self, request: PlannedRequest) -> None:
        """It has ended, or is not wanted any more. What its slot holds stays, for others."""
        if request.slot is not None:
            self._unseat(request)
        else:
            self._unwait(request)
        if not self._has(request.key):
            self._served.pop(request.key, None)
            self._seen.pop(request.key, None)

    def took(self, request: PlannedRequest, token: int) -> None:
        """A token was drawn after its row, which is done."""
        request.tokens.append(token)
        request.most -= 1

    def went_ahead(self, request: PlannedRequest) -> None:
        """Its newest token is evaluated already: it was written ahead, in the row's decode."""
        request.filled += 1
        self._served[request.key] += 1

    def plan(self, now: float, budget: int) -> StepPlan:
        """The next step; `budget`: tokens of prompts that may go along. The moves count as made."""
        self._step += 1
        moves: list[SlotCopy | SlotTrim] = []
        self._admit(now, moves)
        self._close_holes(moves)
        return StepPlan(moves, self._rows(), self._chunks(now, budget))

    def done(self, step: StepPlan, now: float) -> None:
        """Its rows and chunks were evaluated. Nobody leaves between `plan` and this or `undone`."""
        for part in step.parts:
            request = part.request
            size = len(part.tokens) if isinstance(part, PrefillChunk) else 1
            request.filled += size
            request.progressed = now
            self._served[request.key] += size
            self._seen[request.key] = now
            slot = self._slots[part.slot]
            slot.used = self._step
            if isinstance(part, PrefillChunk):
                self._note(part.slot, self.holds(part.slot))
                if not request.lacking:
                    self._expect_no_more(request)
            elif self._whole:
                # Its beginning alone cannot be had of it any more.
                self._note(part.slot, ())

    def undone(self, step: StepPlan) -> Sequence[SlotTrim]:
        """It was given up: what slots may hold of it is to be removed so."""
        trims: list[SlotTrim] = []
        for part in step.parts:
            request = self._slots[part.slot].request
            if self._whole:
                self._note(part.slot, ())
                if request is not None:
                    request.filled = 0
                    self._expect(request)
            trims.append(SlotTrim(part.slot, len(self.holds(part.slot))))
        return trims

    def forget(self) -> None:
        """No slot holds anything any more; who had one waits again."""
        for request in self.running:
            self._unseat(request)
            self._wait(request)
        self._slots = [_Slot() for _ in self._slots]
        self._held.clear()
        self._coming.clear()

    # Who gets a slot.

    def _admit(self, now: float, moves: list[SlotCopy | SlotTrim]) -> None:
        free = self._parallel - len(self.running)
        while free and (request := self._next(now)):
            self._seat(request, now, moves)
            free -= 1
        if not free and (request := self._unserved(now)):
            victim = self._victim()
            self._unseat(victim)
            self._wait(victim, first=True)
            self._seat(request, now, moves)

    def _next(self, now: float) -> PlannedRequest | None:
        """Whose turn it is; None where all have to wait for a beginning that is on its way."""
        overdue = [
            request
            for requests in self._waiting.values()
            for request in requests[:WINDOW]
            if now - request.progressed > OVERDUE
        ]
        for request in sorted(overdue, key=lambda each: each.progressed):
            if not self._expects_more(request, self._at_hand(request)[0]):
                return request
        for key in sorted(self._waiting, key=lambda each: self._served[each]):
            best: tuple[int, PlannedRequest] | None = None
            for request in self._waiting[key][:WINDOW]:
                size = self._at_hand(request)[0]
                longer = best is None or size > best[0]
                if longer and not self._expects_more(request, size):
                    best = size, request
            if best is not None:
                return best[1]
        return None

    def _unserved(self, now: float) -> PlannedRequest | None:
        """The first request of a key that has had nothing for too long, the longest one first."""
        running = {request.key for request in self.running}
        waits = [
            (max(self._seen[key], requests[0].arrived), requests[0])
            for key, requests in self._waiting.items()
            if key not in running
        ]
        since, request = min(waits, key=lambda each: each[0], default=(now, None))
        return request if now - since >= UNSERVED else None

    def _victim(self) -> PlannedRequest:
        """The youngest one of the key that runs most; of several such, the most served one."""
        running = self.running
        seats = {request.key: 0 for request in running}
        for request in running:
            seats[request.key] += 1
        key = max(seats, key=lambda each: (seats[each], self._served[each]))
        return max(
            (request for request in running if request.key == key), key=lambda each: each.number
        )

    def _at_hand(self, request: PlannedRequest) -> tuple[int, frozenset[int]]:
        """How many of its first tokens slots hold, and which slots."""
        held = self._tree(request.key)
        return held.longest_whole(request.path) if self._whole else held.longest(request.path)

    def _expects_more(self, request: PlannedRequest, at_hand: int) -> bool:
        """Whether more of its beginning is being evaluated for another request: worth a wait."""
        coming = self._coming.get(request.key)
        if not coming:
            return False
        size, owners = coming.longest(request.path)
        if self._whole and not any(coming.path(owner) == request.path for owner in owners):
            return False
        return size - at_hand >= self._worth

    def _seat(self, request: PlannedRequest, now: float, moves: list[SlotCopy | SlotTrim]) -> None:
        """Give it the lowest free slot, with as much of its beginning as there is."""
        self._unwait(request)
        target = next(n for n, slot in enumerate(self._slots) if slot.request is None)
        slot = self._slots[target]
        size, owners = self._at_hand(request)
        own = self._own_part(target, request)
        source = min(owners, default=target)
        if target not in owners and size - own >= self._worth:
            self._touch(source)
            self._save(target, 0, moves, source)
            size = self._stepped_back(request, size)
            moves.append(SlotCopy(source, target, size))
        else:
            size = self._stepped_back(request, own)
            kept = size if slot.whose == request.key else 0
            self._save(target, kept, moves, target)
            if self._slots[target].size != size:
                moves.append(SlotTrim(target, size))
        hot = own >= self._worth and own >= size
        self._note(target, ())
        self._slots[target] = _Slot(request, request.key, size, self._step, hot)
        self._note(target, request.path[:size])
        request.slot, request.filled, request.progressed = target, size, now
        self._seen[request.key] = now
        if not request.begun:
            request.cached = size
        request.begun = True
        self._expect(request)

    def _own_part(self, target: int, request: PlannedRequest) -> int:
        """How many of its first tokens this slot itself holds."""
        if self._slots[target].whose != request.key:
            return 0
        path = self.holds(target)
        same = common(path, request.path)
        return same if not self._whole or same == len(path) else 0

    def _stepped_back(self, request: PlannedRequest, size: int) -> int:
        """One token less where a single one would be left: that would go through other kernels."""
        alone = len(request.path) - size == 1
        return size - 1 if alone and size and not self._whole else size

    def _touch(self, slot: int) -> None:
        self._slots[slot].used = self._step
        self._slots[slot].hot = True

    def _save(self, slot: int, kept: int, moves: list[SlotCopy | SlotTrim], spare: int) -> None:
        """Copy what a slot is about to lose to where less is lost; not over `spare`."""
        state = self._slots[slot]
        least = WORTH * self._worth
        if state.size - kept < least:
            return
        tree, path = self._tree(state.whose), self.holds(slot)
        tree.remove(slot)
        elsewhere = tree.longest(path)[0]
        tree.put(slot, path)
        if state.size - max(elsewhere, kept) < least:
            return
        free = [
            (other.value, -number)
            for number, other in enumerate(self._slots)
            if other.request is None and number not in (slot, spare)
        ]
        value, number = min(free, default=(state.value, 0))
        if value >= state.value:
            return
        moves.append(SlotCopy(slot, -number, len(path)))
        self._note(-number, ())
        self._slots[-number] = _Slot(None, state.whose, len(path), state.used, state.hot)
        self._note(-number, path)

    # Where they are.

    def _close_holes(self, moves: list[SlotCopy | SlotTrim]) -> None:
        """Bring running requests down while that is cheaper than a graph more in each step."""
        taken = [number for number, slot in enumerate(self._slots) if slot.request is not None]
        outliers = [number for number in taken if number >= len(taken)]
        remaining = max((self._most(number) for number in outliers), default=0)
        cheap = len(outliers) * self._costs.copy < self._costs.graph * remaining
        for number in reversed(outliers):
            if not cheap and len(runs_of(taken)) <= RUNS:
                break
            hole = next(n for n, slot in enumerate(self._slots) if slot.request is None)
            self._move(number, hole, moves)
            taken = sorted({*taken, hole} - {number})

    def _most(self, slot: int) -> int:
        request = self._slots[slot].request
        return request.most if request is not None else 0

    def _move(self, source: int, target: int, moves: list[SlotCopy | SlotTrim]) -> None:
        state = self._slots[source]
        request = state.request
        assert request is not None
        path = self.holds(source)
        self._save(target, 0, moves, source)
        moves.append(SlotCopy(source, target, len(path)))
        self._note(target, ())
        self._slots[target] = _Slot(request, state.whose, len(path), self._step, state.hot)
        request.slot = target
        self._note(target, path)
        # The copy that stays behind is of no worth.
        self._slots[source] = _Slot(None, state.whose, len(path), 0)
        self._note(source, path)

    # What is evaluated.

    def _rows(self) -> Sequence[SlotRow]:
        return [
            SlotRow(request, number, request.filled, request.tokens[-1])
            for number, slot in enumerate(self._slots)
            if (request := slot.request) and not request.lacking and not request.held_back
        ]

    def _chunks(self, now: float, budget: int) -> Sequence[PrefillChunk]:
        lacking = [request for request in self.running if request.lacking > 0]
        lacking.sort(key=lambda each: self._turn(each, now))
        chunks: list[PrefillChunk] = []
        left = max(budget, 2)
        for request in lacking:
            if left < 2:
                break
            start = request.filled
            size = _part(request.lacking, min(left, self._chunk, _block_left(start)))
            assert request.slot is not None
            tokens = tuple(request.tokens[start : start + size])
            chunks.append(PrefillChunk(request, request.slot, start, tokens))
            left -= size
        return sorted(chunks, key=lambda chunk: chunk.slot)

    def _turn(self, request: PlannedRequest, now: float) -> tuple[float, int, int]:
        overdue = now - request.progressed > OVERDUE
        since = request.progressed if overdue else now
        return since, self._served[request.key], request.number

    # Books.

    def _tree(self, whose: str) -> PrefixTree:
        return self._held.setdefault(whose, PrefixTree())

    def _note(self, slot: int, path: Tail) -> None:
        """A slot holds this, and the tree knows."""
        state = self._slots[slot]
        state.size = len(path)
        tree = self._tree(state.whose)
        if path:
            tree.put(slot, path)
        else:
            tree.remove(slot)
            if not tree:
                del self._held[state.whose]

    def _expect(self, request: PlannedRequest) -> None:
        """Let others wait for what is evaluated for it."""
        request.path = tuple(request.tokens[:-1])
        if request.lacking > 0:
            coming = self._coming.setdefault(request.key, PrefixTree())
            coming.put(request.number, request.path)

    def _expect_no_more(self, request: PlannedRequest) -> None:
        coming = self._coming.get(request.key)
        if coming is not None:
            coming.remove(request.number)
            if not coming:
                del self._coming[request.key]

    def _wait(self, request: PlannedRequest, *, first: bool = False) -> None:
        request.path = tuple(request.tokens[:-1])
        queue = self._waiting.setdefault(request.key, [])
        queue.insert(0 if first else len(queue), request)

    def _unwait(self, request: PlannedRequest) -> None:
        queue = self._waiting.get(request.key, [])
        if request in queue:
            queue.remove(request)
            if not queue:
                del self._waiting[request.key]

    def _unseat(self, request: PlannedRequest) -> None:
        assert request.slot is not None
        path = self.holds(request.slot)
        self._slots[request.slot].request = None
        self._note(request.slot, path)
        self._expect_no_more(request)
        request.slot, request.filled = None, 0

    def _has(self, key: str) -> bool:
        return key in self._waiting or any(request.key == key for request in self.running)


def _part(lacking: int, most: int) -> int:
    """Tokens of a part: at most so many, but never one alone, nor one left."""
    size = min(lacking, most)
    if lacking - size == 1:
        return size - 1 if size > 2 else size + 1
    return size


def _block_left(start: int) -> int:
    """Tokens up to the end of the block, or of the next one where a token alone would be left."""
    left = BLOCK - start % BLOCK
    return left if left > 1 else left + BLOCK


def runs_of(slots: Iterable[int]) -> Sequence[range]:
    """The stretches of consecutive numbers in ascending ones."""
    runs: list[range] = []
    for number in slots:
        if runs and number == runs[-1].stop:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs
