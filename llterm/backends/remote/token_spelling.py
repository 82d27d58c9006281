"""The bytes of tokens as vocabularies spell them, and of a text's tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llterm.backends.remote.answer import HINT, AnswerValue
from llterm.backends.remote.transport import BadAnswer
from llterm.core.tokens import Token

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _printable() -> dict[str, int]:
    """GPT-2's printable spelling of the 256 bytes: printable ones are themselves, the others
    stand in order from U+0100 on (as published with that model's code)."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + n): b for n, b in enumerate(others)}


_BYTES = _printable()


def vocabulary_bytes(spelling: str) -> bytes | None:
    """The bytes of a token spelled by GPT-2's table, or None where it is not."""
    try:
        return bytes(_BYTES[one] for one in spelling)
    except KeyError:
        return None


def piece_bytes(spelling: str) -> bytes:
    """The bytes of a SentencePiece token: `▁` is a space, `<0xNN>` a byte."""
    if found := _BYTE.fullmatch(spelling):
        return bytes.fromhex(found.group(1))
    return spelling.replace("▁", " ").encode("utf-8", "replace")


def spelled_bytes(spellings: Sequence[str], text: str) -> list[bytes]:
    """The bytes of a text's tokens, by whichever spelling gives the text."""
    known = [data for data in map(vocabulary_bytes, spellings) if data is not None]
    if len(known) == len(spellings) and b"".join(known) == text.encode():
        return known
    return [piece_bytes(spelling) for spelling in spellings]


def is_byte_level(spellings: Sequence[str]) -> bool:
    """Whether spaces or line breaks are written as in GPT-2's table."""
    return any("Ġ" in spelling or "Ċ" in spelling for spelling in spellings)


def guessed_bytes(spellings: Sequence[str]) -> list[bytes]:
    """The bytes of tokens whose text is not known, by the spelling that spaces and line breaks
    give away. Special tokens stand as they are."""
    if not is_byte_level(spellings):
        return [piece_bytes(spelling) for spelling in spellings]
    return [vocabulary_bytes(it) or it.encode("utf-8", "replace") for it in spellings]


def spread(pieces: Sequence[bytes | None], data: bytes) -> list[bytes] | None:
    """A text's bytes shared out among its tokens, where some tokens' bytes are not told.

    What lies between two known ones goes to the unknown ones before the second, a byte each and the
    first what is over; without any to the known one before, which had lost it. None where the
    known ones do not follow each other in the text.
    """
    shares: list[bytes] = []
    waiting = 0
    at = 0
    for piece in (*pieces, b""):
        if not piece and len(shares) + waiting < len(pieces):
            waiting += 1
            continue
        begin = data.find(piece, at) if piece else len(data)
        if begin < 0:
            return None
        shares += _shares(data[at:begin], waiting, shares)
        waiting = 0
        if piece:
            shares.append(piece)
        at = begin + len(piece or b"")
    return shares if b"".join(shares) == data else None


def token_ids(data: Any) -> list[int]:
    """The ids that a server's tokenizer tells. Raises BadAnswer."""
    return [one.whole() for one in AnswerValue(data)["tokens"].items()]


def paired(ids: Sequence[int], data: Sequence[bytes]) -> list[Token]:
    """Tokens by their ids and bytes. Raises BadAnswer where there are more of one than of the
    other."""
    if len(ids) != len(data):
        why = f"It tells {len(ids):,} tokens and the texts of {len(data):,}."
        raise BadAnswer("The server's answer cannot be read", why, HINT)
    return [Token(id, one) for id, one in zip(ids, data, strict=True)]


def _shares(gap: bytes, count: int, before: list[bytes]) -> list[bytes]:
    """The gap's bytes for `count` tokens; with none, the last one found takes them."""
    if not count:
        if gap and before:
            before[-1] += gap
        return []
    first = max(len(gap) - count + 1, 0)
    return [gap[:first], *(gap[first + n : first + n + 1] for n in range(count - 1))]
