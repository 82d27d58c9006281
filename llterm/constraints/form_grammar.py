"""Grammars of replies that begin with a filled-in form, or are texts and artifacts between tags."""

from __future__ import annotations

from collections.abc import Sequence

from llterm.constraints.free_text import ANY, BLANKS, FREE
from llterm.constraints.spec import Constraint, lark, literal_pattern
from llterm.core.artifact_parser import ARTIFACT_TYPES
from llterm.core.json_text import json_text
from llterm.core.thinking_form import FormPart, FormRepeat, FormSlot, FormText, ThinkingForm
from llterm.core.tool_format import SPECIAL, SPECIAL_END

MOST_REPEATS = 32
"""Of what may be written several times: a model may find no end."""
_KINDS = " | ".join(map(json_text, ARTIFACT_TYPES))
ARTIFACTS = (
    'reply: "<answer>\\n" artifact_part+ "</answer>"',
    'artifact_part: "<text>" artifact_text "\\n" | artifact_head ">" artifact_body "\\n"',
    'artifact_head: "<artifact identifier=\\"" /[^"<>]{1,80}/ "\\" type=\\"" '
    f'({_KINDS}) "\\" title=\\"" /[^"<>]{{1,120}}/ "\\"" (" language=\\"" /[^"<>]{{1,32}}/ "\\"")?',
    f"artifact_text[lazy]: /{ANY}*{literal_pattern('</text>')}/",
    f"artifact_body[lazy]: /{ANY}*{literal_pattern('</artifact>')}/",
)
"""The rule `reply`, and those that it uses."""


def form_rules(form: ThinkingForm) -> Sequence[str]:
    """The rule `lead`: the form filled in, and blanks."""
    return [f"lead: {_sequence(form.parts)} {BLANKS}"]


def _sequence(parts: Sequence[FormPart]) -> str:
    return " ".join(map(_part, parts))


def _part(part: FormPart) -> str:
    match part:
        case FormText(text):
            return json_text(text)
        case FormRepeat(parts):
            return f"({_sequence(parts)}){{1,{MOST_REPEATS}}}"
        case FormSlot(quoted):
            quote = "\\x22" if quoted else ""
            return f"(/[^<{SPECIAL}{SPECIAL_END}{quote}]+/)?"


def led_reply(lead: Sequence[str], reply: Sequence[str] = ()) -> Constraint:
    """What the rule `lead` fits, where there is one, and then what `reply` does, or any text."""
    start = f"start: {'lead' if lead else ''} {'reply' if reply else FREE}"
    return lark("\n".join((start, *lead, *reply)))
