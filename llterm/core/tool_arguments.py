"""The arguments that a tool takes, as its JSON schema says, and how a format can write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llterm.core.tool_format import GENERIC, JSON_KINDS, JsonKind, TemplateTools

Schema = Mapping[str, Any]
_PLAIN = {"type", "properties", "required", "additionalProperties", "description", "title", "$defs",
          "definitions", "$schema", "examples", "default"}  # fmt: skip
"""What an object's schema may say where its members can be written one by one."""
_AS_IT_IS = {"type", "enum", "const", "maxLength", "description", "title", "examples", "default"}
"""What a text's schema may say where it can be written without quotes."""


@dataclass(frozen=True, slots=True)
class ToolArgument:
    """One argument of a tool whose arguments can be written one by one."""

    name: str
    schema: Schema
    """Whole: what it refers to is in it."""
    required: bool

    @property
    def kind(self) -> JsonKind:
        """Of its value: the one that its marks are chosen by."""
        kind = self.schema.get("type")
        return kind if kind in JSON_KINDS else "object"

    @property
    def texts(self) -> Sequence[str]:
        """All texts that it may be, where these are a few."""
        listed = [self.schema["const"]] if "const" in self.schema else self.schema.get("enum")
        return listed if isinstance(listed, list) else ()

    @property
    def as_it_is(self) -> bool:
        """Whether its value is a text without quotes; otherwise it is JSON."""
        said = self.schema.keys() - {"$defs", "definitions"}
        return (
            self.schema.get("type") == "string"
            and said <= _AS_IT_IS
            and all(isinstance(text, str) and text for text in self.texts)
        )


@dataclass(frozen=True)
class Tool:
    """A function that a model may call."""

    name: str
    parameters: Schema
    """JSON schema of an object."""

    @cached_property
    def arguments(self) -> Sequence[ToolArgument] | None:
        """One by one; None where the schema says more than what each of them is."""
        schema = self.parameters
        properties = schema.get("properties", {})
        if not schema.keys() <= _PLAIN or not all(
            isinstance(x, Mapping) for x in properties.values()
        ):
            return None
        if not set(schema.get("required", ())) <= properties.keys():
            return None
        common = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        return [
            ToolArgument(name, {**common, **each}, name in schema.get("required", ()))
            for name, each in properties.items()
        ]

    @property
    def object_schema(self) -> Schema:
        """Of its arguments, with none besides those that it names."""
        closed = self.arguments is not None and self.parameters.keys() != {"type"}
        return {
            "type": "object",
            **({"additionalProperties": False} if closed else {}),
            **self.parameters,
        }


def fitting_support(support: TemplateTools, tools: Sequence[Tool]) -> TemplateTools:
    """What the template does for these tools: nothing, where their arguments cannot be written as
    it writes arguments."""
    if support.format.tagged is None or all(tool.arguments is not None for tool in tools):
        return support
    return TemplateTools(GENERIC)
