"""Asks a model for the labels of texts: all questions about a text in one search."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from llterm.core.chat_messages import Chat, chat_draft
from llterm.core.classification.calibrations import (
    ContextualCalibration,
    Normalizer,
    TemperatureCalibration,
)
from llterm.core.classification.classify_settings import ClassifySettings
from llterm.core.classification.label_search import LabelPrompt, LabelSearch, TextMass
from llterm.core.classification.question_template import (
    label_orders,
    listed_labels,
    spelled_after,
    stem,
)
from llterm.core.classification.verdicts import AskedLabels, LabelJudge, LabelScores
from llterm.core.classification.word_ends import word_ends
from llterm.core.distribution import Reals
from llterm.core.prompt import MARGIN, hidden_draft
from llterm.core.query import Backend, Cost
from llterm.core.spelled_sum import log_sum
from llterm.core.token_index import token_index
from llterm.core.tokens import Anchor, Tail, common, draft_tokens, end_ids
from llterm.engine.prompt_heads import answering_chat
from llterm.engine.weave import drive
from llterm.errors import CapabilityMissing, LltermError

Scores = Sequence[LabelScores]
"""Of one text, for each thing that is asked."""
Hear = Callable[[Scores], None]


@dataclass(frozen=True, slots=True)
class _Filled:
    """A prompt with its labels' spellings, before what all prompts of a text share is known."""

    tokens: Tail
    texts: tuple[bytes, ...]
    paths: tuple[Tail, ...]
    owners: tuple[int, ...]
    """Which label each text spells."""


class TextRefused(LltermError):
    """A text that cannot be asked about, while others can."""


class Classifier:
    """Labels for text after text, by one model."""

    def __init__(self, source: Backend, settings: ClassifySettings) -> None:
        """Raises UsageError where nothing can be asked so, CapabilityMissing where this model
        cannot be asked."""
        settings.check()
        self._source = source
        self._settings = settings
        self.asked = settings.asked
        self.spent = Cost()
        self._longest = 0
        """Bytes of the longest token; 0 until that is known."""
        can = source.capabilities
        self._searches = can.full_vocabulary or can.masks
        if not self._searches and (settings.spellings == "all" or not can.score):
            raise _cannot_classify(source.name, scores=can.score)

    async def judges(self) -> list[LabelJudge]:
        """What makes verdicts of this model's scores; asks the model where a normalisation or a
        calibration needs it. Raises LltermError."""
        settings = self._settings
        judges = [
            LabelJudge(
                asked,
                Normalizer(settings.normalize, *await self._sizes(asked)),
                threshold=settings.threshold,
                kind=settings.calibrate,
            )
            for asked in self.asked
        ]
        if settings.normalize == "pmi":
            premises = await self._premises()
            for judge, premise in zip(judges, premises, strict=True):
                judge.normalizer = replace(judge.normalizer, premise=premise)
        if settings.calibrate == "contextual":
            texts = [text for text in settings.content_free if self._says_something(text)]
            rows = [await self.scores(text) for text in texts]
            for place, judge in enumerate(judges):
                scores = judge.scores([row[place] for row in rows])
                judge.calibration = ContextualCalibration.of(scores)
        if settings.calibrate == "temperature" and settings.temperature is not None:
            for judge in judges:
                judge.calibration = TemperatureCalibration(settings.temperature)
        return judges

    async def scores(self, text: str, hear: Hear | None = None) -> Scores:
        """What the labels have after a text, for each thing asked. `hear` is told meanwhile how
        much is known. Raises LltermError. Cancelling stops it."""
        await self._prepare()
        orders = [
            (place, asked, order)
            for place, asked in enumerate(self.asked)
            for order in self._orders(asked)
        ]
        prompts = [
            await self._filled(self._prompt(text, asked, order), asked)
            for _, asked, order in orders
        ]
        places = [place for place, _, _ in orders]
        return await self._scored(prompts, places, hear)

    # --- inner workings

    async def _prepare(self) -> None:
        """Look through the vocabulary, where labels are searched, beside the event loop."""
        if self._searches and not self._longest:
            index = await asyncio.to_thread(token_index, self._source.vocabulary)
            await asyncio.to_thread(word_ends, self._source.vocabulary)
            self._longest = index.longest

    async def _scored(
        self, prompts: Sequence[_Filled], places: Sequence[int], hear: Hear | None
    ) -> Scores:
        longest = max(len(prompt.tokens) for prompt in prompts)
        self._check_room(longest)
        if not self._searches:
            masses = [await self._read(prompt) for prompt in prompts]
            return _averaged(prompts, places, masses, [()] * len(prompts))
        shared = min(common(prompts[0].tokens, prompt.tokens) for prompt in prompts)
        search = LabelSearch(
            self._source.vocabulary,
            Anchor(prompts[0].tokens[:shared]),
            [LabelPrompt(each.tokens[shared:], each.texts, each.paths) for each in prompts],
            rows=self._source.capabilities.full_vocabulary,
        )

        def known() -> Scores:
            numbers = range(len(prompts))
            first = [tuple(search.first(number)) for number in numbers]
            return _averaged(prompts, places, [search.masses(number) for number in numbers], first)

        async for cost in drive(search, self._source):
            self.spent += cost
            if hear is not None:
                hear(known())
        return known()

    async def _read(self, prompt: _Filled) -> list[TextMass]:
        """By scoring the tokenizer's own spelling of each label as text."""
        masses: list[TextMass] = []
        for path in prompt.paths:
            tokens, first = prompt.tokens + path, len(prompt.tokens)
            logprobs: list[float] = []
            async with aclosing(self._source.score(tokens, first, 1)) as scores:
                async for scored in scores:
                    logprobs.append(scored.logprob)
                    self.spent += scored.cost
            if len(logprobs) < len(path) or not all(map(math.isfinite, logprobs)):
                raise _cannot_classify(self._source.name, scores=False)
            masses.append(TextMass(math.fsum(logprobs), 0.0))
        return masses

    def _orders(self, asked: AskedLabels) -> Sequence[tuple[int, ...]]:
        settings = self._settings
        return label_orders(len(settings.labels_of(asked)), settings.orders, settings.seed)

    def _prompt(self, text: str, asked: AskedLabels, order: Sequence[int]) -> str:
        labels = self._settings.labels_of(asked)
        return self._settings.template.filled(
            {
                "text": text,
                "question": asked.question,
                "labels": listed_labels([labels[place] for place in order]),
                "label": asked.about.told if asked.about is not None else "",
            }
        )

    async def _filled(self, prompt: str, asked: AskedLabels) -> _Filled:
        """A prompt's tokens, and what is to be spelled after them."""
        if self._settings.chat is None:
            return await self._spelled(await self._begun(prompt), prompt, asked)
        return await self._spelled(*await self._opened(prompt), asked)

    async def _begun(self, text: str) -> Tail:
        """The tokens of a text up to where a label begins."""
        vocabulary = self._source.vocabulary
        self._check_size(text)
        head = await draft_tokens(hidden_draft(self._settings.prefix, vocabulary), vocabulary)
        tokens = head + await vocabulary.tokenize(_data(stem(text)))
        # A model that begins with nothing begins after the end of another text.
        return tokens or end_ids(vocabulary)[:1]

    def _chat(self, message: str) -> Chat:
        """What is said up to the reply; empty where that is nothing."""
        assert self._settings.chat is not None
        return replace(self._settings.chat, message=message).with_prefix(self._settings.prefix)

    def _says_something(self, text: str) -> bool:
        """Whether a prompt of this text can be asked about: a chat begins with something said."""
        if self._settings.chat is None:
            return True
        prompts = (self._prompt(text, asked, self._orders(asked)[0]) for asked in self.asked)
        return all(map(self._chat, prompts))

    async def _opened(self, message: str) -> tuple[Tail, str]:
        """The tokens of a chat up to the reply, and what its last one ends in."""
        vocabulary, chat = self._source.vocabulary, self._chat(message)
        if not chat:
            raise TextRefused("Nothing is said to the model", "The text is empty.", "")
        self._check_size(message)
        parts = await answering_chat(self._source, chat)
        tokens = await draft_tokens(chat_draft(parts, vocabulary), vocabulary)
        last = vocabulary.token(tokens[-1])
        return tokens, "" if last.special else last.data.decode("utf-8", "replace").rstrip(" \t")

    async def _spelled(self, tokens: Tail, before: str, asked: AskedLabels) -> _Filled:
        """`before`: the end of what the tokens say, and the blanks after that."""
        vocabulary = self._source.vocabulary
        owners = [place for place, label in enumerate(asked.labels) for _ in label.spellings]
        texts = [
            _data(spelled_after(before, spelling))
            for label in asked.labels
            for spelling in label.spellings
        ]
        distinct = dict(zip(texts, owners, strict=True))
        paths: tuple[Tail, ...] = ()
        if self._settings.spellings == "canonical":
            paths = tuple([await vocabulary.tokenize(text) for text in distinct])
        return _Filled(tokens, tuple(distinct), paths, tuple(distinct.values()))

    async def _sizes(self, asked: AskedLabels) -> tuple[Reals, Reals]:
        """Of each label's name: bytes, and tokens of its own spelling after a word."""
        names = [_data(label.spellings[0].strip()) for label in asked.labels]
        tokens = [len(await self._source.vocabulary.tokenize(b" " + name)) for name in names]
        return np.array([len(name) for name in names], float), np.array(tokens, float)

    async def _premises(self) -> list[Reals]:
        """What the labels have where the premise stands in the template's place, spelled as there.
        A chat has to say something: without a premise that is the template of no text."""
        settings, prompts = self._settings, list[_Filled]()
        for asked in self.asked:
            if settings.chat is None:
                begun = await self._begun(settings.premise)
                prompts.append(await self._spelled(begun, settings.template.source, asked))
            else:
                empty = self._prompt("", asked, self._orders(asked)[0])
                prompts.append(await self._filled(settings.premise or empty, asked))
        scores = await self._scored(prompts, range(len(prompts)), None)
        return [np.array(each.logprobs) for each in scores]

    def _check_size(self, text: str) -> None:
        """Refuse what cannot fit before it is cut into tokens."""
        if self._longest:
            self._check_room(len(_data(text)) // self._longest, "or more ")

    def _check_room(self, tokens: int, more: str = "") -> None:
        room = self._source.capabilities.context - MARGIN
        if tokens > room:
            raise TextRefused(
                "A text is too long for the model",
                f"With its template it has {tokens:,} {more}tokens, and {room:,} fit before a"
                " label.",
                "Shorten it, or set a larger --context.",
            )


def _averaged(
    prompts: Sequence[_Filled],
    places: Sequence[int],
    masses: Sequence[Sequence[TextMass]],
    first: Sequence[tuple[tuple[bytes, float], ...]],
) -> list[LabelScores]:
    """The labels' own, spellings added up, and the mean over a question's orders."""
    scores: list[LabelScores] = []
    for place in range(max(places) + 1):
        numbers = [number for number, each in enumerate(places) if each == place]
        count = len(numbers)
        labels = range(max(prompts[numbers[0]].owners) + 1)
        of_label = [
            [mass for number in numbers
             for owner, mass in zip(prompts[number].owners, masses[number], strict=True)
             if owner == label]
            for label in labels
        ]  # fmt: skip
        scores.append(
            LabelScores(
                tuple(log_sum(mass.logprob for mass in own) - math.log(count) for own in of_label),
                tuple(math.fsum(mass.unseen for mass in own) / count for own in of_label),
                first[numbers[0]],
            )
        )
    return scores


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _cannot_classify(name: str, *, scores: bool) -> CapabilityMissing:
    title = f"{name} cannot be asked for labels"
    if scores:
        return CapabilityMissing(
            title,
            "Its server tells only its likeliest tokens, and labels may be others.",
            "Choose --spellings canonical, which reads each label as text.",
        )
    return CapabilityMissing(
        title,
        "Its server does not tell the probability of a given text.",
        "llama.cpp's server, vLLM and servers with `echo` can; or a model in process.",
    )
