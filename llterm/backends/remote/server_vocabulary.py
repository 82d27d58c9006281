"""Vocabularies of models on servers: known whole, learned token by token, or made of text."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from llterm.core.display_text import label_text
from llterm.core.tokens import Tail, Token, split_utf8
from llterm.errors import LltermError

MOST = 1 << 20
"""Ids of a vocabulary whose size the server does not tell are below this."""
KEPT_TEXTS = 64
UNSAID = 12
"""Bytes that are shown of what a server cannot be given."""
PIECE = re.compile(rb" ?[A-Za-z\x80-\xff]+| ?[0-9]+| ?[^\sA-Za-z0-9\x80-\xff]+|\s+")
"""About how tokenizers cut a text: what stands in for tokens where a server tells none."""
_ENDS = frozenset(
    """
    <|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <EOT> _<EOT>
    <|return|> <|call|> <|eom_id|> <|END_OF_TURN_TOKEN|> <|endofprompt|> </s> <turn|>
    """.split()  # noqa: SIM905 (a list of quoted words hides the words)
)
"""Names of tokens that end a text in the models of today: from the list by which llama.cpp finds
them (`llama_vocab::impl::load`), and from models' own cards."""
Encoder = Callable[[str], Awaitable[Sequence[Token]]]


class RemoteVocabulary:
    """A server's tokens by id, as far as they are known."""

    def __init__(
        self,
        fingerprint: str,
        tokens: Iterable[Token] = (),
        *,
        size: int = MOST,
        prefix: Tail = (),
        encoder: Encoder | None = None,
        texts_only: bool = False,
    ) -> None:
        """`encoder` asks the server's tokenizer for a text that is UTF-8.

        `texts_only`: the server tells no ids, those here are llterm's own.
        """
        self.fingerprint = fingerprint
        self.size = size
        self.bound = 0
        self.prefix = prefix
        self._encoder = encoder
        self._texts_only = texts_only
        self._tokens: dict[int, Token] = {}
        self._ids: dict[bytes, int] = {}
        self._ends: dict[bytes, int] = {}
        self._roles: dict[int, str] = {}
        self._longest = 1
        self._texts: OrderedDict[bytes, Tail] = OrderedDict()
        self.learn(tokens)
        self.whole = bool(self._tokens)
        """Every token was told at the beginning."""

    def learn(self, tokens: Iterable[Token]) -> None:
        """These are what the server says of its tokens; of some it may say no bytes yet."""
        for token in tokens:
            before = self._tokens.get(token.id)
            if before is None or (token.data and not before.data):
                self._tokens[token.id] = token
                self.bound = max(self.bound, token.id + 1)
                if token.data and not token.special:
                    self._ids.setdefault(token.data, token.id)
                    self._longest = max(self._longest, len(token.data))

    def knows(self, id: int) -> bool:
        token = self._tokens.get(id)
        return token is not None and bool(token.data)

    def untold(self, ids: Iterable[int]) -> int | None:
        """The first of these that the server never named, with bytes or without."""
        return next((id for id in ids if id not in self._tokens), None)

    def has(self, name: bytes) -> bool:
        """Whether a token of these bytes is known."""
        return name in self._ids or name in self._ends

    def id_of(self, data: bytes) -> int:
        """The id of the token that a server writes so; a new one where there is none yet."""
        known = self._ends.get(data, self._ids.get(data))
        return self._made(data) if known is None else known

    def end(self, name: bytes) -> None:
        """This text, where the server writes it, is a token that ends a text."""
        if name not in self._ends:
            self._ends[name] = self._made(name, special=True, end=True)

    @property
    def roles(self) -> Mapping[int, str]:
        """Tokens of llterm's own at which a chat's messages begin: whose each is."""
        return self._roles

    def role(self, role: str) -> int:
        """The token at which a message of this role begins."""
        for id, known in self._roles.items():
            if known == role:
                return id
        id = self._made(b"[%s]" % role.encode(), special=True)
        self._roles[id] = role
        return id

    def _made(self, data: bytes, *, special: bool = False, end: bool = False) -> int:
        """The id of a token of llterm's own: only where none goes to the server."""
        if not self._texts_only:
            raise ValueError("the server has ids of its own")
        id = len(self._tokens)
        self.learn([Token(id, data, special=special, end=end)])
        return id

    def token(self, id: int) -> Token:
        """One that is not known stands for no text: a loom may be older than this connection."""
        return self._tokens.get(id) or Token(id, b"", special=True)

    def known_tokens(self, data: bytes) -> Tail | None:
        """Its tokens where they were told before, or where ids are llterm's own."""
        ids = self._texts.get(data)
        if ids is not None:
            self._texts.move_to_end(data)
            return ids
        return self.pieces(data) if self._texts_only or not data else None

    async def tokenize(self, data: bytes) -> Tail:
        """The server's tokens for this text; of known ones where it changes the text.

        Raises LltermError where it does not answer, or no known token is what it changes.
        """
        if (ids := self._texts.get(data)) is not None:
            return ids
        if self._encoder is None and self._texts_only:
            return self.pieces(data)
        told: list[int] = []
        for part, whole in split_utf8(data):
            exact = await self._exact(part) if whole else None
            told += exact if exact is not None else self._cut(part)
        encoded = self._texts[data] = tuple(told)
        if len(self._texts) > KEPT_TEXTS:
            self._texts.popitem(last=False)
        return encoded

    async def _exact(self, data: bytes) -> list[int] | None:
        """The server's own tokens, where their bytes joined are the text."""
        if self._encoder is None:
            return None
        text = data.decode()
        tokens = list(await self._encoder(text))
        if _joined(tokens) == b" " + data:
            # SentencePiece puts a space before the text: behind a line break it is not in the way.
            tokens = list(await self._encoder("\n" + text))
            left = len(b" \n")
            while tokens and left > 0:
                left -= len(tokens.pop(0).data)
        if _joined(tokens) != data:
            return None
        self.learn(tokens)
        return [token.id for token in tokens]

    def own(self, data: bytes) -> int:
        """The id of a piece that the person wrote: never that of an end."""
        return self._ids[data] if data in self._ids else self._made(data)

    def pieces(self, data: bytes) -> Tail:
        """Tokens of llterm's own, for a server that tells none."""
        return tuple(self.own(one) for piece in PIECE.findall(data) for one in _bits(piece))

    def _cut(self, data: bytes) -> Tail:
        """Tokens that are known, the longest that fit; where ids are llterm's own, pieces.

        Raises LltermError where none fits.
        """
        if self._texts_only:
            return self.pieces(data)
        ids: list[int] = []
        start = 0
        while start < len(data):
            sizes = range(min(self._longest, len(data) - start), 0, -1)
            pieces = (data[start : start + size] for size in sizes)
            piece = next((piece for piece in pieces if piece in self._ids), None)
            if piece is None:
                raise _unsayable(data[start:])
            ids.append(self._ids[piece])
            start += len(piece)
        return tuple(ids)


def _unsayable(data: bytes) -> LltermError:
    named = label_text(data[:UNSAID].decode("utf-8", "backslashreplace"))
    return LltermError(
        f"The server cannot be given “{named}”",
        "Its tokenizer makes another text of it, and llterm knows none of its tokens for these"
        " bytes.",
        "Take these characters out, or open the model in process.",
    )


def is_end(name: bytes) -> bool:
    """Whether a token of this name ends a text."""
    return name[:1] in (b"<", b"_") and name.decode("utf-8", "replace") in _ENDS


def fingerprint_of(*parts: str) -> str:
    """For vocabularies that are known by their server's and their model's names alone."""
    return "server-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _joined(tokens: Iterable[Token]) -> bytes:
    return b"".join(token.data for token in tokens)


def _bits(piece: bytes) -> Iterable[bytes]:
    """A piece as it is; where it is no UTF-8, byte by byte."""
    try:
        piece.decode()
    except UnicodeDecodeError:
        return [piece[at : at + 1] for at in range(len(piece))]
    return [piece]
