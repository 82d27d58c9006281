"""What llterm asks of a server, and what answers tell, in the three shapes that servers write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.token_spelling import vocabulary_bytes
from llterm.backends.remote.transport import BadAnswer
from llterm.core.display_text import label_text
from llterm.core.tokens import Tail

LEAD = 20.0
"""Nats by which `CompletionRequest.first` is put before the others."""
PLAIN_TEXT = "."
"""A token of whole characters, which any vocabulary has."""
LONGEST_NAME = 200
"""Characters that are shown of a name."""
_UNKNOWN = "\ufffd".encode()
NOTHING = -900.0
"""Servers write −9999 or −1000 for minus infinity."""
_ID = "token_id:"
_DECIMAL = re.compile("[0-9]{1,9}")
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2})+)")
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


Meaning = Callable[[str], TokenCandidate]
"""From a token as a server writes it; the logprob is put in afterwards."""
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

    @property
    def prompt(self) -> Any:
        """As JSON: the only prompt, or the list of them."""
        prompts = [one if isinstance(one, str) else list(one) for one in self.prompts]
        return prompts[0] if len(prompts) == 1 else prompts


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
            object.__setattr__(self, name, shown_name(getattr(self, name)))

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


def shown_name(name: str) -> str:
    """A server's or a model's name as people are shown it."""
    return label_text(name[:LONGEST_NAME])


def choices(data: Any) -> Iterator[tuple[int, AnswerValue]]:
    """The answers to each prompt: its index, and the choice."""
    for choice in AnswerValue(data)["choices"].items():
        index = choice.get("index")
        yield (index.whole() if index else 0), choice


def only(data: Any) -> AnswerValue:
    """The first choice of an answer to one prompt. Raises BadAnswer where there is none."""
    return AnswerValue(data)["choices"][0]


def text_token(text: str) -> bytes | None:
    r"""The bytes of a token that is told as text, or None where they cannot be known.

    Half a character is written as "", with U+FFFD, or (OpenAI) as `bytes:\xe2\x80`.
    """
    if found := _BYTES.fullmatch(text):
        return bytes.fromhex(found.group(1).replace("\\x", ""))
    if not text or "\ufffd" in text:
        return None
    return text.encode("utf-8", "replace")


def plain(text: str) -> TokenCandidate:
    """A token that is told as text alone."""
    return TokenCandidate(0.0, None, text_token(text))


def spelled(text: str) -> TokenCandidate:
    """A token that is told as it stands in the vocabulary's file, or as text."""
    if "Ġ" in text or "Ċ" in text:
        return TokenCandidate(0.0, None, vocabulary_bytes(text))
    return plain(text.replace("▁", " "))


def by_id(text: str) -> TokenCandidate:
    """A token that is told as `token_id:406` (vLLM); else as text."""
    if text.startswith(_ID) and _DECIMAL.fullmatch(text, len(_ID)):
        return TokenCandidate(0.0, int(text[len(_ID) :]))
    return plain(text)


def by_key(text: str) -> int | None:
    """An id that is the name of an entry, or None where it is none."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def legacy(logprobs: AnswerValue, meaning: Meaning = plain) -> list[Position]:
    """OpenAI's legacy arrays: `tokens`, `token_logprobs`, and `top_logprobs` as objects by token.

    A position without probabilities (the first of an echoed prompt) lists no candidates. Several
    tokens that the server writes alike are one entry there: they cannot be told apart.
    """
    tokens, own = logprobs["tokens"], logprobs["token_logprobs"]
    top = logprobs.get("top_logprobs")
    lines = list(top.items()) if top is not None else []
    positions: list[Position] = []
    for index, token in enumerate(tokens.items()):
        chosen, logprob = meaning(token.text()), own[index]
        if logprob.value is None or index >= len(lines) or lines[index].value is None:
            positions.append((chosen, ()))
        else:
            chosen = chosen._replace(logprob=number(logprob))
            positions.append((chosen, _entries(lines[index], meaning)))
    return positions


def _entries(line: AnswerValue, meaning: Meaning) -> list[TokenCandidate]:
    if not isinstance(line.value, dict):
        raise BadAnswer(
            "The server's answer cannot be read",
            f"{label_text(line.place)} is no object by token.",
            "",
        )
    return [
        meaning(text)._replace(logprob=number(AnswerValue(value, f"{line.place}.{text}")))
        for text, value in line.value.items()
    ]


def content(entries: Iterable[AnswerValue], *, id_key: str = "id") -> list[Position]:
    """Chat's shape: a list of `{token, logprob, bytes, top_logprobs: […]}`."""
    return [
        (_entry(entry, id_key), [_entry(item, id_key) for item in top.items()])
        for entry in entries
        if (top := entry.get("top_logprobs")) is not None
    ]


def _entry(entry: AnswerValue, id_key: str) -> TokenCandidate:
    id = entry.get(id_key)
    listed = entry.get("bytes")
    data = listed.exact() if listed is not None else text_token(entry["token"].text())
    if data is not None and (not data or _UNKNOWN in data):
        # Some servers make the bytes from the text that they show.
        data = None
    return TokenCandidate(number(entry["logprob"]), id.whole() if id is not None else None, data)


def number(part: AnswerValue) -> float:
    """A logprob; −∞ where the server means that."""
    found = part.number()
    return found if found > NOTHING else float("-inf")


def steps(line: int, positions: Iterable[Position]) -> Iterator[CompletionStep]:
    """The positions of one line in order; those without candidates are left out."""
    for at, (chosen, listed) in enumerate(positions):
        if listed:
            yield CompletionStep(line, at, chosen, listed)
