"""gallama's forms of a chat's reply: an XML form that is filled in first, texts and artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llterm.constraints.form_grammar import ARTIFACTS, form_rules, led_reply
from llterm.constraints.spec import Constraint
from llterm.core.artifact_parser import TEXT_META, WORDS, ArtifactParser, ArtifactPart, Meta
from llterm.core.conversation import Conversation
from llterm.core.held_text import begun_size
from llterm.core.thinking_form import ThinkingForm, read_form
from llterm.engine.weave import check_constraints
from llterm.serve.api_errors import bad_field
from llterm.serve.body_constraints import Wanted
from llterm.serve.chat_deltas import Delta
from llterm.serve.served_models import ServedModel


@dataclass(frozen=True, slots=True)
class ChatForms:
    """What is to stand before the reply, and what it is made of."""

    form: ThinkingForm | None
    shown: bool | str
    """`return_thinking`: whether the filled-in form is told: not, as text before the answer, or
    `separate`."""
    artifacts: bool

    @property
    def lead(self) -> Sequence[str]:
        """The rule `lead` of a grammar; empty without a form."""
        return form_rules(self.form) if self.form is not None else ()

    def told(self, conversation: Conversation) -> Conversation:
        """The conversation in which the model is told of them."""
        for words in (WORDS if self.artifacts else "", self.form.words if self.form else ""):
            if words:
                conversation = conversation.with_words(words)
        return conversation

    def constraint(self, reply: Constraint | None) -> Constraint:
        """What the whole reply is to fit, where what follows the form is to fit `reply`, which is
        no grammar."""
        rules = ARTIFACTS if self.artifacts else reply.rules("reply") if reply is not None else ()
        return led_reply(self.lead, rules)


def chat_forms(body: Any, model: ServedModel, wanted: Sequence[Wanted]) -> ChatForms | None:
    """What a body asks for; None for nothing. `wanted`: what else the reply is to fit.

    Raises ApiError for what cannot be, CapabilityMissing where the model cannot be held to it.
    """
    artifacts = body.artifact in ("Fast", "Slow")
    if body.return_thinking and body.thinking_template is None:
        raise bad_field("return_thinking", "return_thinking needs a thinking_template")
    if not artifacts and body.thinking_template is None:
        return None
    check_constraints(model.backend)
    other = wanted[0][0] if wanted else "tools"
    if artifacts and (body.tools or wanted):
        raise bad_field("artifact", f"artifact and {other} do not go together",
                        "The reply is texts and artifacts.")  # fmt: skip
    if wanted and wanted[0][1].kind == "grammar":
        raise bad_field("thinking_template", f"thinking_template and {other} do not go together",
                        "A grammar is all of a reply.")  # fmt: skip
    if artifacts and (body.n or 1) > 1:
        raise bad_field("n", "n is 1 with artifact", "Each part is a choice.")
    form = None
    if body.thinking_template is not None:
        try:
            form = read_form(body.thinking_template)
        except ValueError as error:
            raise bad_field("thinking_template", "The thinking template is no XML with one root",
                            f"{str(error).capitalize()}.") from None  # fmt: skip
    shown = body.return_thinking or False
    return ChatForms(form, "separate" if artifacts and shown else shown, artifacts)


class FormDeltas:
    """Takes the filled-in form out of what is told of a reply."""

    def __init__(self, form: ThinkingForm, shown: bool | str) -> None:
        self._end = form.end
        self._field = "thinking" if shown == "separate" else "content" if shown else None
        self._held = ""
        self._answering = False
        self._begun = False
        """Something of the answer was told: blanks before are not."""

    @property
    def thinking(self) -> bool:
        """Whether what comes next is of the form."""
        return not self._answering

    def add(self, delta: Delta) -> Sequence[Delta]:
        """What can be told now."""
        self._held += delta.get("content", "")
        told: list[Delta] = [{name: text for name, text in delta.items() if name != "content"}]
        if not self._answering:
            told.append(self._form(last=False))
        if self._answering:
            told.append(self._answer())
        return [each for each in told if each]

    def rest(self) -> Sequence[Delta]:
        """What was held back, now that nothing more comes."""
        told = self._form(last=True) if not self._answering else {}
        return [told] if told else []

    def _form(self, *, last: bool) -> Delta:
        place = self._held.find(self._end)
        if place >= 0:
            self._answering = True
            size = place + len(self._end)
        else:
            size = len(self._held) - (0 if last else begun_size(self._held, [self._end]))
        text, self._held = self._held[:size], self._held[size:]
        if self._answering and self._field == "content":
            text += "\n\n"
        return {self._field: text} if self._field is not None and text else {}

    def _answer(self) -> Delta:
        text = self._held if self._begun else self._held.lstrip()
        self._held = ""
        self._begun = self._begun or bool(text)
        return {"content": text} if text else {}


class ArtifactDeltas:
    """Tells with each text what it is part of."""

    def __init__(self) -> None:
        self._parser = ArtifactParser()
        self.meta: Meta = TEXT_META
        """Of what was told last."""
        self.parts: list[tuple[Meta, str]] = []
        """As far as they go."""

    def add(self, delta: Delta) -> Sequence[Delta]:
        """What can be told now."""
        others = {name: text for name, text in delta.items() if name != "content"}
        told = self._told(self._parser.add(delta.get("content", "")))
        return [others, *told] if others else told

    def rest(self) -> Sequence[Delta]:
        """What was held back, now that nothing more comes."""
        return self._told(self._parser.rest())

    def _told(self, parts: Sequence[ArtifactPart]) -> list[Delta]:
        told: list[Delta] = []
        for meta, text, begins in parts:
            if begins or not self.parts:
                self.parts.append((meta, ""))
            self.meta = meta
            self.parts[-1] = meta, self.parts[-1][1] + text
            told.append({"content": text, "artifact_meta": meta})
        return told
