"""`/v1/llterm/classify`: texts by questions by labels, as the command has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.scripted import ScriptedBackend
from llterm.core.classification.classify_settings import ClassifySettings, LabelQuestion
from llterm.core.classification.labels import typed_label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.core.classification.verdicts import verdicts
from llterm.engine.classify import Classifier
from tests.helpers.json_schema import faults, schema
from tests.helpers.model_processes import model_process
from tests.helpers.served_api import served

PATH = "/v1/llterm/classify"
LABELS = ["river", {"label": "maker", "aliases": ["makers"]}, "cat"]
TEXTS = ["So the", "said the", "down to the"]


async def test_answers_are_the_commands() -> None:
    labels = tuple(map(typed_label, ("river", "maker=makers", "cat")))
    how = ClassifySettings((LabelQuestion("", labels),), QuestionTemplate("{text}"))
    classifier = Classifier(ScriptedBackend(), how)
    judges = await classifier.judges()
    expected = verdicts(judges, [await classifier.scores(text) for text in TEXTS])
    async with served() as api:
        told = await api.ask(PATH, texts=TEXTS, labels=LABELS)
    root = schema("classify")
    for text, (verdict,) in zip(told["texts"], expected, strict=True):
        (answer,) = text["answers"]
        assert faults(answer, root["$defs"]["answer"], root) == []
        assert answer["chosen"] == [label.name for label in verdict.chosen]
        for share, other in zip(answer["labels"], verdict.labels, strict=True):
            assert share["p"] == pytest.approx(other.p)
            assert share["logprob"] == pytest.approx(other.logprob)
    assert told["usage"]["total_tokens"] > 0


async def test_questions_may_have_labels_of_their_own() -> None:
    questions = ["Who?", {"question": "Where to?", "labels": ["river", "sea"]}]
    async with served() as api:
        told = await api.ask(PATH, text="the cat", questions=questions, labels=LABELS)
    (text,) = told["texts"]
    first, second = text["answers"]
    assert [share["label"] for share in first["labels"]] == ["river", "maker", "cat"]
    assert [share["label"] for share in second["labels"]] == ["river", "sea"]


@pytest.mark.parametrize(
    "how",
    [
        {"calibrate": "batch"}, {"calibrate": "contextual"},
        {"calibrate": "temperature", "temperature": 2.0}, {"normalize": "pmi"},
        {"spellings": "canonical"}, {"multi": True}, {"chat": True, "system": "Be short."},
        {"template": "{labels}\n{text}", "shuffle": 3}, {"threshold": 0.99},
    ],
)  # fmt: skip
async def test_every_way_gives_shares(how: Mapping[str, Any]) -> None:
    async with served() as api:
        told = await api.ask(PATH, texts=TEXTS, labels=LABELS, **how)
    for text in told["texts"]:
        (answer,) = text["answers"]
        shares = [share["p"] for share in answer["labels"]]
        if "multi" not in how:
            assert math.fsum(shares) == pytest.approx(1)
        assert answer["abstains"] == ("threshold" in how)
    kinds = {each["kind"] for each in told["calibrations"]}
    assert kinds == {how.get("calibrate")}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"labels": LABELS}, "texts"),
        ({"text": "a", "texts": ["a"], "labels": LABELS}, "texts"),
        ({"text": "a"}, "labels"),
        ({"text": "a", "questions": [{"question": "q"}]}, "questions[0].labels"),
        ({"text": "a", "labels": LABELS, "temperature": 2.0}, "temperature"),
        ({"text": "a", "labels": LABELS, "calibrate": "temperature"}, "temperature"),
        ({"text": "a", "labels": ["x"]}, None),
        ({"text": "a", "labels": ["x", "x"]}, None),
        ({"text": "a", "labels": LABELS, "template": "none"}, None),
        ({"text": "the cat " * 3000, "labels": LABELS}, "text"),
        ({"texts": ["a", "b" * 200_000], "labels": LABELS}, "texts[1]"),
        ({"texts": ["a"] * 500, "questions": [f"{n}?" for n in range(10)], "labels": LABELS},
         "texts"),
        ({"text": "a", "labels": LABELS, "kind": 1}, "kind"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_named(body: Mapping[str, Any], param: str | None) -> None:
    async with served() as api:
        status, error = await api.refused(PATH, **body)
    assert status == 400, error
    assert error["param"] == param


async def test_a_model_in_a_process_of_its_own_answers_alike(backend: LlamaBackend) -> None:
    body = {"text": "So the", "labels": LABELS, "chat": True}
    async with model_process() as model, served(model) as api:
        apart = await api.ask(PATH, **body)
    async with served(backend) as api:
        here = await api.ask(PATH, **body)
    (answer,), (other,) = (told["texts"][0]["answers"] for told in (apart, here))
    for share, expected in zip(answer["labels"], other["labels"], strict=True):
        assert share["logprob"] == pytest.approx(expected["logprob"], abs=2e-3)
