"""All candidates at one place, before and after constraint and sampler chain."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.config.sampling_values import changed
from llterm.config.schema import SAMPLING
from llterm.core.constraint import Constrained
from llterm.core.display import visible
from llterm.core.distribution import Distribution, Mask
from llterm.core.sampling.ladder import NoCandidateLeft, Rung
from llterm.core.sampling.sampler_chain import Chain, Chains, Situation, barring
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Tail, Token, Vocabulary
from llterm.errors import UsageError
from llterm.number_format import of_logprob
from llterm.session.session import Session
from llterm.session.spots import Spot


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate."""

    rank: int
    token: Token
    logprob: float
    p_final: float
    dropped_by: str | None
    """The stage that removed it; None where it is kept."""
    valid: bool | None
    """Whether the constraint allows it; None without a constraint."""


@dataclass(frozen=True, slots=True)
class Table:
    """Some of the candidates, and the mass of the others."""

    rows: Sequence[Row]
    other: int
    """How many are not listed."""
    other_base: float
    other_final: float
    other_valid: int | None
    """How many of the others the constraint allows; None without a constraint."""
    kept: int
    """Candidates that the chain leaves, of all of them."""


class Inspection:
    """A distribution over the whole vocabulary, read again under any chain with no inference."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        at: Situation,
        found: Distribution,
        constraint: Constrained | None = None,
        written: Tail = (),
        healing: Mask | None = None,
    ) -> None:
        """`written`: the tokens since the constraint began; `healing`: which ones may finish what
        is half written."""
        self._vocabulary = vocabulary
        self._at = at
        self._found = found
        self._constraint, self._written, self._healing = constraint, written, healing
        self._mask = constraint.mask(written) if constraint is not None else None
        self._chains = Chains(vocabulary)
        self.caveat = ""
        """What is not exact about the chain's figures; empty when all is."""
        self._ids: NDArray[np.int32] = found.ids
        self._logprobs = found.logprobs.astype(np.float64)
        self._final = np.exp(self._logprobs)
        self._valid = None if self._mask is None else self._mask.allowed[self._ids]
        self._dropped: Sequence[str | None] = [None] * len(self._ids)
        self._labels: list[str] | None = None
        self._rungs: Sequence[Rung] = ()

    @property
    def taken(self) -> float | None:
        """Mass of the candidates that the constraint forbids; None without a constraint."""
        if self._valid is None:
            return None
        return min(float(np.exp(self._logprobs[~self._valid]).sum()), 1.0)

    def climb(self, rank: int) -> list[tuple[str, float]]:
        """The candidate's probability in the model, and after each stage up to what drops it."""
        way = [("model", math.exp(float(self._logprobs[rank - 1])))]
        for rung in self._rungs:
            way.append((rung.stage, float(rung.p[rank - 1])))
            if rung.stage == self._dropped[rank - 1]:
                break
        return way

    def under(self, sampling: Sampling) -> None:
        """Read it as it would be drawn so. Raises UsageError where that leaves nothing."""
        chain = self._chains.of(sampling)
        try:
            ladder = chain.ladder(
                self._found,
                self._at,
                mask=None if self._mask is None else self._mask.allowed,
                first=self._first(chain),
            )
        except NoCandidateLeft as error:
            raise UsageError("The chain leaves nothing", str(error), "Loosen a stage.") from error
        self._final, self._dropped = ladder.p_final, list(ladder.dropped_by)
        self._rungs = ladder.rungs
        self.caveat = chain.caveat(self._found)

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
                valid=None if self._valid is None else bool(self._valid[index]),
            )
            for index in listed
        ]
        shown, valid = np.array(listed, dtype=np.int64), self._valid
        return Table(
            rows=rows,
            other=len(self._ids) - len(rows),
            other_base=max(1.0 - float(np.exp(self._logprobs[shown]).sum()), 0.0),
            other_final=max(1.0 - float(self._final[shown].sum()), 0.0),
            other_valid=None if valid is None else int(valid.sum() - valid[shown].sum()),
            kept=int((self._final > 0).sum()),
        )

    def now(self, id: int) -> tuple[float, float] | None:
        """A candidate's logprob, and what the chain leaves of it; None where it is not listed."""
        places = np.flatnonzero(self._ids == id)
        if not len(places):
            return None
        return float(self._logprobs[places[0]]), float(self._final[places[0]])

    def told(self, text: str) -> str:
        """Rank and probability of a text that somebody typed: of its first token."""
        ids = self._vocabulary.encode(text.encode("utf-8", "surrogateescape"))
        if not ids:
            return ""
        (place,) = np.flatnonzero(self._ids == ids[0])[:1] if ids[0] in self._ids else (-1,)
        if place < 0:
            return ""
        label = visible(self._vocabulary.token(ids[0]).data)
        figure = of_logprob(float(self._logprobs[place]))
        first = "" if len(ids) == 1 else f" (the first of its {len(ids)} tokens)"
        return f"{label}{first}: rank {int(place) + 1:,}, {figure}"

    def _first(self, chain: Chain) -> list[tuple[str, Stage]]:
        """The stages before the chain's own, as they are when a token is drawn here."""
        if self._constraint is not None:
            return chain.forced(self._at, self._constraint, self._written)
        if self._healing is not None:
            return [("healing", barring(~self._healing.allowed))]
        return []

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


async def inspect(session: Session, spot: Spot) -> Inspection:
    """The whole vocabulary at a spot. Raises LltermError."""
    vocabulary, scored = await session.reader.candidates(spot.at.context, spot.stands)
    found, constraint = scored.distribution, spot.constraint
    return Inspection(vocabulary, spot.at, found, constraint, spot.written, spot.healing)


def parse_chain(
    text: str,
    sampling: Sampling | None = None,
    presets: Mapping[str, SamplerSettings] = PRESETS,
) -> Sampling:
    """A chain as it is typed, from what is in force (without that, neutral).

    A preset's name, then `name=value`, such as `balanced top_k=40`; every name of `[sampling]` in
    llterm.toml, `order=penalties,top_k,temperature` too. Raises UsageError naming the wrong word.
    """
    sampling = sampling or Sampling().under("neutral", presets)
    for word in text.split():
        name, equals, value = word.partition("=")
        row = next((one for one in SAMPLING if equals and one.name == name), None)
        if row is None and name not in presets:
            known = ", ".join([*presets, *(one.name for one in SAMPLING)])
            raise UsageError(f"There is no {name}", f"Known: {known}.", "")
        try:
            given = row.parse(value) if row is not None else name
            sampling = changed(sampling, row.name if row else "preset", given, presets)
        except ValueError as error:
            raise UsageError(f"{word} cannot be", f"{error}.", "") from None
    return sampling
