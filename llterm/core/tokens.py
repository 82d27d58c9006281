"""Tokens and vocabularies. Text is always made from token bytes, never from display strings."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
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

    def known_tokens(self, data: bytes) -> Tail | None:
        """Tokens whose bytes joined are exactly `data`, without `prefix`, where they can be told at
        once; None where somebody has to be asked first (`tokenize`).

        Names of special tokens inside `data` are ordinary text. Bytes that are not UTF-8 are kept.
        """

    async def tokenize(self, data: bytes) -> Tail:
        """The same tokens, from the tokenizer, wherever that is.

        Raises LltermError: its server does not answer, or the text cannot be said in its tokens.
        """

    def token(self, id: int) -> Token:
        """The entry with this id."""


_LARGE = 1 << 14
"""Bytes of a text that others do not wait for."""


@cache
def _tokenizing(*, large: bool) -> Executor:
    """A thread that cuts texts into tokens, one at a time: to do so takes a hundred times their
    bytes of memory, which every thread that ever did so keeps."""
    return ThreadPoolExecutor(1, "large texts" if large else "texts")


class EncodesHere(ABC):
    """Base of vocabularies whose tokenizer is in this process: nobody has to be asked."""

    @abstractmethod
    def encode(self, data: bytes) -> Tail:
        """As `Vocabulary.known_tokens`."""

    def known_tokens(self, data: bytes) -> Tail:
        return self.encode(data)

    async def tokenize(self, data: bytes) -> Tail:
        executor = _tokenizing(large=len(data) > _LARGE)
        return await asyncio.get_running_loop().run_in_executor(executor, self.encode, data)


@runtime_checkable
class LearnsTokens(Protocol):
    """A vocabulary that is told token by token."""

    @property
    def whole(self) -> bool:
        """Whether all of it is known; otherwise answers may bring tokens that are new."""

    @property
    def bound(self) -> int:
        """Every id that is known is below it."""

    def knows(self, id: int) -> bool:
        """Whether it was told this token."""

    def learn(self, tokens: Iterable[Token]) -> None:
        """These are what the server said of its tokens."""


def grows(vocabulary: Vocabulary) -> bool:
    """Whether later answers may bring tokens that are not known yet."""
    return isinstance(vocabulary, LearnsTokens) and not vocabulary.whole


@dataclass(frozen=True, slots=True)
class Draft:
    """What a model is to read, as far as it can be said at once: stretches of text whose tokens
    may have to be asked for, and tokens. No question takes one."""

    parts: tuple[bytes | Tail, ...] = ()
    prefix: Tail = ()
    """What it begins with, where it does not by itself."""

    def known(self, vocabulary: Vocabulary) -> Tail | None:
        """Its tokens; None where somebody has to be asked for some of them."""
        ids: list[int] = []
        for part in self.parts:
            tokens = vocabulary.known_tokens(part) if isinstance(part, bytes) else part
            if tokens is None:
                return None
            ids += tokens
        return self._begun(tuple(ids))

    async def told(self, vocabulary: Vocabulary) -> Tail:
        """Its tokens, by the tokenizer. Raises LltermError where it cannot be asked."""
        ids: list[int] = []
        for part in self.parts:
            ids += await vocabulary.tokenize(part) if isinstance(part, bytes) else part
        return self._begun(tuple(ids))

    def text(self, vocabulary: Vocabulary) -> bytes:
        """Its bytes, with the names of special tokens."""
        begun = () if self._begins(self.parts[:1]) else (self.prefix,)
        return b"".join(
            part if isinstance(part, bytes) else b"".join(vocabulary.token(id).data for id in part)
            for part in (*begun, *self.parts)
        )

    def _begins(self, parts: Sequence[bytes | Tail]) -> bool:
        return not self.prefix or any(part[: len(self.prefix)] == self.prefix for part in parts)

    def _begun(self, ids: Tail) -> Tail:
        return ids if ids[: len(self.prefix)] == self.prefix else self.prefix + ids


async def draft_tokens(draft: Draft, vocabulary: Vocabulary) -> Tail:
    """A draft's tokens: as they are known, else as they are told. Raises LltermError."""
    known = draft.known(vocabulary)
    return known if known is not None else await draft.told(vocabulary)


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


def end_ids(vocabulary: Vocabulary) -> Tail:
    """The ids, ascending, of the tokens that end a text; of a vocabulary that is whole."""
    return tuple(id for id in range(vocabulary.size) if vocabulary.token(id).end)


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
