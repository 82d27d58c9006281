"""A small model that writes ahead: each token as it would draw it itself, with the number that the
large one will draw with.

Its figures decide nothing, so that it is evaluated as is cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.logits import best_of
from llterm.backends.llamacpp.side_context import TokenRun
from llterm.backends.llamacpp.stream_context import StreamContext
from llterm.core.logit_rows import Floats
from llterm.core.sampling.batch_sampler import BatchSampler
from llterm.core.tokens import Tail, common
from llterm.engine.active_generation import ActiveGeneration
from llterm.engine.proposed_text import ProposedText

_PREFILL = 0.05
"""Seconds that parts of prompts may take in a step."""
_LEAST_PREFILL = 64
"""Tokens of prompts a step, however slow it is."""
_SHORT = 16
"""Tokens that go along with the newest one."""


@dataclass(slots=True)
class _DraftSlot:
    held: list[int] = field(default_factory=list)
    """The tokens whose cells it has."""
    same: int = 0
    """How many of them are known to be its generation's."""
    generation: ActiveGeneration | None = None
    whose: str = ""
    used: int = 0


class DraftModel:
    """Streams of a small model. Implements `Proposer`."""

    def __init__(
        self, backend: LlamaBackend, streams: StreamContext, size: int, token_seconds: float
    ) -> None:
        """Takes backend and streams over. `size`: the large model's ids; `token_seconds`: what a
        token of a prompt takes here."""
        self.name = backend.name
        self._backend = backend
        self._streams = streams
        streams.doubled = False
        self._size = size
        self._last = backend.vocabulary.size - 1
        self._budget = max(int(_PREFILL / max(token_seconds, 1e-6)), _LEAST_PREFILL)
        self._drawing = BatchSampler()
        self._slots = [_DraftSlot() for _ in range(streams.slots)]
        self._step = 0

    def propose(self, texts: Sequence[ProposedText]) -> None:
        self._step += 1
        ready: list[tuple[int, ProposedText]] = []
        budget = self._budget
        for text in texts:
            number = self._slot_of(text.generation) if text.is_open else None
            if number is None or not self._has_room(text):
                continue
            budget -= self._catch_up(number, text.generation, budget)
            slot = self._slots[number]
            if len(text.generation.context) - 1 - len(slot.held) <= _SHORT:
                ready.append((number, text))
        ready.sort(key=lambda each: each[0])
        runs = [
            self._run(number, text.generation.context[len(self._slots[number].held) :])
            for number, text in ready
        ]
        while runs:
            logits = self._evaluated(runs)
            for run in runs:
                self._slots[run.sequence].held += run.tokens
            rows = [text.row() for _, text in ready]
            drawn = self._drawing.draw(logits, best_of(logits, self.name), rows)
            further: list[tuple[int, ProposedText]] = []
            runs = []
            for (number, text), draw in zip(ready, drawn, strict=True):
                if draw is None:
                    continue
                text.add(draw.id, draw.mirostat)
                if text.is_open:
                    further.append((number, text))
                    runs.append(self._run(number, (draw.id,)))
            ready = further

    def leave(self, generation: ActiveGeneration) -> None:
        for slot in self._slots:
            if slot.generation is generation:
                slot.generation = None

    def close(self) -> None:
        self._streams.close()
        self._backend.end()

    def _has_room(self, text: ProposedText) -> bool:
        return len(text.generation.context) + text.most <= self._streams.cells

    def _slot_of(self, generation: ActiveGeneration) -> int | None:
        """Its slot, or a free one: the one that has most of its beginning, else the longest unused.
        None where others have all."""
        best: tuple[int, int, int] | None = None
        whose = generation.request.whose
        for number, slot in enumerate(self._slots):
            if slot.generation is generation:
                return self._taken(number, generation)
            if slot.generation is None:
                same = common(tuple(slot.held), generation.context) if slot.whose == whose else 0
                best = max(best or (-1, 0, 0), (same, -slot.used, number))
        return None if best is None else self._taken(best[2], generation)

    def _taken(self, number: int, generation: ActiveGeneration) -> int:
        slot = self._slots[number]
        if slot.generation is not generation:
            slot.same = 0
            if slot.whose != generation.request.whose:
                self._keep(number, 0)
        slot.generation, slot.whose, slot.used = generation, generation.request.whose, self._step
        return number

    def _catch_up(self, number: int, generation: ActiveGeneration, budget: int) -> int:
        """Let a slot hold its text's own tokens but for the last few, as far as may be now. Returns
        how many were evaluated."""
        slot, context = self._slots[number], generation.context
        same = slot.same
        while same < min(len(slot.held), len(context) - 1) and slot.held[same] == context[same]:
            same += 1
        slot.same = same
        self._keep(number, same)
        lacking = len(context) - 1 - same
        if lacking <= _SHORT:
            return 0
        part = context[same : same + min(lacking, max(budget, 0), self._streams.chunk)]
        if part:
            self._streams.evaluate([self._run(number, part)])
            slot.held += part
        return len(part)

    def _run(self, number: int, tokens: Tail) -> TokenRun:
        """These after what a slot holds; of ids that only the large model has, any other."""
        known = tuple(min(id, self._last) for id in tokens)
        return TokenRun(number, len(self._slots[number].held), known)

    def _keep(self, number: int, count: int) -> None:
        """Keep a slot's first tokens, also where a decode that was given up left some."""
        del self._slots[number].held[count:]
        self._streams.trim(number, count)

    def _evaluated(self, runs: Sequence[TokenRun]) -> Floats:
        """The logits after each run, over the large model's ids."""
        if all(len(run.tokens) == 1 for run in runs):
            logits = self._streams.logits(runs)
        else:
            ends = np.cumsum([len(run.tokens) for run in runs]) - 1
            logits = self._streams.lines(runs)[ends]
        lacking = self._size - logits.shape[1]
        if lacking > 0:
            return np.pad(logits, ((0, 0), (0, lacking)), constant_values=-np.inf)
        return logits[:, : self._size]
