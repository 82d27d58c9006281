"""Near duplicates are those that share most of their words in threes."""

from __future__ import annotations

import random
from collections.abc import Sequence

from llterm.core.near_duplicates import ALIKE, WORDS, TextSignatures

WORDING = [f"word{number}" for number in range(400)]


def share(first: Sequence[str], second: Sequence[str]) -> float:
    """Of the threes of both (Jaccard)."""
    one, other = (
        {tuple(words[at : at + WORDS]) for at in range(max(len(words) - WORDS + 1, 1))}
        for words in (first, second)
    )
    return len(one & other) / len(one | other)


def test_alike_is_what_shares_enough_of_its_threes() -> None:
    chance = random.Random(1)
    texts: list[list[str]] = []
    for _ in range(40):
        text = chance.choices(WORDING, k=chance.randint(30, 120))
        texts.append(text)
        for changes in (1, 3, 12):
            changed = list(text)
            for at in chance.sample(range(len(text)), changes):
                changed[at] = chance.choice(WORDING)
            texts.append(changed)
    signatures = TextSignatures()
    for text in texts:
        signatures.add(text)
    order = list(range(len(texts)))
    chance.shuffle(order)
    first = signatures.alike(order)
    kept: list[int] = []
    for number in order:
        nearest = max((share(texts[number], texts[other]) for other in kept), default=0.0)
        like = int(first[number])
        if like >= 0:
            assert share(texts[number], texts[like]) > ALIKE - 0.15
            assert order.index(like) < order.index(number)
            assert first[like] == -1
        else:
            assert nearest < ALIKE + 0.15
            kept.append(number)
    assert 40 <= len(kept) < 130


def test_short_texts_are_alike_where_they_are_equal() -> None:
    signatures = TextSignatures()
    for words in ((), ("a",), ("a",), ("a", "b"), ("b", "a"), ()):
        signatures.add(words)
    assert signatures.alike(range(6)).tolist() == [-1, -1, 1, -1, -1, 0]
