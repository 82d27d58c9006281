"""The alphabet of a mix of models whose vocabularies differ: bytes, and an end."""

from __future__ import annotations

from llterm.core.tokens import Tail, Token

END = 256
SIZE = 257


class ByteVocabulary:
    """Ids 0 to 255 are the bytes; 256 ends the text."""

    fingerprint = "bytes"
    size = SIZE
    prefix: Tail = ()

    def __init__(self) -> None:
        self._tokens = [Token(id, bytes([id])) for id in range(END)]
        self._tokens.append(Token(END, b"<end>", special=True, end=True))

    def encode(self, data: bytes) -> Tail:
        return tuple(data)

    def token(self, id: int) -> Token:
        return self._tokens[id]
