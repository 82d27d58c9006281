"""Tokens and vocabularies. Text is always made from token bytes, never from display strings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

Tail = tuple[int, ...]
"""Token ids in order."""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary."""

    id: int
    data: bytes
    """Exact bytes; a special token's are its visible name, such as `<|endofstory|>`."""
    special: bool = False
    """A control token: it stands for an edge, not for text."""
    end: bool = False
    """Ends the text when it is chosen."""


class Vocabulary(Protocol):
    """What a model's token ids mean."""

    @property
    def fingerprint(self) -> str:
        """Equal for two models exactly when their ids mean the same."""

    @property
    def size(self) -> int:
        """Number of ids; every id is below it."""

    @property
    def prefix(self) -> Tail:
        """Tokens the model wants before any text, such as its begin-of-text token."""

    def encode(self, data: bytes) -> Tail:
        """Tokens whose bytes joined are exactly `data`, without `prefix`.

        Names of special tokens inside `data` are ordinary text. Bytes that are not UTF-8 are kept.
        """

    def token(self, id: int) -> Token:
        """The entry with this id."""


@runtime_checkable
class SettlesLater(Protocol):
    """A vocabulary whose tokenizer is elsewhere, or a source that has its chats from elsewhere.

    On the event loop `encode` and `open_chat` give what was told before, and else a guess until
    they have been told (of a chat no parts at all); on other threads they wait for the answer.
    """

    async def settle(self) -> bool:
        """Ask for what was guessed for want of an answer; whether there was any."""


@runtime_checkable
class LearnsTokens(SettlesLater, Protocol):
    """A vocabulary that is told token by token."""

    def learn(self, tokens: Iterable[Token]) -> None:
        """These are what the server said of its tokens."""


def text_bytes(vocabulary: Vocabulary, ids: Iterable[int]) -> bytes:
    """The text that these tokens stand for; special tokens stand for none."""
    tokens = (vocabulary.token(id) for id in ids)
    return b"".join(token.data for token in tokens if not token.special)


def common(first: Tail, second: Tail) -> int:
    """Length of the common beginning."""
    size = min(len(first), len(second))
    if first[:size] == second[:size]:
        return size
    return next(index for index in range(size) if first[index] != second[index])


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A token prefix many paths share (the story's window), compared by identity.

    Nobody hashes or compares thousands of tokens on the hot path: make one anchor a weave.
    """

    tokens: Tail


class Path(NamedTuple):
    """A token path: an anchor and the tokens after it."""

    anchor: Anchor
    tail: Tail = ()

    @property
    def tokens(self) -> Tail:
        return self.anchor.tokens + self.tail


def vocabulary_fingerprint(kind: int, tokens: Sequence[Token]) -> str:
    """The fingerprint of a whole vocabulary; `kind` is llama.cpp's number for its tokenizer."""
    seen = hashlib.sha256(f"{kind}:{len(tokens)}".encode())
    for token in tokens:
        seen.update(b"%d,%d,%d:" % (len(token.data), token.special, token.end) + token.data)
    return seen.hexdigest()[:16]


def split_utf8(data: bytes) -> list[tuple[bytes, bool]]:
    """The text in stretches that are UTF-8 (True) and bytes that are not (False)."""
    parts: list[tuple[bytes, bool]] = []
    while data:
        try:
            data.decode()
        except UnicodeDecodeError as broken:
            if broken.start:
                parts.append((data[: broken.start], True))
            parts.append((data[broken.start : broken.end], False))
            data = data[broken.end :]
        else:
            parts.append((data, True))
            break
    return parts
