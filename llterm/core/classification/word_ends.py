"""Where a label ends: `cat` is no answer where the text goes on as `catfish`.

After a letter or a digit a word goes on with a letter, a digit, an underscore or a mark; with
anything else, and where the text ends, it is over. Scripts that write no blanks between words have
no such ends: there, and after a sign, a label is over with its last character.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from llterm.core.distribution import Ids
from llterm.core.token_index import once_a_vocabulary
from llterm.core.tokens import Vocabulary

_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Thai and Lao, Myanmar, Khmer, kana and Chinese characters."""
_SIGNS = frozenset((0xC2, 0xE2, 0xF0))
"""First bytes of characters that are mostly signs, quotation marks and pictures. Of a token that is
no more than such a byte nobody knows which character it will be."""


def goes_on(text: str) -> bool:
    """Whether a word at the end of `text` may go on in what follows."""
    return bool(text) and _is_of_word(text[-1]) and not _is_unspaced(text[-1])


def continues(data: bytes) -> bool:
    """Whether these bytes, right after a word, belong to it. Nothing does not."""
    if not data or data[0] < 0x80:
        return data[:1].isalnum() or data[:1] == b"_"
    for size in range(2, min(len(data), 4) + 1):
        try:
            return _is_of_word(data[:size].decode())
        except UnicodeDecodeError:
            continue
    return data[0] >= 0xC0 and data[0] not in _SIGNS


@once_a_vocabulary
def word_ends(vocabulary: Vocabulary) -> Ids:
    """Ids, ascending, of the tokens before which a word is over: special ones and those that end
    the text are among them. Of a vocabulary that is whole."""
    tokens = map(vocabulary.token, range(vocabulary.size))
    ended = [token.id for token in tokens if token.special or not continues(token.data)]
    return np.array(ended, np.int32)


def _is_of_word(character: str) -> bool:
    return (
        character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
    )


def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)
