"""What a weave shows: frozen pictures of the search, for faces and for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from llterm.core.tokens import Tail

Finish = Literal["stop", "depth", "end", "open", "choice", "banned"]
"""Why a suggestion ends: a stop, the depth, an end-of-text token; `choice` is one of the texts that
may be written; `open` has not ended yet;
`banned` may not stand, and is no suggestion."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a suggestion, with its probability given what stands before it."""

    id: int
    data: bytes
    logprob: float
    rank: int
    """1 = the model's first choice (among the allowed ones, while healing)."""
    special: bool = False
    permitted: float = 1.0
    """Raw mass of what a mask allowed here; `logprob` is given that."""


def adding(steps: Sequence[Step], residue: bytes) -> Sequence[Step]:
    """Those of a path's tokens that add text: less the first, where all that they write is the
    residue once more (healing)."""
    left = len(residue)
    for number, step in enumerate(steps):
        left -= len(step.data)
        if left < 0:
            return steps[number:]
    return ()


def mean_of(steps: Sequence[Step]) -> float:
    """Mean logprob of these tokens; 0 without any."""
    return math.fsum(step.logprob for step in steps) / len(steps) if steps else 0.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A token path that the weave offers."""

    tail: Tail
    """Tokens after the anchor; with healing they begin with those that re-encode the residue."""
    steps: tuple[Step, ...]
    data: bytes
    """What accepting it adds to the story: its tokens' bytes less the residue."""
    logprob: float
    """Joint, given the anchor (while healing: given the residue)."""
    finish: Finish
    merged: float = 0.0
    """Probability of other token paths with the same text, drawn with this one."""
    alike: tuple[bytes, ...] = ()
    """Other texts that say the same (diverse ranking), most probable first."""
    alike_p: float = 0.0
    """Their probability together."""
    share: float | None = None
    """Of a choice: its part of the probability that all choices have together."""
    residue: bytes = b""
    """What of the story its first tokens write again (healing)."""

    @property
    def logprob_per_token(self) -> float:
        """Mean over the tokens that add text."""
        return mean_of(adding(self.steps, self.residue))


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the suggestion tree: a run of tokens up to the next fork."""

    tail: Tail
    """Tokens from the anchor to the end of this row: accepting the row takes all of them."""
    steps: tuple[Step, ...]
    """The row's own tokens."""
    data: bytes
    """The row's own text (less what remains of the residue)."""
    p: float
    """Probability of the row given its parent row, equal texts added."""
    logprob: float
    """Joint logprob of the whole path to the end of this row; of a fork that other tokens spell
    too, theirs added."""
    children: tuple[Branch, ...] = ()
    finish: Finish | None = None
    """Set on leaves."""
    banned: str = ""
    """What forbids it, such as `banned "once upon"` or `constraint`; `p` is what that takes."""
    sampled: str = ""
    """Which sampled lines it is, such as `sampled, line 3`; `p` is joint then."""
    alike: int = 0
    """How many other texts, which say the same, are folded into it; `p` has theirs where they hung
    under the same parent and no other row holds them."""
    alike_p: float = 0.0
    """Their joint probability."""
    share: float | None = None
    """Of a choice: its part of the probability that all choices have together."""
    healed: tuple[str, str] | None = None
    """Where it goes on with the word that was typed last: that word, and what it becomes."""


@dataclass(frozen=True, slots=True)
class View:
    """A weave at one moment."""

    suggestions: tuple[Suggestion, ...] = ()
    """Most probable first, one a token path; at most as many as `Rules.goal` a root."""
    branches: tuple[Branch, ...] = ()
    """The same as a tree, most probable first."""
    settled: int = 0
    """How many of the first suggestions no further work can change."""
    bound: float = 1.0
    """No suggestion that is not shown is more probable than this (joint)."""
    coverage: tuple[float, ...] = field(default=())
    """Share of all probability mass that the tree holds at each depth, from depth 1 on."""
    done: bool = False
    """Nothing is left to search under the rules (or `spent`)."""
    looked_at: int = 0
    """How many suggestions the list was chosen from, where it is of such that differ."""
    spent: bool = False
    """The evaluation budget ended the search before it was done."""
