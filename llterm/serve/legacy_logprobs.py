"""Logprobs in the shape of OpenAI's completions: four lists, one entry a token."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llterm.core.tokens import Token, Vocabulary

UNLIKELY = -9999.0
"""What OpenAI says of a token that cannot be: JSON has no infinity."""


def sayable(logprob: float) -> float:
    """The logprob as JSON can say it."""
    return max(logprob, UNLIKELY)


def token_text(token: Token) -> str:
    """A token as a text; bytes that are none are named as OpenAI does: `bytes:\\xf0\\x9f`."""
    try:
        return token.data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.data)


@dataclass(slots=True, eq=False)
class LegacyLogprobs:
    """The lists of one choice, or, taken again and again, of the parts of a stream."""

    vocabulary: Vocabulary
    by_id: bool = False
    """Tokens are named `token_id:N`."""
    offset: int = 0
    """Characters of the choice's text before the next token."""
    _entries: list[tuple[str, float | None, dict[str, float] | None, int, int]] = field(
        default_factory=list
    )
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=codecs.getincrementaldecoder("utf-8"), repr=False
    )

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(
        self,
        id: int,
        logprob: float | None,
        top: Sequence[tuple[int, float]] = (),
        watched: Sequence[tuple[int, float]] = (),
    ) -> None:
        """A token; without a logprob where nothing stands before it."""
        token = self.vocabulary.token(id)
        listed: dict[str, float] | None = None
        if logprob is not None:
            logprob = sayable(logprob)
            listed = {}
            for other, value in (*top, *watched, (id, logprob)):
                # Two ids may have one text: the better one's counts.
                name = self._name(other)
                listed[name] = max(sayable(value), listed.get(name, UNLIKELY))
        self._entries.append((self._name(id), logprob, listed, self.offset, id))
        shown = b"" if token.special or token.end else token.data
        self.offset += len(self._decoder.decode(shown))

    def taken(self) -> dict[str, Any] | None:
        """What was added since it was last taken; None for nothing."""
        if not self._entries:
            return None
        names, logprobs, tops, offsets, ids = map(list, zip(*self._entries, strict=True))
        self._entries.clear()
        return {
            "tokens": names,
            "token_logprobs": logprobs,
            "top_logprobs": tops,
            "text_offset": offsets,
            "ids": ids,
        }

    def _name(self, id: int) -> str:
        return f"token_id:{id}" if self.by_id else token_text(self.vocabulary.token(id))
