"""Draws for many requests at once on one model: one thread, one loop.

Each step takes a token of every running request, then parts of prompts for as long as the others
may wait. What a step evaluates is planned in `slot_plan.py`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.binding import Stopped
from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.llamacpp.logits import best_of
from llterm.backends.llamacpp.memory_estimate import available, cell_bytes
from llterm.backends.llamacpp.side_context import TokenRun
from llterm.backends.llamacpp.slot_sizes import MOST_SLOTS, slot_room
from llterm.backends.llamacpp.stream_context import StreamContext
from llterm.constraints.compiled import ConstraintWalk
from llterm.constraints.mask_thread import MaskThread
from llterm.core.distribution import Mask
from llterm.core.healing import Healer
from llterm.core.query import Capabilities
from llterm.core.sampling.batch_sampler import BatchSampler
from llterm.core.sampling.drawn_rows import RowDraw
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.sampling.sampler_settings import seeded
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Tail, Vocabulary, end_ids
from llterm.engine.active_generation import ActiveGeneration, GenerationListener, News
from llterm.engine.draft_lines import DraftLines, OpenedDraft
from llterm.engine.draft_opener import DraftChoice, open_draft
from llterm.engine.evaluated_line import EvaluatedLine
from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest
from llterm.engine.slot_plan import (
    PlannedRequest,
    SlotCopy,
    SlotCosts,
    SlotPlan,
    StepPlan,
)
from llterm.errors import Interrupted, LltermError, UsageError
from llterm.faults import unforeseen

T = TypeVar("T")

PREFILL = 0.05
"""Seconds that parts of prompts may take while others are drawn."""
PREFILL_ALONE = 0.1
"""Where nobody waits for a token: a comer waits for no more."""
LEAST_PREFILL = 8
"""Tokens of prompts a step, however slow the model is."""
_LEARNT = 0.2
"""Share that a new measurement of a token's seconds has in what is taken for them."""
_LOOK = 0.1
"""Seconds after which a plan that had nothing to do is made again."""


class Scheduler:
    """One model's slots, and whoever waits for them. Implements `Generator`."""

    def __init__(
        self,
        backend: LlamaBackend,
        streams: StreamContext,
        plan: SlotPlan,
        costs: SlotCosts,
        room: int,
        prefill: float = PREFILL,
        draft: OpenedDraft | None = None,
    ) -> None:
        """Takes the streams over, and what writes ahead, and closes them at its end. `room`: most
        tokens of a request and its answer; a stream has cells for some more. `prefill`: see
        `open_scheduler`."""
        self._backend = backend
        self.room = room
        self._streams = streams
        self._plan = plan
        self._prefill_seconds = prefill
        self._token = costs.token
        """Seconds that a token of a prompt takes."""
        self._chains = Chains(backend.vocabulary)
        self._ends = end_ids(backend.vocabulary)
        self._drawing = BatchSampler()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        """For its thread: whoever comes, goes, or has a mask."""
        self._open: dict[PlannedRequest, ActiveGeneration] = {}
        self._counts = 0, 0
        self._written_ahead = 0, 0
        self._lock = threading.Lock()
        """Held while it is settled for whom a call is, and whether it is given up."""
        self._current: Sequence[ActiveGeneration] = ()
        """Whom the call under way is for."""
        self._ended = False
        self._masks = MaskThread(backend.vocabulary)
        self._ahead: DraftLines | None = None
        if draft is not None:
            least, cells = streams.least_line, streams.cells
            self._ahead = DraftLines(draft, backend.vocabulary, self._masks, least, cells)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def vocabulary(self) -> Vocabulary:
        return self._backend.vocabulary

    @property
    def capabilities(self) -> Capabilities:
        return self._backend.capabilities

    @property
    def running(self) -> int:
        """Requests that had a slot after the last step."""
        return self._counts[0]

    @property
    def waiting(self) -> int:
        """Requests that had none yet."""
        return self._counts[1]

    @property
    def decodes(self) -> int:
        """Calls of `llama_decode` so far."""
        return self._streams.decodes

    @property
    def tokens(self) -> int:
        """Tokens evaluated so far."""
        return self._streams.tokens

    @property
    def written_ahead(self) -> tuple[int, int]:
        """Tokens that a draft proposed so far, and those of them that were then drawn."""
        return self._written_ahead

    async def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[GeneratedToken | GenerationEnd]:
        news = _QueuedNews()
        generation = self.prepare(request, news)
        self.begin(generation)
        try:
            while True:
                item = await news.next()
                if isinstance(item, LltermError):
                    raise item
                yield item
                if isinstance(item, GenerationEnd):
                    return
        finally:
            self.cancel(generation)

    def prepare(
        self, request: GenerationRequest, listener: GenerationListener, number: int = 0
    ) -> ActiveGeneration:
        """A request that can be begun: what comes of it will be told to its listener, who knows it
        by the number. Raises UsageError where it cannot be asked for."""
        room = self.room - len(request.prompt)
        self._check(request, room)
        most = min(request.most, room)
        planned = PlannedRequest(list(request.prompt), request.whose, most, further=request.further)
        return ActiveGeneration(request, planned, listener, most, number)

    def begin(self, generation: ActiveGeneration) -> None:
        """Have it drawn."""
        self._calls.put(partial(self._come, generation))

    def cancel(self, generation: ActiveGeneration) -> None:
        """Nobody listens any more. A call that is for nobody else either is given up."""
        with self._lock:
            generation.unwanted = True
            if self._current and all(each.unwanted for each in self._current):
                self._streams.stop.set()
        self._calls.put(partial(self._go, generation))

    async def close(self) -> None:
        """Stop what runs, and free the streams. Who is being drawn for is told so."""
        with self._lock:
            self._ended = True
            self._streams.stop.set()
        self._calls.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 0.05)

    def _check(self, request: GenerationRequest, room: int) -> None:
        """Raise UsageError where it cannot be asked for."""
        if not request.prompt:
            raise UsageError("There is no text to go on from", "", "Give a prompt.")
        size = self.vocabulary.size
        named = (*request.prompt, *request.watched, *(request.allowed or ()))
        wrong = next((id for id in named if not 0 <= id < size), None)
        if wrong is not None:
            raise UsageError(
                f"{wrong} is no token of {self.name}",
                f"Its {size:,} tokens are 0 to {size - 1:,}.",
                "Tokenize for this model.",
            )
        if room < 1:
            raise UsageError(
                "The prompt is too long",
                f"It has {len(request.prompt):,} tokens, and a slot of {self.name} has room for"
                f" {self.room:,}, with what is drawn.",
                "Shorten it, or start the server with a larger --slot-context.",
            )
        if self._ended:
            raise _closed()

    # What follows runs on the scheduler's thread.

    def _run(self) -> None:
        idle = True
        while self._hear(wait=idle):
            idle = not self._step()
            self._counts = len(self._plan.running), self._plan.waiting
        for generation in tuple(self._open.values()):
            self._tell([(generation, [_closed()])])
        self._masks.close()
        if self._ahead is not None:
            self._ahead.close()
        self._streams.close()

    def _hear(self, *, wait: bool) -> bool:
        """Take in who comes and goes; `wait`: until somebody does, if only for a look. Returns
        False at the end."""
        while True:
            busy = bool(self._open)
            try:
                call = self._calls.get(block=wait, timeout=_LOOK if busy else None)
            except Empty:
                return True
            if call is None:
                return False
            call()
            wait = False

    def _come(self, generation: ActiveGeneration) -> None:
        if generation.unwanted:
            return
        if not generation.request.most:
            self._tell([(generation, [GenerationEnd("length")])])
            return
        try:
            request = generation.request
            sampling = request.sampling
            if self._ahead is not None:
                # What is written ahead is drawn with the numbers that the text is drawn with.
                sampling = seeded(sampling)
            chain = self._chains.known(sampling, request.spoken)
            assert chain is not None  # Its vocabulary is whole.
            generation.begin(chain, self.vocabulary, self._ends)
            self._plan.join(generation.planned, time.monotonic())
        except LltermError as error:
            self._tell([(generation, [error])])
            return
        self._open[generation.planned] = generation
        if generation.request.constraint is not None:
            generation.planned.held_back = True
            walking = self._masks.begin(generation.request.constraint)
            self._once_read(generation, walking, partial(self._walk, generation))
        elif generation.request.residue:
            generation.planned.held_back = True
            healing = self._masks.call(partial(Healer, self.vocabulary))
            self._once_read(generation, healing, partial(self._heal, generation))

    def _heal(self, generation: ActiveGeneration, healer: Healer) -> None:
        generation.healer = healer
        generation.planned.held_back = False

    def _go(self, generation: ActiveGeneration) -> None:
        if self._open.pop(generation.planned, None) is not None:
            self._plan.leave(generation.planned)
            if self._ahead is not None:
                self._ahead.leave(generation)

    def _fail(self, generation: ActiveGeneration, error: LltermError) -> None:
        if generation.planned in self._open:
            self._go(generation)
            self._tell([(generation, [error])])

    def _walk(self, generation: ActiveGeneration, walk: ConstraintWalk) -> None:
        """Its constraint is ready: its first token may be looked at."""
        generation.walk = walk
        self._hold_back(generation, walk, ())

    def _hold_back(self, generation: ActiveGeneration, walk: ConstraintWalk, taken: Tail) -> None:
        """Until its mask is there, now that its text went on by these tokens; others go on."""
        generation.planned.held_back = True
        self._once_read(generation, self._masks.mask(walk, taken), partial(self._mask, generation))
        if generation.looks_ahead:
            assert generation.chain is not None
            forced = partial(
                generation.chain.forced, generation.here, walk.compiled, generation.drawn
            )
            self._once_read(generation, self._masks.call(forced), partial(self._force, generation))

    def _mask(self, generation: ActiveGeneration, mask: Mask) -> None:
        generation.mask = mask
        # Its thread does one after the other: what bans leave comes next.
        generation.planned.held_back = generation.looks_ahead

    def _force(self, generation: ActiveGeneration, forced: Sequence[tuple[str, Stage]]) -> None:
        generation.forced = forced
        generation.planned.held_back = False

    def _once_read(
        self, generation: ActiveGeneration, reading: Future[T], then: Callable[[T], None]
    ) -> None:
        """Go on with what the thread of masks reads; a request whose constraint fails has ended."""

        def take() -> None:
            if generation.planned not in self._open or reading.cancelled():
                return
            error = reading.exception()
            if error is None:
                then(reading.result())
            elif isinstance(error, LltermError):
                self._fail(generation, error)
            else:
                self._fail(generation, unforeseen("The constraint failed", error))

        reading.add_done_callback(lambda _: self._calls.put(take))

    def _step(self) -> bool:
        """Plan a step and make it. Returns False where there was nothing to do."""
        drawing = any(not request.lacking for request in self._plan.running)
        seconds = self._prefill_seconds
        if not drawing:
            seconds = max(seconds, PREFILL_ALONE)
        budget = max(int(seconds / max(self._token, 1e-6)), LEAST_PREFILL)
        step = self._plan.plan(time.monotonic(), budget)
        for move in step.moves:
            if isinstance(move, SlotCopy):
                self._streams.copy(move.source, move.target, move.keep)
            else:
                self._streams.trim(move.slot, move.keep)
        if step.rows:
            self._call(StepPlan(rows=step.rows), self._draw)
        if step.chunks:
            # Those whose part this is may have failed with the rows.
            chunks = [chunk for chunk in step.chunks if chunk.request.slot == chunk.slot]
            self._call(StepPlan(chunks=chunks), self._prefill)
        return bool(step.rows or step.chunks)

    def _call(self, step: StepPlan, work: Callable[[StepPlan], None]) -> None:
        """Make a part of a step; what comes to nothing leaves no trace."""
        current = [self._open[part.request] for part in step.parts]
        with self._lock:
            self._current = current
            if self._ended or all(each.unwanted for each in current):
                self._streams.stop.set()
            else:
                self._streams.stop.clear()
        try:
            work(step)
        except Stopped:
            for trim in self._plan.undone(step):
                self._streams.trim(trim.slot, trim.keep)
        except LltermError as error:
            self._start_anew(step, error)
        except Exception as fault:  # noqa: BLE001  (told where somebody waits)
            self._start_anew(step, unforeseen("The model failed", fault))
        finally:
            with self._lock:
                self._current = ()

    def _start_anew(self, step: StepPlan, error: LltermError) -> None:
        """A call failed: it is the end of those it was for. The others are evaluated again."""
        for part in step.parts:
            self._fail(self._open[part.request], error)
        self._plan.forget()
        self._streams.clear()

    def _draw(self, step: StepPlan) -> None:
        generations = [self._open[row.request] for row in step.rows]
        if self._ahead is None:
            runs = [TokenRun(row.slot, row.start, (row.token,)) for row in step.rows]
            logits = self._streams.logits(runs)
            lines = [EvaluatedLine(each) for each in generations]
        else:
            texts = self._ahead.proposed(step.rows, generations)
            runs = self._ahead.lines(step.rows, texts)
            logits = self._streams.lines(runs)
            lines = [EvaluatedLine(text.generation, text) for text in texts]
        length = len(runs[0].tokens)
        first = self._drawn(lines, logits[::length])
        self._plan.done(step, time.monotonic())
        news = dict(zip(generations, self._took(lines, first), strict=True))
        going = [(index, line) for index, line in enumerate(lines) if line.goes_on]
        while going:
            on = [line for _, line in going]
            for line in on:
                self._plan.went_ahead(line.generation.planned)
                line.generation.mask = line.mask
            rows = logits[[index * length + line.rows for index, line in going]]
            for line, items in zip(on, self._took(on, self._drawn(on, rows)), strict=True):
                news[line.generation] += items
            going = [(index, line) for index, line in going if line.goes_on]
        for line, run in zip(lines, runs, strict=True):
            self._settle(line, run)
        self._tell([*news.items()])

    def _drawn(
        self, lines: Sequence[EvaluatedLine], logits: NDArray[np.float32]
    ) -> Sequence[RowDraw | None]:
        """A token of each row."""
        best = best_of(logits, self.name)
        return self._drawing.draw(logits, best, [line.generation.row() for line in lines])

    def _took(
        self, lines: Sequence[EvaluatedLine], drawn: Sequence[RowDraw | None]
    ) -> list[list[News]]:
        """What comes of these draws, for each line."""
        news: list[list[News]] = []
        for line, draw in zip(lines, drawn, strict=True):
            items = line.took(draw, self.vocabulary)
            last = items[-1]
            if isinstance(last, GeneratedToken):
                self._plan.took(line.generation.planned, last.id)
            news.append([*items])
        return news

    def _settle(self, line: EvaluatedLine, run: TokenRun) -> None:
        """All that could be drawn of a line is drawn."""
        generation = line.generation
        proposed, accepted = self._written_ahead
        self._written_ahead = proposed + line.proposed, accepted + line.accepted
        if len(run.tokens) > line.rows:
            # Ahead of the text there is nothing in its slot.
            self._streams.trim(run.sequence, run.start + line.rows)
        if line.ended:
            self._go(generation)
        elif generation.walk is not None:
            taken = generation.drawn[-line.rows :]
            self._hold_back(generation, generation.walk, taken)

    def _prefill(self, step: StepPlan) -> None:
        runs = [TokenRun(chunk.slot, chunk.start, chunk.tokens) for chunk in step.chunks]
        begin = time.monotonic()
        self._streams.evaluate(runs)
        end = time.monotonic()
        self._plan.done(step, end)
        seconds = (end - begin) / sum(len(run.tokens) for run in runs)
        self._token += _LEARNT * (seconds - self._token)

    def _tell(self, news: Sequence[tuple[ActiveGeneration, Sequence[News]]]) -> None:
        """Hand these over, all that are one listener's at once."""
        by_listener: dict[GenerationListener, list[tuple[ActiveGeneration, Sequence[News]]]] = {}
        for one in news:
            by_listener.setdefault(one[0].listener, []).append(one)
        for listener, own in by_listener.items():
            listener.take(own)


class _QueuedNews:
    """What comes of one request, waited for on an event loop. Implements `GenerationListener`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[News] = asyncio.Queue()

    async def next(self) -> News:
        return await self._queue.get()

    def take(self, news: Sequence[tuple[ActiveGeneration, Sequence[News]]]) -> None:
        # A loop that has ended wants nothing any more.
        with suppress(RuntimeError):
            for _, items in news:
                self._loop.call_soon_threadsafe(self._put, items)

    def _put(self, items: Sequence[News]) -> None:
        for item in items:
            self._queue.put_nowait(item)


def _closed() -> LltermError:
    return Interrupted("The model was closed", "Nothing more is drawn.", "Start it again.")


def usual_keepers(parallel: int) -> int:
    """Slots that keep what many prompts begin with, beside so many that are drawn."""
    keepers = max(parallel // 8, 2) if parallel + 2 <= MOST_SLOTS else 0
    return min(keepers, MOST_SLOTS - parallel)


async def open_scheduler(
    backend: LlamaBackend,
    *,
    parallel: int = 16,
    keepers: int | None = None,
    context: int | None = None,
    memory: int | None = None,
    cells: int | None = None,
    queue: int = 1024,
    prefill: float = PREFILL,
    draft: DraftChoice | None = None,
) -> Scheduler:
    """Slots on a loaded model, which is to be closed after them.

    `parallel` requests are drawn at once; `keepers` further slots keep what many prompts begin
    with; None: one for eight. `context`: most tokens of a slot; None: as many as fit into `memory`
    bytes, which is a quarter of the machine's where it is None, or into so many `cells` in all.
    `queue`: requests that may wait. `prefill`: seconds that those that are drawn may wait for
    parts of prompts. `draft`: what writes ahead.
    Raises UsageError where slots do not fit together, or the draft not with the model, ModelError
    where that cannot be opened, LltermError where memory is too small.
    """
    if keepers is None:
        keepers = usual_keepers(parallel)
    slots = parallel + keepers
    weights = backend.capabilities.weights
    assert weights is not None
    info = await asyncio.to_thread(inspect_gguf, weights, brief=True)
    states = backend.capabilities.batch
    if not backend.capabilities.shares and slots > states:
        raise UsageError(
            f"{backend.name} cannot have {slots:,} slots",
            f"Its layers hold a state for each, and {states:,} of them are all that fit.",
            f"Set --parallel to {max(states - keepers, 1):,} at the most.",
        )
    cell, sees = cell_bytes(info, backend.settings), backend.settings.context or info.context
    each = slot_room(cell, slots, sees, context=context, memory=memory, cells=cells)
    free = 0 if backend.on_gpu else available()
    if free and cell * slots * each > free:
        raise LltermError(
            f"There is not enough memory for {slots:,} slots",
            f"With {each:,} tokens each they take {cell * slots * each / 1e9:,.1f} GB;"
            f" {free / 1e9:,.1f} GB can be had.",
            "Set a smaller --parallel, --slot-context or --cache-memory.",
        )
    streams = await backend.open_streams(slots, each)
    opened: OpenedDraft | None = None
    try:
        costs = await asyncio.to_thread(_measured, streams)
        if draft is not None:
            room = streams.cells
            opened = await open_draft(draft, backend, slots=parallel, cells=room, stop=streams.stop)
    except BaseException:
        streams.close()
        raise
    plan = SlotPlan(parallel, keepers, costs, queue=queue, chunk=streams.chunk, whole=streams.whole)
    return Scheduler(backend, streams, plan, costs, min(each, streams.cells), prefill, opened)


def _measured(streams: StreamContext) -> SlotCosts:
    costs = streams.measure()
    return SlotCosts(costs.copy, costs.token, costs.row)
