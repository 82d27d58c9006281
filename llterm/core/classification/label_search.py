"""Search for the probability of each of a few labels after a prompt, or after several at once.

A label is said where the tokens to come begin with one of its spellings and the word is over there
(`word_ends.py`). Its probability is the sum over every token path that does so, a last token that
holds the end and something after it among them; nothing is renormalised. Where one spelling begins
with another, the text belongs to the longest that it begins with: what the longer one has, the
shorter one has not. Pure: questions out, facts in, as of `Weave`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from llterm.core.classification.word_ends import continues, goes_on, word_ends
from llterm.core.distribution import Distribution, Ids, Mask
from llterm.core.query import Fact, Query
from llterm.core.spelled_sum import UNSEEN, SpelledSum, log_sum
from llterm.core.token_index import token_index
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary

LISTED = 200
"""Candidates asked of a server that does not tell whole rows, to see whether a word is over."""
WANTED = 3
"""First tokens told of what the model would rather have said."""


@dataclass(frozen=True, slots=True)
class LabelPrompt:
    """A place where a label is to be said."""

    tail: Tail
    """Tokens between the anchor and the label."""
    texts: tuple[bytes, ...]
    """Every spelling of every label, each once, with the blank before it."""
    paths: tuple[Tail, ...] = ()
    """The tokenizer's own tokens for each text, where no others count, nor what follows them."""


@dataclass(frozen=True, slots=True)
class TextMass:
    """What a model gives to one spelling."""

    logprob: float
    """The natural log of its probability."""
    unseen: float
    """What was not looked at may add so much probability."""


@dataclass(slots=True, eq=False)
class _LabelText:
    """One spelling, as far as it was followed."""

    data: bytes
    path: Tail | None
    ends: bool
    """Whether it is over only where what follows says so."""
    sum: SpelledSum = field(default_factory=SpelledSum)


@dataclass(frozen=True, slots=True, eq=False)
class _Beginning:
    """A token path that may become some of the texts."""

    place: int
    """Which prompt it is after."""
    tail: Tail
    """From the anchor on."""
    written: bytes
    taken: int
    """Tokens after the prompt."""
    logprob: float
    texts: tuple[_LabelText, ...]

    @property
    def ends_here(self) -> bool:
        """Whether one of the texts is written."""
        return any(text.data == self.written for text in self.texts)


class LabelSearch:
    """All labels after all prompts of one anchor."""

    def __init__(
        self, vocabulary: Vocabulary, anchor: Anchor, prompts: Sequence[LabelPrompt], *, rows: bool
    ) -> None:
        """`rows`: the source tells whole rows; otherwise it takes masks. The prompts differ, and
        the vocabulary is whole."""
        self.anchor = anchor
        self._vocabulary = vocabulary
        self._rows = rows
        self._index = token_index(vocabulary)
        self._texts = [
            tuple(
                _LabelText(text, path, path is None and goes_on(text.decode("utf-8", "replace")))
                for text, path in zip(prompt.texts, prompt.paths or repeat(None), strict=False)
            )
            for prompt in prompts
        ]
        self._open: dict[Tail, list[_Beginning]] = {}
        self._pending: dict[Tail, list[_Beginning]] = {}
        self._masks: dict[Tail, Mask] = {}
        """Of what is pending."""
        self._roots: dict[Tail, Distribution] = {}
        self._tails = [prompt.tail for prompt in prompts]
        for place, (prompt, texts) in enumerate(zip(prompts, self._texts, strict=True)):
            self._push(_Beginning(place, prompt.tail, b"", 0, 0.0, texts))

    @property
    def done(self) -> bool:
        """Whether nothing more is worth asking."""
        return not self._pending and not self._worth()

    def masses(self, place: int) -> list[TextMass]:
        """What each text has after one of the prompts, as far as is known."""
        texts = self._texts[place]
        if texts and texts[0].path is not None:
            return [TextMass(text.sum.logprob, text.sum.unseen) for text in texts]
        own: dict[bytes, TextMass] = {}
        for text in sorted(texts, key=lambda each: -len(each.data)):
            longer = [mass for data, mass in own.items() if _holds(text, data)]
            own[text.data] = TextMass(
                _difference(text.sum.logprob, log_sum(mass.logprob for mass in longer)),
                math.fsum([text.sum.unseen, *(mass.unseen for mass in longer)]),
            )
        return [own[text.data] for text in texts]

    def first(self, place: int) -> Sequence[tuple[bytes, float]]:
        """What the model would begin with after a prompt, most probable first, with probabilities;
        nothing until that is known."""
        root = self._roots.get(self._tails[place])
        if root is None:
            return ()
        best = zip(root.ids[:WANTED].tolist(), root.logprobs[:WANTED].tolist(), strict=True)
        return [(self._vocabulary.token(id).data, math.exp(logprob)) for id, logprob in best]

    def wants(self, room: int, lines: int = 0, abreast: int = 1) -> list[Query]:
        """Up to `room` questions worth asking now. Each stays open until learned or released."""
        tails = self._worth()[:room]
        for tail in tails:
            self._pending[tail] = self._open.pop(tail)
        return [self._query(tail) for tail in tails]

    def learn(self, fact: Fact) -> None:
        """Take in a distribution; one that nobody waits for is passed over."""
        tail, distribution = fact.path.tail, fact.distribution
        waiting = [*self._pending.pop(tail, ()), *self._open.pop(tail, ())]
        row = _Row(distribution, self._masks.pop(tail, None))
        for beginning in waiting:
            if not beginning.taken:
                self._roots[tail] = distribution
            self._follow(beginning, row)

    def release(self, queries: Iterable[Query]) -> None:
        """These were cancelled: they are open again."""
        for query in queries:
            if (beginnings := self._pending.pop(query.path.tail, None)) is not None:
                self._open[query.path.tail] = beginnings

    def refuse(self, tail: Tail) -> None:
        """The source cannot answer this: what it might add stays unseen."""
        self._pending.pop(tail, None)

    # --- inner workings

    def _push(self, beginning: _Beginning) -> None:
        known = self._pending if beginning.tail in self._pending else self._open
        known.setdefault(beginning.tail, []).append(beginning)
        for text in beginning.texts:
            text.sum.leading[beginning.tail] = beginning.logprob

    def _worth(self) -> list[Tail]:
        """Open beginnings that a text waits for, most probable first. The least of a text's, which
        together could hardly add to its best, wait for what comes of that."""
        chances: dict[Tail, float] = {}
        for texts in self._texts:
            for text in texts:
                if text.sum.settled:
                    continue
                leading = sorted(text.sum.leading.items(), key=lambda item: (item[1], item[0]))
                best = max(text.sum.logprob, leading[-1][1])
                passed = 0.0
                for tail, logprob in leading:
                    passed += math.exp(logprob - best)
                    if passed > UNSEEN and tail in self._open:
                        chances[tail] = max(chances.get(tail, -math.inf), logprob)
        return sorted(chances, key=lambda tail: (-chances[tail], tail))

    def _query(self, tail: Tail) -> Query:
        path = Path(self.anchor, tail)
        if self._rows:
            return Query(path, keep=WANTED, full=True)
        beginnings = self._pending[tail]
        further = {id for each in beginnings for id in self._spelling(each)}
        if not further or any(each.ends_here for each in beginnings):
            return Query(path, keep=LISTED, need=LISTED)
        allowed = np.zeros(self._vocabulary.size, np.bool_)
        allowed[list(further)] = True
        mask = self._masks[tail] = Mask(allowed)
        return Query(path, keep=len(further), mask=mask, need=len(further))

    def _spelling(self, beginning: _Beginning) -> Iterator[int]:
        """The tokens that go on with one of its texts, or say its last bytes and the end."""
        for text in beginning.texts:
            yield from self._steps(text, beginning)
            yield from self._overruns(text, beginning)

    def _steps(self, text: _LabelText, beginning: _Beginning) -> dict[int, int]:
        """The tokens that spell a text further: ids, and how many bytes of it each is."""
        if text.path is not None:
            id = text.path[beginning.taken]
            return {id: len(self._vocabulary.token(id).data)}
        return dict(self._index.spelling(text.data[len(beginning.written) :]))

    def _overruns(self, text: _LabelText, beginning: _Beginning) -> Iterator[int]:
        """The tokens that say a text's last bytes and something that it is over with."""
        if text.path is None:
            for id, over in self._index.longer(text.data[len(beginning.written) :]):
                if not (text.ends and continues(over)):
                    yield id

    def _follow(self, beginning: _Beginning, row: _Row) -> None:
        """Take in what may come after a beginning."""
        further: dict[int, list[_LabelText]] = {}
        sizes: dict[int, int] = {}
        for text in beginning.texts:
            text.sum.leading.pop(beginning.tail, None)
            if text.data == beginning.written:
                ended = row.mass(word_ends(self._vocabulary))
                text.sum.logprobs.append(beginning.logprob + ended)
                text.sum.hidden += math.exp(beginning.logprob) * row.unlisted
                continue
            steps, overruns = self._steps(text, beginning), [*self._overruns(text, beginning)]
            sizes |= steps
            for id in steps:
                further.setdefault(id, []).append(text)
            text.sum.logprobs += [beginning.logprob + row.logprob(id) for id in overruns]
            if not all(map(row.lists, (*steps, *overruns))):
                text.sum.hidden += math.exp(beginning.logprob) * row.unlisted
        for id, texts in further.items():
            if (logprob := beginning.logprob + row.logprob(id)) > -math.inf:
                self._go_on(beginning, id, sizes[id], logprob, texts)

    def _go_on(
        self, beginning: _Beginning, id: int, size: int, logprob: float, texts: list[_LabelText]
    ) -> None:
        """One token further; texts that are over with it have it."""
        start, taken = len(beginning.written), beginning.taken + 1
        written = texts[0].data[: start + size]
        left: list[_LabelText] = []
        for text in texts:
            if text.data == written and not text.ends and len(text.path or ()) in (0, taken):
                text.sum.logprobs.append(logprob)
            else:
                left.append(text)
        if left:
            tail = (*beginning.tail, id)
            self._push(_Beginning(beginning.place, tail, written, taken, logprob, tuple(left)))


class _Row:
    """What is told of the tokens at one place."""

    def __init__(self, distribution: Distribution, mask: Mask | None) -> None:
        """`mask`: what was asked under, where whole rows are not told."""
        self._full = distribution.full
        self._listed: dict[int, float] = {}
        self.unlisted = 0.0
        """The most probability that tokens have together which are not listed."""
        if self._full is None:
            ids = distribution.ids
            self._listed = dict(zip(ids.tolist(), distribution.logprobs.tolist(), strict=True))
            self.unlisted = max(distribution.rest, 0.0)
            if mask is not None:
                told = np.exp(distribution.logprobs[mask.allowed[ids]].astype(np.float64)).sum()
                self.unlisted = max(distribution.permitted - float(told), 0.0)

    def lists(self, id: int) -> bool:
        """Whether a token's probability is told."""
        return self._full is not None or id in self._listed

    def logprob(self, id: int) -> float:
        """Of one token; −∞ where it is not told."""
        if self._full is not None:
            return float(self._full[id])
        return self._listed.get(id, -math.inf)

    def mass(self, ids: Ids) -> float:
        """The natural log of what these tokens have together, as far as it is told."""
        if self._full is not None:
            p = float(np.exp(self._full[ids].astype(np.float64)).sum())
            return math.log(p) if p > 0 else -math.inf
        return log_sum(self._listed[id] for id in set(ids.tolist()) & self._listed.keys())


def _holds(text: _LabelText, longer: bytes) -> bool:
    """Whether whatever is the longer text is this one too."""
    over = longer[len(text.data) :]
    return bool(over) and longer.startswith(text.data) and not (text.ends and continues(over))


def _difference(logprob: float, less: float) -> float:
    """The natural log of what is left of a probability without a part of it."""
    if less == -math.inf:
        return logprob
    return logprob + math.log1p(-math.exp(less - logprob)) if less < logprob else -math.inf
