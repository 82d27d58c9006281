"""How texts are classified: all that is set, apart from the texts and the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from llterm.core.chat_messages import Chat
from llterm.core.classification.calibrations import CalibrationKind, Normalization
from llterm.core.classification.labels import NO, YES, Label, check_labels
from llterm.core.classification.question_template import (
    OF_SEVERAL,
    OF_SEVERAL_WITH_QUESTION,
    PLAIN,
    WITH_QUESTION,
    QuestionTemplate,
)
from llterm.core.classification.verdicts import AskedLabels
from llterm.errors import UsageError

Spellings = Literal["all", "canonical"]
CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts without content, as Zhao et al. (2021) take them."""
MOST_ASKED = 10_000
"""Prompts for one text."""


@dataclass(frozen=True, slots=True)
class LabelQuestion:
    """A question, and the labels that may answer it."""

    text: str = ""
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """Everything that counts for what is said of a text."""

    questions: tuple[LabelQuestion, ...]
    template: QuestionTemplate
    spellings: Spellings = "all"
    normalize: Normalization = "none"
    calibrate: CalibrationKind | None = None
    temperature: float | None = None
    """Of temperature scaling, where it is known; None: fitted to the texts whose label is known."""
    orders: int = 1
    """Orders of the labels at `{labels}` that are tried; what comes of them is averaged."""
    seed: int = 0
    """Of these orders."""
    threshold: float = 0.0
    """With less no label is chosen."""
    several: bool = False
    """Each label is asked about by itself."""
    prefix: str = ""
    """Hidden text before the template."""
    chat: Chat | None = None
    """The template is the person's turn after what was said here, and the label the reply."""
    premise: str = ""
    """What stands in the template's place for `pmi`."""
    content_free: tuple[str, ...] = field(default=CONTENT_FREE)

    def check(self) -> None:
        """Raise UsageError where nothing could be asked so."""
        if not self.questions:
            raise UsageError("There are no labels", "", "Give two at least.")
        for question in self.questions:
            if not self.several or len(question.labels) != 1:
                check_labels(question.labels)
        texts = [question.text for question in self.questions]
        if len(set(texts)) < len(texts):
            raise UsageError("A question is given twice", "", "Ask each once.")
        if place := next((name for text in texts for name in QuestionTemplate(text).places), ""):
            raise UsageError(
                f"A question has {{{place}}}",
                "Nothing is put into a question.",
                "Say it in the template, where {question} is the place of the question.",
            )
        self.template.check(questions=any(texts), several=self.several, shuffled=self.orders > 1)
        labels = max(len(question.labels) for question in self.questions)
        asked = len(self.asked) * self.orders
        if asked > MOST_ASKED:
            raise UsageError(
                "Too much is asked of each text",
                f"{len(texts):,} questions, {labels:,} labels and {self.orders:,} orders are"
                f" {asked:,} prompts; {MOST_ASKED:,} are the most.",
                "Ask fewer questions at a time.",
            )

    @property
    def asked(self) -> tuple[AskedLabels, ...]:
        """What each text is asked, in order."""
        if not self.several:
            return tuple(AskedLabels(each.text, each.labels) for each in self.questions)
        return tuple(
            AskedLabels(each.text, (YES, NO), label)
            for each in self.questions
            for label in each.labels
        )

    def labels_of(self, asked: AskedLabels) -> tuple[Label, ...]:
        """The labels that stand at `{labels}`."""
        return next(each.labels for each in self.questions if each.text == asked.question)


def usual_template(*, questions: bool, several: bool) -> QuestionTemplate:
    """Where no template is given."""
    if several:
        return QuestionTemplate(OF_SEVERAL_WITH_QUESTION if questions else OF_SEVERAL)
    return QuestionTemplate(WITH_QUESTION if questions else PLAIN)
