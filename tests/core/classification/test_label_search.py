"""A label has all that its spellings have where a word ends, and what a longer label has is not its
own; held against every path that there is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.backends.scripted import listed
from llterm.core.classification.label_search import LabelPrompt, LabelSearch
from llterm.core.classification.word_ends import continues, goes_on
from llterm.core.distribution import Logprobs
from llterm.core.query import Fact
from llterm.core.tokens import Anchor, Tail, text_bytes
from tests.helpers.random_model import RandomModel

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", " a", "ab", ".", "é", "bea", "!"]), min_size=1,
             max_size=3).map("".join),
    min_size=1, max_size=4, unique=True,
)  # fmt: skip
PROMPTS = st.lists(
    st.lists(st.integers(1, 16), max_size=2).map(tuple), min_size=1, max_size=2, unique=True
)


class EvenModel(RandomModel):
    """Whose rows add up to 1 as exactly as can be: what a text leaves and what goes on are one."""

    @lru_cache(maxsize=20_000)  # noqa: B019 (it lives as long as its test)
    def logprobs(self, tokens: Tail) -> Logprobs:
        row = super().logprobs(tokens).astype(np.float64)
        even: Logprobs = row - np.log(np.exp(row).sum())
        return even


def searched(
    model: RandomModel, prompts: Sequence[Tail], texts: Sequence[str], room: int = 7
) -> tuple[LabelSearch, set[Tail]]:
    """The search when it is done, and the tails that it asked about."""
    data = tuple(text.encode() for text in texts)
    search = LabelSearch(
        model, Anchor((0,)), [LabelPrompt(prompt, data) for prompt in prompts], rows=True
    )
    asked: set[Tail] = set()
    while queries := search.wants(room):
        for query in reversed(queries):
            asked.add(query.path.tail)
            row = model.logprobs(query.path.tokens)
            search.learn(Fact(query.path, listed(row, query.keep, query.mask, full=query.full)))
    assert search.done
    return search, asked


def outcomes(
    model: RandomModel, prompt: Tail, texts: Sequence[str], asked: set[Tail] | None
) -> Iterator[tuple[str, float]]:
    """Each way to go on until it is sure which text it is, with its probability: every token at
    every place; with `asked`, only at places that were asked about."""
    waiting: list[tuple[Tail, float]] = [((), 1.0)]
    while waiting:
        path, p = waiting.pop()
        written = text_bytes(model, path)
        over = bool(path) and model.token(path[-1]).special
        said, unsure = [], False
        for text in texts:
            data = text.encode()
            if written == data:
                unsure |= goes_on(text) and not over
            elif data.startswith(written):
                unsure |= not over
            if written.startswith(data) and not (goes_on(text) and continues(written[len(data) :])):
                said.append(text)
        if not unsure:
            if said:
                yield max(said, key=len), p
        elif asked is None or prompt + path in asked:
            row = model.logprobs((0, *prompt, *path))
            waiting += [((*path, id), p * math.exp(row[id])) for id in range(model.size)]
        elif said and not any(written == text.encode() and goes_on(text) for text in said):
            # Whatever comes, it is said: only a longer one could take it.
            yield max(said, key=len), p


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), texts=TEXTS, prompts=PROMPTS, room=st.integers(1, 40))
def test_a_label_has_what_brute_force_finds(
    seed: int, texts: list[str], prompts: list[Tail], room: int
) -> None:
    model = EvenModel(seed)
    search, asked = searched(model, prompts, texts, room)
    for place, prompt in enumerate(prompts):
        same_rows, all_rows = dict.fromkeys(texts, 0.0), dict.fromkeys(texts, 0.0)
        for text, p in outcomes(model, prompt, texts, asked):
            same_rows[text] += p
        for text, p in outcomes(model, prompt, texts, None):
            all_rows[text] += p
        for text, mass in zip(texts, search.masses(place), strict=True):
            p = math.exp(mass.logprob)
            assert p == pytest.approx(same_rows[text], rel=1e-9, abs=1e-12)
            assert abs(all_rows[text] - p) <= mass.unseen * (1 + 1e-9) + 1e-12
