"""`/v1/llterm/classify`: what a model would call texts, with every label's probability."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llterm.core.chat_messages import Chat
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    usual_template,
)
from llterm.core.classification.labels import Label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.core.classification.verdict_fields import answer_fields, calibration_fields
from llterm.core.classification.verdicts import verdicts
from llterm.engine.classify import Classifier, TextRefused
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.classify_bodies import (
    MOST_ASKED,
    ClassifyBody,
    LabelFields,
    LabelPart,
    QuestionPart,
)
from llterm.serve.served_models import ServedModel


async def classified(body: ClassifyBody, model: ServedModel) -> Mapping[str, Any]:
    """The answer, whole. Raises LltermError."""
    return await classified_texts(body, _texts(body), model)


async def classified_texts(
    body: LabelFields, texts: Sequence[str], model: ServedModel
) -> Mapping[str, Any]:
    """The same of these texts. Raises LltermError."""
    settings = classify_settings(body)
    asked = len(texts) * len(settings.asked) * settings.orders
    if asked > MOST_ASKED:
        raise bad_field(
            "texts", f"{asked:,} prompts are too many", f"{MOST_ASKED:,} are the most of a request."
        )
    classifier = Classifier(model.backend, settings)
    judges = await classifier.judges()
    rows = []
    for place, text in enumerate(texts):
        try:
            rows.append(await classifier.scores(text))
        except TextRefused as error:
            param = "text" if len(texts) == 1 else f"texts[{place}]"
            raise ApiError(
                400, error.title, error.cause, "Shorten it.", param=param,
                code="context_length_exceeded",
            ) from error  # fmt: skip
    for place, judge in enumerate(judges):
        judge.fit([row[place] for row in rows], [None] * len(rows))
    said = await asyncio.to_thread(verdicts, judges, rows)
    return {
        "object": "classification",
        "model": model.name,
        "calibrations": [calibration_fields(judge) for judge in judges],
        "texts": [
            {"index": place, "answers": [answer_fields(verdict) for verdict in each]}
            for place, each in enumerate(said)
        ],
        "usage": {
            "prompt_tokens": classifier.spent.tokens,
            "completion_tokens": 0,
            "total_tokens": classifier.spent.tokens,
        },
    }


def classify_settings(body: LabelFields) -> ClassifySettings:
    """What a body asks for. Raises ApiError, UsageError."""
    questions = tuple(_questions(body))
    if body.temperature is not None and body.calibrate != "temperature":
        raise bad_field("temperature", "temperature goes with calibrate: temperature")
    if body.calibrate == "temperature" and body.temperature is None:
        raise bad_field(
            "temperature", "There is no temperature", "None can be fitted: no label is known.",
            "`llterm classify` fits one to texts whose label is known.",
        )  # fmt: skip
    several = body.multi
    template = (
        QuestionTemplate(body.template)
        if body.template is not None
        else usual_template(questions=any(each.text for each in questions), several=several)
    )
    return ClassifySettings(
        questions, template, body.spellings, body.normalize, body.calibrate, body.temperature,
        orders=body.shuffle, seed=body.seed, threshold=body.threshold, several=several,
        prefix=body.prefix,
        chat=Chat(body.system or "") if body.chat or body.system else None,
        premise=body.premise,
    )  # fmt: skip


def _texts(body: ClassifyBody) -> Sequence[str]:
    if (body.text is None) == (body.texts is None):
        raise bad_field("texts", "There is to be text or texts", "", "Give one of the two.")
    return body.texts if body.texts is not None else [body.text or ""]


def _questions(body: LabelFields) -> list[LabelQuestion]:
    if body.question is not None and body.questions is not None:
        raise bad_field("questions", "question and questions do not go together")
    given: Sequence[str | QuestionPart] = body.questions or [body.question or ""]
    questions = []
    for place, each in enumerate(given):
        part = each if isinstance(each, QuestionPart) else QuestionPart(question=each)
        labels = part.labels if part.labels is not None else body.labels
        if labels is None:
            raise bad_field(f"questions[{place}].labels" if body.questions else "labels",
                            "There are no labels", "", "Give two at least.")  # fmt: skip
        questions.append(LabelQuestion(part.question, tuple(map(_label, labels))))
    return questions


def _label(given: str | LabelPart) -> Label:
    if isinstance(given, str):
        return Label(given)
    if given.spellings is not None:
        return Label(given.label, tuple(given.spellings), given.description)
    return Label(given.label, (given.label, *(given.aliases or ())), given.description)
