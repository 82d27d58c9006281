"""Which texts say the same: so that near-duplicates need not fill a list of suggestions.

Two texts are alike where their words are the same, whatever the signs, spaces and capitals between
them; and, where both are long, where one word at most is another, or one too many.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

from llterm.core.beams import Beam
from llterm.core.tokens import Tail

LONG = 6
"""Words from which a text is long: one of them hardly makes a difference."""
WIDEST = 16
"""The search looks at up to this many times as many suggestions as are wanted, to find enough."""
_APOSTROPHES = "'’ʼ"

Words = tuple[str, ...]


@lru_cache(maxsize=1 << 14)
def wording(text: str) -> Words:
    """`words_of` a text that may come again."""
    return words_of(text)


def words_of(text: str) -> Words:
    """The words of a text, folded: no capitals, signs, spaces or forms of the same letter.

    Symbols and emoji are words' parts, not signs: they say something.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple("".join(map(_kept, folded)).split())


def _kept(character: str) -> str:
    """The character, a space where words end, nothing for an apostrophe."""
    if character in _APOSTROPHES:
        return ""
    kind = unicodedata.category(character)
    return " " if kind[0] in "PZC" or kind == "Sk" else character


def alike(first: Words, second: Words) -> bool:
    """Whether two wordings say the same; symmetric, but not transitive."""
    if first == second:
        return True
    short, long = sorted((first, second), key=len)
    if len(short) < LONG or len(long) - len(short) > 1:
        return False
    same = _common(short, long)
    rest = _common(short[same:][::-1], long[same:][::-1])
    return len(long) - same - rest <= 1


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def fold(
    finished: Sequence[Beam], most: int, before: str
) -> tuple[list[Beam], dict[Tail, list[Beam]]]:
    """The first `most` beams that differ in wording, and by the tail of each those like it.

    `finished`: most probable first. Each is folded into the first one that it is like; so what is
    kept does not hang on how many follow. `before` is the story's end: a word may begin there.
    """
    begun = before.split()[-1] if before and not before[-1].isspace() else ""
    distinct: list[Beam] = []
    words: dict[Words, Beam] = {}
    folded: dict[Tail, list[Beam]] = {}
    for beam in finished:
        said = wording(begun + beam.data.decode("utf-8", "replace"))
        like = words.get(said) or next((words[one] for one in words if alike(one, said)), None)
        if like is not None:
            folded.setdefault(like.tail, []).append(beam)
        elif len(distinct) < most:
            distinct.append(beam)
            words[said] = beam
    return distinct, folded
