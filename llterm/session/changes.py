"""What goes into a document and comes back: runs of tokens, changes of the text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from llterm.core.distribution import Distribution
from llterm.core.history import UndoStep
from llterm.core.loom_tree import Loom, Piece
from llterm.core.provenance import (
    Alternative,
    Arrival,
    Provenance,
    provenance_text,
    read_provenance,
)
from llterm.core.sampling.sampler_chain import Choice
from llterm.core.tokens import Tail, Vocabulary

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, less those that stand for broken bytes."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a copy of the display must do to follow: put `text` in place of `start` to `stop`."""

    start: int
    stop: int
    text: str
    cursor: int


@dataclass(frozen=True, slots=True)
class ModelRun:
    """Tokens of a suggestion on their way into a story."""

    ids: Tail
    sizes: Tail
    """Bytes of each token; 0 for a special one."""
    data: bytes
    """What it adds to the story."""
    logprobs: tuple[float, ...]
    overlap: int
    """How many bytes before it its first tokens re-encode."""
    model: str
    fingerprint: str
    settings: dict[str, object]
    alternatives: tuple[tuple[Alternative, ...], ...]
    """The best few candidates at each token."""
    rejected: tuple[tuple[bytes, float], ...] = ()
    """Other suggestions that were there: text and joint logprob."""
    by: tuple[str, ...] = ()
    """Of a mix: the model that each token came from; see `Provenance`."""
    arrivals: tuple[Arrival, ...] = ()
    """How each token came; see `Provenance`."""

    def piece(self, created: float) -> Piece:
        """The run as a loom keeps it."""
        birth = provenance_text(
            Provenance(self.settings, self.alternatives, self.rejected, self.by, self.arrivals)
        )
        return Piece(
            0, self.data, self.model, created, self.ids, self.sizes, self.overlap,
            self.fingerprint, self.logprobs, birth,
        )  # fmt: skip


ALTERNATIVES = 5
"""Candidates kept with each accepted token."""
FORCING = ("constraint", "healing")
"""Stages of the chain that drop what may not stand, whatever the knobs say."""
_SAME = 1e-6
"""Share by which the roundings of one probability differ."""


def alternatives(before: Distribution, vocabulary: Vocabulary) -> tuple[Alternative, ...]:
    """The best candidates at a place, as the story keeps them: id, bytes, logprob."""
    ids, logprobs = before.ids[:ALTERNATIVES].tolist(), before.logprobs[:ALTERNATIVES].tolist()
    token = vocabulary.token
    return tuple((id, token(id).data, lp) for id, lp in zip(ids, logprobs, strict=True))


def arrival_of(choice: Choice) -> Arrival:
    """How a token came that the sampler chain drew."""
    ladder, left = choice.ladder, int(choice.ladder.kept.sum())
    way = "drawn"
    if left == 1:
        forced = [rung.p > 0 for rung in ladder.rungs if rung.stage in FORCING]
        allowed = ladder.p_base[forced[-1]] if forced else ladder.p_base
        first = allowed.max() <= math.exp(choice.logprob) * (1 + _SAME)
        way = "forced" if len(allowed) == 1 else "first choice" if first else "drawn"
    return Arrival(way, min(float(f"{choice.p:.6g}"), 1.0), left)


MOST_TOKENS = 64
"""A longer play is several nodes, each a step of its own: an undo takes back a piece of it."""


@dataclass(frozen=True, slots=True)
class OpenAccept:
    """An accept that tokens drawn right after it may still go into."""

    step: UndoStep
    made: int
    """Its node."""

    def takes(self, run: ModelRun, loom: Loom, at: int, size: int) -> bool:
        """Whether a run at byte `at` of a story of `size` bytes may go into the same node."""
        node = loom.nodes.get(self.made)
        if node is None or loom.head != self.made or at != size:
            return False
        piece = loom.pieces[node.piece]
        same = (piece.author, piece.fingerprint) == (run.model, run.fingerprint)
        return same and not run.overlap and len(piece.sizes) < MOST_TOKENS


def lengthened(piece: Piece, run: ModelRun) -> Piece:
    """A piece with a run after it; the run's settings are the piece's own."""
    birth = read_provenance(piece.birth)
    unknown = (Arrival(),) * (len(piece.sizes) - len(birth.arrivals))
    birth = replace(
        birth,
        alternatives=birth.alternatives + run.alternatives,
        by=birth.by + run.by,
        arrivals=birth.arrivals + unknown + run.arrivals,
    )
    return replace(
        piece,
        data=piece.data + run.data,
        ids=(piece.ids or ()) + run.ids,
        sizes=piece.sizes + run.sizes,
        logprobs=piece.logprobs + run.logprobs,
        birth=provenance_text(birth),
    )


def difference(old: str, new: str, start: int, stop: int) -> Change:
    """The smallest single replacement that makes one text of the other.

    They are known to be equal before `start`, and after what is `stop` in the old one.
    """
    last = len(new) - len(old) + stop
    before, after = old[start:stop], new[start:last]
    first = _common(len(before), len(after), lambda size: before[:size] == after[:size])
    most = min(len(before), len(after)) - first
    end = _common(most, most, lambda size: not size or before[-size:] == after[-size:])
    return Change(start + first, stop - end, new[start + first : last - end], last - end)


def _common(first: int, second: int, same: Callable[[int], bool]) -> int:
    """The largest size for which `same` holds; it holds for all smaller ones."""
    low, high = 0, min(first, second)
    while low < high:
        middle = (low + high + 1) // 2
        if same(middle):
            low = middle
        else:
            high = middle - 1
    return low


def encoded(text: str) -> bytes:
    """What a person typed, with the line ends of a story; broken bytes stay what they are."""
    text = _HALVES.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.encode("utf-8", "surrogateescape")
