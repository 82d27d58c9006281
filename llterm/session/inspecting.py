"""All candidates at one place of the story, before and after the sampler chain."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from llterm.core.display import visible
from llterm.core.distribution import Distribution
from llterm.core.sampling import PRESETS, Breakers, NothingLeft, Rung, SamplerSettings, apply
from llterm.core.tokens import Tail, Token, Vocabulary
from llterm.errors import UsageError

_NUMBERS = {one.name: one.type for one in fields(SamplerSettings) if one.type in ("float", "int")}


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate."""

    rank: int
    token: Token
    logprob: float
    p_final: float
    dropped_by: str | None
    """The stage that removed it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Some of the candidates, and the mass of the others."""

    rows: Sequence[Row]
    other: int
    """How many are not listed."""
    other_base: float
    other_final: float
    kept: int
    """Candidates that the chain leaves, of all of them."""


class Inspection:
    """A distribution over the whole vocabulary, read again under any chain with no inference."""

    def __init__(self, vocabulary: Vocabulary, context: Tail, found: Distribution) -> None:
        self._vocabulary = vocabulary
        self._context = context
        self._ids: NDArray[np.int32] = found.ids
        self._logprobs = found.logprobs.astype(np.float64)
        self._final = np.exp(self._logprobs)
        self._dropped: Sequence[str | None] = [None] * len(self._ids)
        self._labels: list[str] | None = None
        self._rungs: Sequence[Rung] = ()

    def climb(self, rank: int) -> list[tuple[str, float]]:
        """The candidate's probability in the model, and after each stage that runs."""
        stages = [(rung.stage, float(rung.p[rank - 1])) for rung in self._rungs]
        return [("model", math.exp(float(self._logprobs[rank - 1]))), *stages]

    def under(self, settings: SamplerSettings) -> None:
        """Read it under another chain. Raises UsageError where that leaves nothing."""
        breakers: Breakers | None = None
        if settings.dry_multiplier:
            from llterm.core.sampling import breaker_tokens

            breakers = breaker_tokens(self._vocabulary, settings.dry_sequence_breakers)
        try:
            ladder = apply(
                settings, self._logprobs, self._context, ids=self._ids, breakers=breakers
            )
        except NothingLeft as error:
            raise UsageError("The chain leaves nothing", str(error), "Loosen a stage.") from error
        self._final, self._dropped = ladder.p_final, list(ladder.dropped_by)
        self._rungs = ladder.rungs

    def table(self, wanted: str, most: int) -> Table:
        """The `most` first candidates whose text holds `wanted`, or matches it between slashes.

        Raises UsageError where that is no regular expression.
        """
        chosen = self._matching(wanted)
        listed = chosen[:most]
        token = self._vocabulary.token
        rows = [
            Row(
                rank=index + 1,
                token=token(int(self._ids[index])),
                logprob=float(self._logprobs[index]),
                p_final=float(self._final[index]),
                dropped_by=self._dropped[index],
            )
            for index in listed
        ]
        shown = np.array(listed, dtype=np.int64)
        return Table(
            rows=rows,
            other=len(self._ids) - len(rows),
            other_base=max(1.0 - float(np.exp(self._logprobs[shown]).sum()), 0.0),
            other_final=max(1.0 - float(self._final[shown].sum()), 0.0),
            kept=int((self._final > 0).sum()),
        )

    def told(self, text: str) -> str:
        """Rank and probability of a text that somebody typed: of its first token."""
        ids = self._vocabulary.encode(text.encode("utf-8", "surrogateescape"))
        if not ids:
            return ""
        (place,) = np.flatnonzero(self._ids == ids[0])[:1] if ids[0] in self._ids else (-1,)
        if place < 0:
            return ""
        label = visible(self._vocabulary.token(ids[0]).data)
        p = math.exp(float(self._logprobs[place]))
        first = "" if len(ids) == 1 else f" (the first of its {len(ids)} tokens)"
        figure = f"{p:.2%}" if p >= 1e-4 else f"2^{math.log2(max(p, 1e-300)):.0f}"
        return f"{label}{first}: rank {int(place) + 1:,}, {figure}"

    def _matching(self, wanted: str) -> list[int]:
        count = len(self._ids)
        if not wanted:
            return list(range(count))
        if self._labels is None:
            token = self._vocabulary.token
            self._labels = [token(id).data.decode("utf-8", "replace") for id in self._ids.tolist()]
        if len(wanted) > 2 and wanted[0] == wanted[-1] == "/":
            try:
                pattern = re.compile(wanted[1:-1])
            except re.error as error:
                raise UsageError("No regular expression", str(error), "Between slashes.") from error
            return [n for n, label in enumerate(self._labels) if pattern.search(label)]
        return [n for n, label in enumerate(self._labels) if wanted in label]


def parse_chain(text: str) -> SamplerSettings:
    """A chain as it is typed: a preset's name, then `name=value`, such as `balanced top_k=40`.

    `order=penalties,top_k,temperature` gives the stages and their order. Raises UsageError naming
    the word that is wrong.
    """
    settings = SamplerSettings()
    for word in text.split():
        name, equals, value = word.partition("=")
        try:
            if not equals:
                settings = PRESETS[name]
            elif name == "order":
                settings = replace(settings, order=tuple(value.split(",")))
            else:
                kind = _NUMBERS[name]
                changed = {name: int(value) if kind == "int" else float(value)}
                settings = replace(settings, **changed)  # type: ignore[arg-type]
        except KeyError:
            known = ", ".join([*PRESETS, *_NUMBERS] if not equals else _NUMBERS)
            raise UsageError(f"There is no {name}", f"Known: {known}.", "") from None
        except ValueError as error:
            raise UsageError(f"{word} cannot be", str(error), "") from None
    return settings
