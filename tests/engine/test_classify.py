"""Labels by real models: as their paths decoded alone, a text evaluated once for all questions."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.scripted import ScriptedBackend, listed
from llterm.core.chat_messages import Chat, ChatPart, ChatParts
from llterm.core.classification.classify_settings import ClassifySettings, LabelQuestion
from llterm.core.classification.labels import typed_label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.core.classification.verdicts import LabelScores, verdicts
from llterm.core.conversation import Conversation
from llterm.core.query import Capabilities, Fact, Failed, Query
from llterm.engine.classify import Classifier, Scores, TextRefused
from llterm.errors import CapabilityMissing
from tests.helpers.plain_decoder import PlainDecoder, counted

ALIKE = ("the", "there", "them", "the sea", "the sea and", "a", "an old", "nobody")
TEXT = "Once upon a time the fox and the old woman went down to the shore to look for"


def settings(
    labels: Sequence[str] = ALIKE, template: str = "{text}", questions: Sequence[str] = ("",),
    **others: object,
) -> ClassifySettings:  # fmt: skip
    given = tuple(map(typed_label, labels))
    asked = tuple(LabelQuestion(text, given) for text in questions)
    return ClassifySettings(asked, QuestionTemplate(template), **others)  # type: ignore[arg-type]


class DecodedAlone:
    """The same model, every path in a context of its own."""

    name = "alone"
    capabilities = Capabilities(full_vocabulary=True)

    def __init__(self, backend: LlamaBackend, plain: PlainDecoder) -> None:
        self.vocabulary = backend.vocabulary
        self._plain = plain

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            row = self._plain.logprobs(query.path.tokens)
            yield Fact(query.path, listed(row, query.keep, full=query.full))


async def scores_of(source: object, how: ClassifySettings, text: str = TEXT) -> Scores:
    return await Classifier(source, how).scores(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("spellings", ["all", "canonical"])
async def test_labels_that_begin_alike_are_as_their_paths_decoded_alone(
    backend: LlamaBackend, plain: PlainDecoder, spellings: str
) -> None:
    how = settings(spellings=spellings)
    (together,) = await scores_of(backend, how)
    (alone,) = await scores_of(DecodedAlone(backend, plain), how)
    assert together.logprobs == pytest.approx(alone.logprobs, abs=2e-3)
    assert max(math.exp(p) for p in together.logprobs) > 0.01
    for logprob, unseen in zip(together.logprobs, together.unseen, strict=True):
        assert unseen <= 4e-4 * math.exp(logprob)
    assert together.mass < 1


async def test_the_tokenizers_own_spelling_is_the_labels_score_as_text(
    backend: LlamaBackend,
) -> None:
    (found,) = await scores_of(backend, settings(spellings="canonical"))
    vocabulary = backend.vocabulary
    prompt = vocabulary.prefix + vocabulary.encode(TEXT.encode())
    for label, logprob in zip(ALIKE, found.logprobs, strict=True):
        tokens = prompt + vocabulary.encode(f" {label}".encode())
        scored = [each.logprob async for each in backend.score(tokens, len(prompt))]
        assert logprob == pytest.approx(math.fsum(scored), abs=2e-3)


async def test_a_text_is_evaluated_once_for_all_questions_and_labels(
    backend: LlamaBackend,
) -> None:
    questions = [f"Who is it, {name}?" for name in ("a", "the fox", "the sea", "a king", "wind")]
    how = settings(ALIKE, "{text}\n{question}", questions, spellings="canonical")
    classifier = Classifier(backend, how)
    with counted() as decodes:
        found = await classifier.scores(TEXT * 6)
    assert len(found) == len(questions)
    size = len(backend.vocabulary.encode((TEXT * 6).encode()))
    rest = sum(len(backend.vocabulary.encode(each.encode())) + 2 for each in questions)
    labels = sum(len(backend.vocabulary.encode(f" {each}".encode())) for each in ALIKE)
    assert decodes.tokens <= size + rest + labels * len(questions)
    assert len(decodes.sizes) <= 8


class Lists(ScriptedBackend):
    """Tells no whole rows, as a server that takes masks."""

    def __init__(self, *, masks: bool = True) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, full_vocabulary=False, masks=masks)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        assert not any(query.full for query in queries)
        async for answer in super().ask(queries):
            yield answer


LAMPS = ("the", "the river", "the maker", "lamp", "cat")


async def test_where_rows_are_not_told_a_bound_is() -> None:
    text = "Every evening the cat counted"
    (whole,) = await scores_of(ScriptedBackend(), settings(LAMPS), text)
    (found,) = await scores_of(Lists(), settings(LAMPS), text)
    for exact, logprob, unseen in zip(whole.logprobs, found.logprobs, found.unseen, strict=True):
        assert math.exp(logprob) <= math.exp(exact) * (1 + 1e-4) <= (
            math.exp(logprob) + unseen) * (1 + 3e-4)  # fmt: skip
        assert unseen < 0.2 * math.exp(exact)


async def test_without_masks_labels_are_read_as_text_or_refused() -> None:
    canonical = settings(LAMPS, spellings="canonical")
    (whole,) = await scores_of(ScriptedBackend(), canonical, "the cat")
    (read,) = await scores_of(Lists(masks=False), canonical, "the cat")
    assert read.logprobs == pytest.approx(whole.logprobs, abs=1e-5)
    with pytest.raises(CapabilityMissing, match="labels"):
        Classifier(Lists(masks=False), settings(LAMPS))


class Thinks(ScriptedBackend):
    """Its template begins a reply with thoughts."""

    def __init__(self, begun: str) -> None:
        super().__init__()
        self._begun = begun
        self.said: list[bytes] = []

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        said = conversation.messages[-1]["content"]
        return (ChatPart(said, written=True), ChatPart(self._begun, written=False))

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            tokens = map(self.vocabulary.token, query.path.tokens)
            self.said.append(b"".join(token.data for token in tokens if not token.special))
        async for answer in super().ask(queries):
            yield answer


@pytest.mark.parametrize(
    ("begun", "closed"),
    [
        ("\nBot:\n<think>\n", "\nBot:\n<think>\n\n</think>\n\n"),
        ("\nBot: [THINK]", "\nBot: [THINK]\n\n[/THINK]\n\n"),
        ("\n<|start|>assistant", "\n<|start|>assistant<|channel|>final<|message|>"),
        ("\n<think>\n\n</think>\n\n", "\n<think>\n\n</think>\n\n"),
        ("\nBot:", "\nBot:"),
    ],
)
async def test_in_a_chat_the_label_is_the_reply_after_the_thoughts(begun: str, closed: str) -> None:
    model = Thinks(begun)
    how = settings(LAMPS, "Say <think>: {text}", chat=Chat("Be short."))
    await scores_of(model, how, "cat?")
    beginning = f"Say <think>: cat?{closed}".encode()
    assert model.said[0] == beginning
    first = {said[len(beginning) :][:1] for said in model.said[1:]}
    # A blank stands before it only where the reply follows on text.
    assert (b" " in first) == (not closed.endswith("\n"))
    assert all(said.startswith(beginning) for said in model.said)


async def test_orders_of_the_labels_are_averaged() -> None:
    template = "{labels}\n{text}"
    labels = ("cat", "lamp", "river")
    each: list[LabelScores] = []
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turned = [labels[place] for place in order]
        (scores,) = await scores_of(ScriptedBackend(), settings(turned, template), "the")
        back = [order.index(place) for place in range(3)]
        each.append(
            LabelScores(*(tuple(np.array(part)[back]) for part in (scores.logprobs, scores.unseen)))
        )
    how = settings(labels, template, orders=3)
    (found,) = await scores_of(ScriptedBackend(), how, "the")
    mean = [sum(math.exp(one.logprobs[n]) for one in each) / 3 for n in range(3)]
    assert [math.exp(p) for p in found.logprobs] == pytest.approx(mean)


async def test_of_several_labels_each_is_asked_about_by_itself() -> None:
    how = settings(LAMPS, "{text} {label} or not:", several=True, threshold=0.4)
    classifier = Classifier(ScriptedBackend(), how)
    found = await classifier.scores("the cat")
    (said,) = verdicts(await classifier.judges(), [found])
    (verdict,) = said
    assert [share.label.name for share in verdict.labels] == list(LAMPS)
    for share, scores in zip(verdict.labels, found, strict=True):
        yes, no = map(math.exp, scores.logprobs)
        assert share.p == pytest.approx(yes / (yes + no))
    assert verdict.chosen == tuple(share.label for share in verdict.labels if share.p >= 0.4)


async def test_premise_and_content_free_texts_are_asked_once() -> None:
    how = settings(LAMPS, normalize="pmi", calibrate="contextual")
    classifier = Classifier(ScriptedBackend(), how)
    judges = await classifier.judges()
    before = classifier.spent
    rows = [await classifier.scores(text) for text in ("the cat", "a lamp")]
    (judge,) = judges
    premise = judge.normalizer.premise
    assert premise is not None
    prior = judge.scores([(await classifier.scores(text))[0] for text in how.content_free])
    expected = np.exp(prior) / np.exp(prior).sum(axis=1, keepdims=True)
    for (row,) in rows:
        raw = np.exp(np.array(row.logprobs) - premise)
        q = raw / raw.sum() / expected.mean(axis=0)
        p, _ = judge.shares([row])
        assert p[0] == pytest.approx(q / q.sum())
    assert before.tokens > 0


async def test_a_premise_is_asked_with_the_same_spelling() -> None:
    model = Thinks("")
    how = settings(LAMPS, "{text} Answer:", normalize="pmi", spellings="canonical")
    (judge,) = await Classifier(model, how).judges()
    vocabulary = model.vocabulary
    expected = []
    for label in LAMPS:
        tokens = vocabulary.prefix + vocabulary.encode(f" {label}".encode())
        expected.append(math.fsum([each.logprob async for each in model.score(tokens)]))
    assert judge.normalizer.premise == pytest.approx(expected, abs=1e-5)


async def test_in_a_chat_nothing_is_not_said() -> None:
    how = settings(LAMPS, chat=Chat(), calibrate="contextual")
    classifier = Classifier(ScriptedBackend(), how)
    (judge,) = await classifier.judges()
    assert judge.calibration is not None
    with pytest.raises(TextRefused, match="Nothing is said"):
        await classifier.scores("")


async def test_a_text_that_does_not_fit_says_so() -> None:
    with pytest.raises(TextRefused, match="too long"):
        await scores_of(ScriptedBackend(), settings(LAMPS), "the cat " * 2000)


async def test_what_is_known_so_far_is_told_meanwhile(backend: LlamaBackend) -> None:
    heard: list[Scores] = []
    found = await Classifier(backend, settings()).scores(TEXT, heard.append)
    assert len(heard) > 2
    assert heard[-1] == found
    for before, after in pairwise(heard):
        assert before[0].mass <= after[0].mass * (1 + 1e-9)
