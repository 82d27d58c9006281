"""A second context on the same weights, with a stream of cells for each slot: many texts that have
little in common, a decode for all of them.

In one pool of cells every row would look at everybody's. Whole slots are copied; a part of one
would end the process. Figures of a row are the same in any company: a prompt is evaluated in parts
of two tokens at least and a newest token always as one, for these go through different kernels.
Where texts are written ahead, a newest token is never alone in its slot: it has a proposal beside
it, or a token of no account. For one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import Batch, StopFlag, Stopped, decode_error, library
from llterm.backends.llamacpp.loader import LoadedModel, context_params
from llterm.backends.llamacpp.side_context import TokenRun
from llterm.backends.llamacpp.slot_sizes import CELL_BLOCK
from llterm.errors import LltermError

_Wanted = Literal["none", "last", "every"]
"""Which logits of a decode are read: `last` is of runs of one token each."""
_TRIED = 64
"""Tokens of the prompt that is evaluated to measure what one costs."""
_TRIED_ALONE = (5, 70, 700)
"""Tokens that are evaluated alone and beside a double."""
_ROUNDS = 3
"""Measurements of a kind; the shortest counts."""
_LONG = 1.0
"""Seconds of a round after which there is no further one."""


@dataclass(frozen=True, slots=True)
class StreamCosts:
    """What things take on this machine, in seconds."""

    copy: float
    """A slot to another one."""
    token: float
    """A token in a long prompt."""
    row: float
    """A decode of one row."""


class StreamContext:
    """Slots numbered from 0, each with the cells of one token path."""

    def __init__(
        self, loaded: LoadedModel, slots: int, cells: int, stop: StopFlag | None = None
    ) -> None:
        """`cells`: most tokens of a slot; `stop`: what stops its decodes; None: a flag of its own.
        Raises LltermError where memory is too small."""
        self._llama = library()
        self._loaded = loaded
        self.slots = slots
        params = context_params(self._llama, loaded.settings, 0, slots + 1)
        params.kv_unified = False
        # llama.cpp ends the program where a decode has less room than one row for each sequence.
        rows = max(params.n_ubatch, slots + 1)
        params.n_batch = params.n_ubatch = rows
        cells = -(-cells // CELL_BLOCK) * CELL_BLOCK
        params.n_ctx = cells * (slots + 1)
        self.stop = StopFlag() if stop is None else stop
        self.stop.attach(params)
        self._context = self._llama.llama_init_from_model(loaded.model, params)
        if not self._context:
            raise LltermError(
                "There is not enough memory",
                f"{slots:,} slots of {cells:,} tokens each could not be made.",
                "Set a smaller --parallel, --slot-context or --cache-memory.",
            )
        self._memory = self._llama.llama_get_memory(self._context)
        self._batch = Batch(self._llama, rows)
        self._size = self._llama.llama_vocab_n_tokens(
            self._llama.llama_model_get_vocab(loaded.model)
        )
        self.cells = int(self._llama.llama_n_ctx_seq(self._context))
        """Tokens that a slot has room for."""
        self._filled = [0] * (slots + 1)
        self.doubled = loaded.pairs
        """A row that would be evaluated alone has a double, for one row goes through other kernels
        than two, and comes out otherwise. `measure` finds out whether it does with this file."""
        self.decodes = 0
        """Calls of `llama_decode`."""
        self.tokens = 0
        """Tokens evaluated, doubles of lone rows not counted."""

    @property
    def chunk(self) -> int:
        """Most tokens of a part of a prompt."""
        return self._batch.size

    @property
    def whole(self) -> bool:
        """A slot's state can be copied or emptied, not cut short."""
        return self._loaded.whole

    @property
    def least_line(self) -> int:
        """Tokens of a run in `lines` at least, for its figures to be the same in any company."""
        return 2 if self._loaded.settings.switches.exact else 1

    def close(self) -> None:
        self._batch.free()
        self._llama.llama_free(self._context)

    def copy(self, source: int, target: int, keep: int) -> None:
        """Put what a slot holds into another one, of which the first `keep` tokens stay."""
        self._llama.llama_memory_seq_rm(self._memory, target, -1, -1)
        self._llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._filled[target] = self._filled[source]
        if keep < self._filled[target]:
            self.trim(target, keep)

    def trim(self, slot: int, keep: int) -> None:
        """Let a slot keep its first `keep` tokens, also where a decode was given up."""
        start = keep if keep else -1
        self._llama.llama_memory_seq_rm(self._memory, slot, start, -1)
        self._filled[slot] = keep

    def clear(self) -> None:
        """Empty every slot."""
        self._llama.llama_memory_clear(self._memory, True)
        self._filled = [0] * len(self._filled)

    def logits(self, rows: Sequence[TokenRun]) -> NDArray[np.float32]:
        """Evaluate rows of one token each, ascending by slot, in one decode. Returns the logits
        after each, shape (rows, ids): a view, which the next call of anything here may change.

        Raises Stopped, and LltermError; what was evaluated then is for `trim` to remove.
        """
        order = self._decode(rows, wanted="last")
        logits = self._read(len(order))
        asked = {run.sequence for run in rows}
        wanted = [place for place, slot in enumerate(order) if slot in asked]
        return logits if len(wanted) == len(order) else logits[wanted]

    def lines(self, runs: Sequence[TokenRun]) -> NDArray[np.float32]:
        """Evaluate runs of tokens, ascending by slot, in one decode. Returns the logits after each
        token, run by run, shape (tokens, ids): a view as that of `logits`.

        Equally long ones of two tokens at least have the same figures in any company; llama.cpp
        cuts longer ones where shorter ones end. Raises as `logits`.
        """
        self._decode(runs, wanted="every")
        return self._read(sum(len(run.tokens) for run in runs))

    def _read(self, rows: int) -> NDArray[np.float32]:
        raw = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(raw, (rows, self._size))

    def evaluate(self, chunks: Sequence[TokenRun]) -> None:
        """Evaluate parts of prompts, ascending by slot, in as many decodes as it takes.

        Raises as `logits`.
        """
        for graph in _graphs(chunks, self._batch.size):
            self._decode(graph, wanted="none")

    def measure(self) -> StreamCosts:
        """What copies, tokens and rows take here, and whether rows alone need a double. Every slot
        is empty afterwards."""
        self.doubled = self.doubled and not self._alike_alone()
        run = TokenRun(0, 0, tuple(n % self._size for n in range(min(_TRIED, self.cells // 4))))
        prompts: list[float] = []
        rows: list[float] = []
        copies: list[float] = []
        for _ in range(_ROUNDS):
            self.clear()
            prompts.append(self._timed([run], wanted="none"))
            row = [TokenRun(0, len(run.tokens), run.tokens[:1])]
            rows.append(self._timed(row, wanted="last"))
            if self.slots > 1:
                # A copy is made at the beginning of the next decode.
                self.copy(0, 1, self._filled[0])
                row = [TokenRun(0, len(run.tokens) + 1, run.tokens[:1])]
                copies.append(self._timed(row, wanted="last"))
            if prompts[-1] > _LONG:
                break
        self.clear()
        alone = min(rows)
        copy = max(min(copies, default=alone) - alone, 0.0)
        return StreamCosts(copy, min(prompts) / len(run.tokens), alone)

    def _alike_alone(self) -> bool:
        """Whether a row alone and one beside its double are the same to the last bit. Which kernels
        evaluate a row is decided by shapes, so that a few rows tell it of all."""
        length = min(_TRIED, self.cells // 4)
        self.clear()
        self.evaluate([TokenRun(0, 0, tuple(n % self._size for n in range(length)))])

        def row(token: int, *, doubled: bool) -> NDArray[np.float32]:
            self.doubled = doubled
            logits = self.logits([TokenRun(0, length, (token,))]).copy()
            self.trim(0, length)
            return logits

        alike = [
            np.array_equal(row(token, doubled=True), row(token, doubled=False))
            for token in (n % self._size for n in _TRIED_ALONE)
        ]
        self.doubled = True
        return all(alike)

    def _timed(self, runs: Sequence[TokenRun], *, wanted: _Wanted) -> float:
        begin = time.perf_counter()
        self._decode(runs, wanted=wanted)
        return time.perf_counter() - begin

    def _decode(self, runs: Sequence[TokenRun], *, wanted: _Wanted) -> Sequence[int]:
        """Evaluate these in one call. Returns the slots in the order of the call."""
        if self.stop:
            raise Stopped
        batch = self._batch
        doubles = self._doubles(runs)
        parts = [*runs, *doubles]
        if doubles:
            parts.sort(key=lambda part: part.sequence)
        order = [part.sequence for part in parts]
        if wanted == "last":
            # A double's too: the last layer evaluates only what logits are wanted of.
            tokens = [part.tokens[0] for part in parts]
            batch.set_each(tokens, [part.start for part in parts], order)
        else:
            batch.clear()
            for part in parts:
                batch.add(
                    part.tokens, part.start, part.sequence, last=False, every=wanted == "every"
                )
        batch.raw.n_tokens = batch.count
        with thread_budget.reserved(self._loaded.threads):
            code = int(self._llama.llama_decode(self._context, batch.raw))
        self.decodes += 1
        for double in doubles:
            self.trim(double.sequence, double.start)
        if code == 2:
            raise Stopped
        if code:
            raise decode_error(code)
        for run in runs:
            self._filled[run.sequence] = run.start + len(run.tokens)
            self.tokens += len(run.tokens)
        return order

    def _doubles(self, runs: Sequence[TokenRun]) -> Sequence[TokenRun]:
        """Beside each token that would be evaluated alone one more, in a slot next to its own: it
        stands after what that one holds, and is removed at once."""
        if not self.doubled or any(len(run.tokens) > 1 for run in runs):
            return ()
        taken = {run.sequence for run in runs}
        doubles: list[TokenRun] = []
        for run in runs:
            if not taken & {run.sequence - 1, run.sequence + 1}:
                slot = next(filter(self._spare, (run.sequence + 1, run.sequence - 1)), None)
                if slot is not None:
                    taken.add(slot)
                    doubles.append(TokenRun(slot, self._filled[slot], run.tokens))
        return doubles

    def _spare(self, slot: int) -> bool:
        """Whether a slot has room for a token more, which can be removed again."""
        most = 1 if self._loaded.whole else self.cells
        return 0 <= slot <= self.slots and self._filled[slot] < most


def _graphs(chunks: Sequence[TokenRun], room: int) -> Iterator[Sequence[TokenRun]]:
    """Chunks that are one graph each: of neighbours, equally long, so that none is cut in two."""
    graph: list[TokenRun] = []
    for chunk in chunks:
        if graph and not (
            chunk.sequence == graph[-1].sequence + 1
            and len(chunk.tokens) == len(graph[-1].tokens)
            and len(chunk.tokens) * (len(graph) + 1) <= room
        ):
            yield graph
            graph = []
        graph.append(chunk)
    if graph:
        yield graph
