"""What llterm asks of a server, and what an answer tells, whatever the dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llterm.core.display import label_text
from llterm.core.tokens import Tail

LEAD = 20.0
"""Nats by which `Ask.first` is put before the others."""
LONGEST_NAME = 200
"""Characters that are shown of a name."""
Prompt = Tail | str
"""Token ids, or text where a server takes no ids."""


class TokenCandidate(NamedTuple):
    """A token that may stand at a place."""

    logprob: float
    id: int | None = None
    data: bytes | None = None
    """Its exact bytes; None where the server does not tell them."""
    rank: int | None = None
    """1 = the first choice; None where the server does not say."""


Turn = tuple[str, str]
"""A message of a chat: whose it is, and what it says."""
Position = tuple[TokenCandidate, Sequence[TokenCandidate]]
"""What was chosen or stands at a place, and the candidates; none where nothing is told of it."""


@dataclass(slots=True)
class CompletionStep:
    """One position of a line that a server wrote."""

    line: int
    """Which of the request's prompts it goes on from."""
    number: int | None
    """Its place on the line, from 0; None: the one after the last."""
    chosen: TokenCandidate
    listed: Sequence[TokenCandidate]
    """The most probable candidates; their order is not relied on."""
    evaluated: int = 1
    """Tokens that the server evaluated for it."""
    reused: int | None = None
    """Tokens of the prompt that it had in its cache; None where it does not say."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One request: what follows each of these prompts."""

    prompts: Sequence[Prompt]
    top: int
    """Candidates to list at each position."""
    tokens: int = 1
    """Positions of the line, along the first choices."""
    said: Sequence[Sequence[Turn]] = ()
    """What was said before each prompt, where that goes as messages; nothing anywhere else."""
    favour: Tail = ()
    """One of these ids is to be chosen; the listed probabilities stay those of the raw model."""
    among: bool = False
    """List those of `favour` only, with probabilities that add up to 1 over them."""
    first: int | None = None
    """With `among`, the one of `favour` that is to be chosen: it is told e^LEAD times too large."""
    attempt: int = 0
    """How often the same was asked in vain."""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request as a server takes it."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerTraits:
    """What a server can do, as it says itself or as trying has shown."""

    server: str
    """Its kind and version, for people."""
    model: str
    """Its model's name, for people."""
    context: int
    """Tokens of a path that the model can see."""
    top: int | None = None
    """Most candidates that it lists; None: all of them."""
    ids_in: bool = False
    ids_out: bool = False
    bytes_out: bool = False
    """Tells the exact bytes of candidates, those of half a character too."""
    lists: bool = False
    """Takes several prompts in one request."""
    streams: bool = False
    lines: bool = True
    """Goes on for several positions with candidates at each."""
    favours: bool = False
    """A bias can force a choice and leaves the listed probabilities as they are."""
    reads: bool = False
    """Tells the probabilities of a given text's tokens in one answer."""
    raw: bool | None = None
    """Probabilities are the model's own, before temperature and filters; None: not known."""
    prefill: str = ""
    """How a chat's answer that has begun is gone on with; empty: not at all."""
    cache: str = ""
    """What it keeps of prompts, in words; empty: not known."""
    slots: int = 4
    """Requests that it serves at once."""
    retries: int = 0
    """How often asking again may bring what was missing."""
    context_told: bool = True
    """The server says how much its model sees; otherwise it is a guess."""

    def __post_init__(self) -> None:
        # They are the server's own words, and are shown in tables, errors and on the screen.
        for name in ("server", "model"):
            shown = label_text(getattr(self, name)[:LONGEST_NAME])
            object.__setattr__(self, name, shown)

    def explained(self) -> Sequence[tuple[str, str]]:
        """What the server can do, row by row for people, each gap with what it means."""
        ids = self.ids_in and self.ids_out
        return [
            ("server", self.server),
            ("model", self.model),
            ("context", f"{self.context:,} tokens" + (
                "" if self.context_told else " (a guess: it does not say; `context` sets it)")),
            ("candidates", "as many as are asked for" if self.top is None
                else f"{self.top} at most: what is less probable is not seen"),
            ("token ids", "in and out" if ids
                else "no: paths go as text, and the server may cut it into other tokens"),
            ("token bytes", "exact" if self.bytes_out
                else "as text: parts of characters may be left out"),
            ("probabilities", {True: "the model's own, before any filter",
                               False: "after the server's filters",
                               None: "not known whether before or after its filters"}[self.raw]),
            ("several at once", f"lists of prompts; {self.slots} served at once" if self.lists
                else "one prompt a request"),
            ("lines ahead", "yes: one request goes on for several tokens" if self.lines
                else "no: one request a token"),
            ("heat", "yes: it scores a given text" if self.reads
                else "yes, place by place" if self.favours
                else "no heat: this server does not score given text"),
            ("healing, constraints", "yes" if self.favours
                else "no: it cannot be held to certain tokens"),
            ("begun answers", self.prefill or "no: it always opens a new turn"),
            ("cache", self.cache or "not known"),
        ]  # fmt: skip
