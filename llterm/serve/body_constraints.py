"""What a body wants its text to fit, in any dialect's words, as one constraint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llterm.constraints.spec import Constraint, choices, json_schema, lark, literal_pattern, regex
from llterm.core.json_text import json_text
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.generation_bodies import ResponseFormat, StructuredOutputs
from llterm.serve.serve_limits import SCHEMA_BYTES

_ANYTHING = "(?s:.*)"
Wanted = tuple[str, Constraint]
"""The field that asks for it, and what it asks."""


def only_one(wanted: Iterable[Wanted]) -> Constraint | None:
    """The one constraint there is; None for none. Raises ApiError where there are several, or it is
    too large."""
    listed = list(wanted)
    if len(listed) > 1:
        fields = " and ".join(field for field, _ in listed)
        raise bad_field(listed[1][0], f"{fields} do not go together", "A text fits one of them.")
    if not listed:
        return None
    field, constraint = listed[0]
    if len(constraint.text.encode()) > SCHEMA_BYTES:
        raise bad_field(field, f"{field} is too large", f"{SCHEMA_BYTES:,} bytes are the most.")
    return constraint


def of_response_format(given: ResponseFormat | None) -> Iterable[Wanted]:
    """What OpenAI's `response_format` asks."""
    if given is None:
        return
    if given.schema is not None and given.type != "json_object":
        raise bad_field("response_format.schema", f"A {given.type} has no schema there")
    if given.type == "text":
        return
    if given.type == "json_object":
        yield "response_format", schema_of(given.schema or {"type": "object"})
    elif given.json_schema is None:
        raise bad_field("response_format.json_schema", "The schema is missing")
    else:
        yield "response_format", schema_of(given.json_schema.schema)


def of_structured_outputs(given: StructuredOutputs | None) -> Iterable[Wanted]:
    """What vLLM's `structured_outputs` asks."""
    if given is None:
        return
    place = "structured_outputs"
    if given.json is not None:
        yield f"{place}.json", schema_of(given.json)
    if given.json_object:
        yield f"{place}.json_object", json_schema('{"type": "object"}')
    if given.regex is not None:
        yield f"{place}.regex", regex(given.regex)
    if given.choice is not None:
        yield f"{place}.choice", choices(given.choice)
    if given.grammar is not None:
        yield f"{place}.grammar", grammar_of(given.grammar, f"{place}.grammar")


def schema_of(schema: Any) -> Constraint:
    """A schema, itself JSON or its text."""
    return json_schema(schema if isinstance(schema, str) else json_text(schema, compact=True))


def grammar_of(text: str, param: str) -> Constraint:
    """A Lark grammar, or llama.cpp's GBNF made one."""
    from llguidance.gbnf_to_lark import GbnfToLarkError, any_to_lark

    try:
        return lark(any_to_lark(text))
    except (GbnfToLarkError, RecursionError) as error:
        raise ApiError(
            400, "The grammar cannot be read", f"{error}.", param=param, code="invalid_grammar"
        ) from None


def begun_with(texts: Iterable[str]) -> Constraint:
    """Any text that begins with one of these."""
    return regex(f"(?:{'|'.join(map(literal_pattern, texts))}){_ANYTHING}")


def begun_by(pattern: str) -> Constraint:
    """Any text whose beginning a regular expression matches."""
    return regex(f"(?:{pattern}){_ANYTHING}")
