"""What `/v1/llterm/classify` takes: texts, questions, labels."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from llterm.serve.body_reader import BodyBase

MOST_TEXTS = 1024
MOST_QUESTIONS = 256
MOST_LABELS = 256
MOST_ASKED = 4096
"""Prompts of one request: texts × questions × orders; with `multi` × labels."""
MOST_ORDERS = 64
Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Spellings = Annotated[list[Name], Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=1 << 20)]
Said = Annotated[str, Meta(max_length=1 << 16)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class LabelPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A label, and what else it is called."""

    label: Name
    aliases: Spellings | None = None
    """Other ways to say it, beside its name."""
    spellings: Spellings | None = None
    """All ways to say it, in place of its name."""
    description: Said = ""


Labels = Annotated[list[Name | LabelPart], Meta(min_length=1, max_length=MOST_LABELS)]


class QuestionPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A question, with labels of its own where it has some."""

    question: Said
    labels: Labels | None = None


class LabelFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Questions × labels."""

    model: str | None = None
    question: Said | None = None
    questions: (
        Annotated[list[Said | QuestionPart], Meta(min_length=1, max_length=MOST_QUESTIONS)] | None
    ) = None
    labels: Labels | None = None
    """Of every question that has none of its own."""
    template: Said | None = None
    spellings: Literal["all", "canonical"] = "all"
    normalize: Literal["none", "bytes", "tokens", "pmi"] = "none"
    premise: Said = ""
    calibrate: Literal["contextual", "batch", "temperature"] | None = None
    temperature: Annotated[float, Meta(ge=0.01, le=100.0)] | None = None
    shuffle: Annotated[int, Meta(ge=1, le=MOST_ORDERS)] = 1
    seed: Annotated[int, Meta(ge=0, lt=1 << 53)] = 0
    threshold: Share = 0.0
    multi: bool = False
    prefix: Said = ""
    chat: bool = False
    """The template is said to the model, and the label is its reply."""
    system: Said | None = None


class ClassifyBody(LabelFields, kw_only=True, forbid_unknown_fields=True):
    """Texts × questions × labels."""

    text: Text | None = None
    texts: Annotated[list[Text], Meta(min_length=1, max_length=MOST_TEXTS)] | None = None
