"""The alphabet of a mix of models whose vocabularies differ: bytes, and an end."""

from __future__ import annotations

from llterm.core.chat_messages import ChatPart, ChatParts
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


def byte_parts(parts: ChatParts) -> ChatParts:
    """A chat in bytes. `END` shuts it, so that no story's text can be taken for it."""
    spelled = (one._replace(ids=tuple(one.text.encode("utf-8", "replace"))) for one in parts)
    return (*spelled, ChatPart("", written=False, ids=(END,)))
