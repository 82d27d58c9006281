"""Evaluates tokens into the cells of one context. Runs on the owner thread only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import Batch, Stopped, decode_error, library
from llterm.backends.llamacpp.cache_images import CacheContents, ContextRun
from llterm.backends.llamacpp.kv_cache import CopyCells, DecodeRow, KVCache, RemoveCells
from llterm.backends.llamacpp.loader import LoadedModel
from llterm.backends.llamacpp.logit_buffers import LogitBuffers
from llterm.core.query import Cost
from llterm.core.tokens import Tail
from llterm.errors import LltermError


class ContextDecoder:
    """One context: its batch, what its cells stand for, and what it has spent.

    Where the cells are full it makes room: a text beside the story goes first, then the paths that
    were used least recently.
    """

    def __init__(self, loaded: LoadedModel, size: int) -> None:
        """`size`: how many ids there are."""
        self._llama = library()
        self._loaded = loaded
        self._size = size
        self._memory = self._llama.llama_get_memory(loaded.context)
        self.contents = CacheContents(
            KVCache(
                loaded.sequences, whole=loaded.whole, parked=loaded.parked, ordered=loaded.ordered
            )
        )
        self._batch = Batch(self._llama, int(self._llama.llama_n_batch(loaded.context)))
        self.spent = Cost()
        self._buffers = LogitBuffers()
        self._doubles = 0
        """Tokens evaluated beside a lone row, not booked yet."""
        self.beside = loaded.sequences + 1
        """The sequence beside the story."""

    def free(self) -> None:
        self._batch.free()
        self._llama.llama_free(self._loaded.context)
        self._llama.llama_model_free(self._loaded.model)

    @property
    def room(self) -> int:
        """Most tokens a decode."""
        return self._batch.size

    @property
    def cache(self) -> KVCache:
        """What is held of the story, and of paths after it."""
        return self.contents.cache

    def rows(self, rows: Sequence[DecodeRow], tails: Sequence[Tail]) -> int:
        """Evaluate as many rows as fit into the cache, one at least. Returns their number.

        `tails` are those that the rows' queries ask for; what was evaluated is held.
        """
        count = len(rows)
        busy = {row.sequence for row in rows}
        while True:
            self._batch.clear()
            for row in rows[:count]:
                self._batch.add(row.tokens, row.start, row.sequence, last=True)
            code = self._decode()
            if code == 0:
                for row in rows[:count]:
                    self.cache.evaluated(row, tails[row.query])
                return count
            if code == 1:
                if self.drop_beside(None):
                    continue
                moves = self.cache.forget(0.5, busy)
                self.make(moves)
                if moves:
                    continue
                if count > 1:
                    count //= 2
                    continue
            for row in rows:
                self.make([self.cache.undone(row)])
            self._fail(code)

    def part(self, part: Tail, start: int, sequence: int, *, every: bool) -> NDArray[np.float32]:
        """Evaluate a run of tokens in one sequence; with `every`, the logits after each."""
        while True:
            self._batch.clear()
            self._batch.add(part, start, sequence, last=False, every=every)
            code = self._decode()
            if code == 0:
                break
            if code == 1 and sequence != self.beside and self.drop_beside(None):
                continue
            moves = self.cache.forget(0.5, set()) if code == 1 else []
            self.make(moves)
            if not moves:
                if self._loaded.whole:
                    # Nobody knows how far the state has come.
                    self.make(self.cache.cut_trunk(0))
                else:
                    self.make([RemoveCells(sequence, start)])
                self._fail(code)
        self.spent += Cost(len(part), len(part))
        self.book_call()
        return self.logits(len(part) if every else 0)

    def _decode(self) -> int:
        if self._loaded.stop:
            return 2
        self._batch.raw.n_tokens = self._batch.count
        alone = self._batch.count == 1 and self._loaded.pairs
        if alone:
            self._batch.add_double(self._loaded.sequences)
            self._batch.raw.n_tokens = 2
            self._doubles += 1
        with thread_budget.reserved(self._loaded.threads):
            code = int(self._llama.llama_decode(self._loaded.context, self._batch.raw))
        if alone:
            self.make([RemoveCells(self._loaded.sequences, 0)])
        return code

    def logits(self, rows: int) -> NDArray[np.float32]:
        """Those of the last decode, a copy: the next one may begin while these are read."""
        raw = self._llama.llama_get_logits(self._loaded.context)
        return self._buffers.copy(np.ctypeslib.as_array(raw, (rows, self._size)))

    def book_call(self) -> Cost:
        """Book a decode on what was spent."""
        cost = Cost(self._doubles, 0, 1)
        self._doubles = 0
        self.spent += cost
        return cost

    def clear(self, *, data: bool) -> None:
        """Empty all cells; with `data` zero their memory too.

        An empty cell is masked, whatever stands in it. After a fault that may be no number; and a
        state has no mask. Zeroing a whole cache for each window of a text took a thirtieth of its
        time.
        """
        self._llama.llama_memory_clear(self._memory, data)
        self.cache.clear()
        self.contents.beside = None

    def make(self, moves: Sequence[CopyCells | RemoveCells]) -> None:
        """Carry these out."""
        llama, memory = self._llama, self._memory
        for move in moves:
            if isinstance(move, CopyCells):
                llama.llama_memory_seq_cp(memory, move.source, move.target, move.start, move.stop)
            else:
                llama.llama_memory_seq_rm(memory, move.sequence, move.start, -1)

    def drop_beside(self, run: ContextRun | None) -> bool:
        """Empty the sequence beside the trunk where it is this run's, or whoever's it is. Returns
        whether it was."""
        whose = self.contents.beside
        if whose is None or run not in (None, whose):
            return False
        self.contents.beside = None
        self.make([RemoveCells(self.beside, 0)])
        return True

    def _fail(self, code: int) -> None:
        if code == 2:
            raise Stopped
        if code == 1:
            raise LltermError(
                "The model's cache is full",
                "The story and the suggestions need more cells than the context has.",
                "Choose fewer beams or less depth, or set a larger --context.",
            )
        self.clear(data=True)
        raise decode_error(code)
