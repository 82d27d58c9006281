"""What a server's token ids mean, where it tells texts only: read from what `/detokenize` joins.

Ids go out with a mark between them, thousands a request, and the text that comes back is cut at
the marks. A text without U+FFFD is its tokens' bytes exactly. A part of a character comes back as
U+FFFD: among known bytes that make it a whole one, its own can be read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

from llterm.backends.remote.transport import Transport
from llterm.core.tokens import Tail, Token

CHUNK = 1 << 15
"""Ids of a vocabulary that are asked for at once."""
MOST_IDS = 2 * CHUNK + 16
"""Ids of a request: some 400 KB, which every proxy lets through."""
GAP = 64
"""So many ids without a text end a vocabulary."""
_MARKS = ("\x1f", "\x7f", "¶", "\n")
"""Characters that stand in hardly any token but their own; the last ones in some."""
_PLAIN = "a"
_SPACED = " ."
_SPLIT = ("\u0080", "\u07c0", "\ue000", "\ue820", "\U000c0000", "\U00020000", "\U00100000")
"""Characters so rare that tokenizers spell them byte by byte: beginnings of all lengths."""
_LOST = "\ufffd"
_CLEANED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
"""Before these some tokenizers' "clean-up" takes a space away (transformers,
`clean_up_tokenization_spaces`)."""


class JoinsTokens(Protocol):
    """A server that makes ids of a text, and a text of ids."""

    async def cut(self, transport: Transport, text: str) -> Sequence[int]:
        """The text's ids, without the model's own prefix. Raises LltermError."""
        ...

    async def joined(self, transport: Transport, ids: Sequence[int]) -> str:
        """The text of these tokens. Raises LltermError."""
        ...


class _Run(NamedTuple):
    """A token among known ones: their bytes are taken off its text again."""

    id: int
    before: Tail = ()
    begins: bytes = b""
    after: Tail = ()
    ends: bytes = b""

    @property
    def ids(self) -> Tail:
        return (*self.before, self.id, *self.after)

    def bytes_in(self, text: str) -> bytes | None:
        """The token's bytes, or None where the text does not tell them."""
        data = text.encode("utf-8", "replace")
        begin, end = len(self.begins), len(data) - len(self.ends)
        whole = _LOST not in text and begin < end
        fits = data.startswith(self.begins) and data.endswith(self.ends)
        return data[begin:end] if whole and fits else None


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """Tokens that are put around others."""

    mark: str
    between: int
    plain: Tail
    """The id of `_PLAIN`, which keeps bytes on either side apart; none where it is no token."""
    space: Tail
    spaced: Tail
    """The ids of `_SPACED`: a server that "cleans up" returns something else."""
    lost: Tail
    """The ids of U+FFFD, which may be a token itself."""
    singles: Mapping[int, int]
    """Ids of single bytes that are parts of characters."""

    def around(self, id: int, text: str) -> Iterator[_Run]:
        """Every way in which known bytes may make the parts at this token's edges whole."""
        befores: list[tuple[Tail, bytes]] = [((), b"")]
        afters = befores.copy()
        if text.startswith(_LOST):
            befores += self._runs([(lead,) for lead in self.singles if lead >= 0xC2])
        if text.endswith(_LOST):
            low = [byte for byte in self.singles if 0x80 <= byte < 0x90][:1]
            high = [byte for byte in self.singles if 0xA0 <= byte < 0xC0][:1]
            # Behind E0 and F0 only the high ones make characters, behind ED and F4 the low ones.
            seconds = [*low, *high]
            afters += self._runs(
                [(second, *more) for second in seconds
                 for more in ((), (second,), (second, second))]
            )  # fmt: skip
        for (before, begins), (after, ends) in product(befores, afters):
            if (before or after) and (len(text) > 1 or not (before and after)):
                yield _Run(id, before, begins, after, ends)

    def _runs(self, spellings: Iterable[Sequence[int]]) -> list[tuple[Tail, bytes]]:
        return [(tuple(self.singles[one] for one in it), bytes(it)) for it in spellings]


class Detokenizer:
    """What is known of one server's tokens."""

    def __init__(self) -> None:
        self._known: dict[int, Token] = {}
        self._untold: set[int] = set()
        """Asked for in vain."""
        self._around: _Surroundings | None = None
        self._cleans = False
        """It takes spaces away before some tokens."""

    def learn(self, tokens: Iterable[Token]) -> None:
        """This is a listing from an earlier time."""
        self._known.update((token.id, token) for token in tokens)
        self._untold.update({*range(max(self._known, default=0))} - self._known.keys())

    async def tokens(
        self, server: JoinsTokens, transport: Transport, ids: Sequence[int]
    ) -> Mapping[int, Token]:
        """What these mean; those are left out whose bytes the server cannot tell.

        Each id is asked for once. Raises LltermError.
        """
        new = [id for id in dict.fromkeys(ids) if id not in self._known and id not in self._untold]
        if new:
            await self._look_around(server, transport)
            texts = await self._learn(server, transport, new)
            await self._complete(server, transport, self._unread(new, texts))
            self._untold.update(id for id in new if id not in self._known)
        return {id: self._known[id] for id in ids if id in self._known}

    async def listing(
        self, server: JoinsTokens, transport: Transport, most: int
    ) -> Sequence[Token]:
        """All tokens below `most`, in order of their ids, but for those whose bytes it cannot tell.

        None where the server's texts cannot be told apart. Raises LltermError.
        """
        await self._look_around(server, transport)
        if self._around is None or not self._around.plain:
            return []
        unread: dict[int, str] = {}
        for first in range(0, most, CHUNK):
            ids = [id for id in range(first, min(first + CHUNK, most)) if id not in self._known]
            texts = await self._learn(server, transport, ids)
            unread.update(self._unread(ids, texts))
            if not any(texts[-GAP:]):
                break
        await self._complete(server, transport, unread)
        tokens = [self._known[id] for id in sorted(self._known)]
        self.learn(tokens)
        return tokens

    async def _look_around(self, server: JoinsTokens, transport: Transport) -> None:
        """Find tokens that can be put around others, where that is not done."""
        for mark in _MARKS:
            if self._around is None:
                texts = (_PLAIN, _PLAIN, " ", _SPACED, _LOST, *_SPLIT, _PLAIN)
                cut = await server.cut(transport, mark.join(texts))
                self._around = _surroundings(mark, texts, cut)
                if self._around is not None:
                    self._know(self._around.between, mark.encode())

    async def _learn(
        self, server: JoinsTokens, transport: Transport, ids: Sequence[int]
    ) -> Sequence[str]:
        """The texts of these tokens; those are learned that are the tokens' bytes."""
        if self._around is None:
            texts = [await _alone(server, transport, id) for id in ids]
        else:
            spaced, *texts = await self._texts(
                server, transport, self._around, [self._around.spaced, *((id,) for id in ids)]
            )
            self._cleans |= bool(self._around.space) and spaced == _SPACED.strip()
        unread = self._unread(ids, texts)
        for id, text in zip(ids, texts, strict=True):
            if text and id not in unread:
                self._know(id, text.encode("utf-8", "replace"))
        return texts

    def _unread(self, ids: Sequence[int], texts: Sequence[str]) -> Mapping[int, str]:
        """Those whose bytes their texts do not tell."""
        return {
            id: text for id, text in zip(ids, texts, strict=True)
            if _LOST in text or (self._cleans and text.startswith(_CLEANED))
        }  # fmt: skip

    async def _complete(
        self, server: JoinsTokens, transport: Transport, unread: Mapping[int, str]
    ) -> None:
        """Read these among known bytes."""
        around = self._around
        if not unread or around is None:
            return
        runs: list[_Run] = []
        for id, text in unread.items():
            if _LOST not in text:
                # Clean-up takes away the space before it, and leaves the token's own.
                runs.append(_Run(id, around.space))
            elif (id,) == around.lost and text == _LOST:
                self._know(id, _LOST.encode())
            else:
                runs += around.around(id, text)
        texts = await self._texts(server, transport, around, [run.ids for run in runs], apart=True)
        for run, text in zip(runs, texts, strict=True):
            if (data := run.bytes_in(text)) is not None:
                self._know(run.id, data)

    async def _texts(
        self, server: JoinsTokens, transport: Transport, around: _Surroundings,
        runs: Sequence[Tail], *, apart: bool = False,
    ) -> list[str]:  # fmt: skip
        """The text of each run, standing by itself.

        `apart`: behind and before a letter, for tokenizers that judge the bytes of neighbours
        together.
        """
        plain = around.plain if apart else ()
        between: Tail = (*plain, around.between, *plain)
        letter = _PLAIN if plain else ""
        mark = f"{letter}{around.mark}{letter}"
        ids = [*between, *(id for run in runs for id in (*run, *between))]
        if len(ids) <= MOST_IDS or len(runs) == 1:
            text = await server.joined(transport, ids)
            begin, *texts, end = text.split(mark) if mark in text else ("", text, mark)
            if len(texts) == len(runs) and not begin and not end:
                return texts
            if not apart and around.plain:
                return await self._texts(server, transport, around, runs, apart=True)
            if len(runs) == 1:
                # Its text holds the mark itself.
                inside = text.removeprefix(mark).removesuffix(mark)
                return [inside if len(inside) + 2 * len(mark) == len(text) else ""]
        half = len(runs) // 2
        return [
            *await self._texts(server, transport, around, runs[:half], apart=apart),
            *await self._texts(server, transport, around, runs[half:], apart=apart),
        ]

    def _know(self, id: int, data: bytes) -> None:
        self._known[id] = Token(id, data)


def _surroundings(mark: str, texts: Sequence[str], ids: Sequence[int]) -> _Surroundings | None:
    """From the ids of these texts, which the mark joins; None where they are not as they should
    be."""
    between = next((id for id in ids[1:] if ids.count(id) == len(texts) - 1), None)
    if between is None:
        return None
    runs: list[list[int]] = [[]]
    for id in ids:
        if id == between:
            runs.append([])
        else:
            runs[-1].append(id)
    _, plain, space, spaced, lost, *split, last = runs
    if plain != last or len(plain) > 1:
        return None
    singles: dict[int, int] = {}
    for text, run in zip(_SPLIT, split, strict=True):
        data = text.encode()
        if len(run) == len(data):
            singles.update(zip(data, run, strict=True))
    return _Surroundings(
        mark, between, tuple(plain), tuple(space), tuple(spaced), tuple(lost), singles
    )


async def _alone(server: JoinsTokens, transport: Transport, id: int) -> str:
    """One token's text, where nothing is known to put around it: twice, for some tokenizers take
    the first one's space away."""
    text = await server.joined(transport, [id, id])
    return text[len(text) // 2 :]
