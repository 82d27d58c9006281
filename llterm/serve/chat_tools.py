"""What the body of a chat says of tools, for one model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from llterm.constraints.form_grammar import led_reply
from llterm.constraints.spec import Constraint, json_schema
from llterm.constraints.tool_grammar import Thinking, ToolGrammar
from llterm.core.conversation import Conversation
from llterm.core.json_text import json_text
from llterm.core.tool_arguments import Tool, fitting_support
from llterm.core.tool_call_parser import ToolCallParser
from llterm.core.tool_format import GENERIC, TemplateTools, ToolFormat
from llterm.core.tool_words import in_words
from llterm.engine.weave import check_constraints
from llterm.serve.api_errors import bad_field
from llterm.serve.chat_bodies import ToolChoice
from llterm.serve.chat_calls import ChatCalls
from llterm.serve.serve_limits import SCHEMA_BYTES
from llterm.serve.served_models import ServedModel

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
Choice = Literal["none", "auto", "required"]


@dataclass(frozen=True)
class ChatTools:
    """The tools of a chat, and how the model calls them."""

    model: ServedModel
    support: TemplateTools
    tools: Sequence[Tool]
    """Those that may be called."""
    choice: Choice
    several: bool
    """More than one call may be made."""

    @cached_property
    def form(self) -> ToolFormat:
        """How calls are written, with the model's special tokens marked."""
        return self.model.special.marked_format(self.support.format) or GENERIC

    @cached_property
    def marks(self) -> frozenset[int]:
        """The special tokens that calls are written with."""
        texts: list[str] = []

        def keep(text: str) -> str:
            texts.append(text)
            return text

        self.form.mapped(keep)
        ids = self.model.special.named_in("".join(texts)) if self.choice != "none" else frozenset()
        return ids - self.model.marker_ids

    def told(self, conversation: Conversation) -> Conversation:
        """The conversation as the model's template can write it, with the tools that may be
        called."""
        if self.choice == "none":
            conversation = replace(conversation, tools=())
        return in_words(conversation, self.support)

    def constraint(
        self, reply: Constraint | None, lead: Sequence[str] = (), *, thinking: bool
    ) -> Constraint | None:
        """What the whole reply is to fit; `reply`: what it is to where nothing is called; `lead`:
        rules of what stands before either.

        `thinking`: it begins with thoughts. Raises ApiError for what does not go together, and
        CapabilityMissing where calls are required of a model that cannot be held to them.
        """
        if not self.tools:
            return reply
        grammar = ToolGrammar(self.form, self.model.special, self._thoughts(thinking), lead)
        if self.choice != "required" and not self.model.backend.capabilities.masks:
            return reply
        check_constraints(self.model.backend)
        if self.choice == "none":
            if reply is None:
                return grammar.without_calls()
            return led_reply(lead, reply.rules("reply")) if lead else reply
        must = self.choice == "required"
        if reply is not None and reply.kind == "grammar" and not must:
            raise bad_field("tools", "tools and a grammar do not go together",
                            "A reply that calls nothing would fit it.")  # fmt: skip
        return grammar.calling(self.tools, must=must, several=self.several, reply=reply)

    def calls(self) -> ChatCalls:
        """What takes the calls out of one reply."""
        return ChatCalls(ToolCallParser(self.form, self.tools))

    def _thoughts(self, begun: bool) -> Thinking | None:
        markers, special = self.model.reasoning, self.model.special
        if markers is None:
            return None
        return Thinking(special.marked(markers.open), special.marked(markers.close), begun)


async def chat_tools(body: Any, model: ServedModel) -> ChatTools | None:
    """The tools of a body; None where neither it nor its messages have to do with any. Raises
    ApiError for what cannot be."""
    listed = _listed(body)
    choice, allowed = _choice(body, [tool.name for tool in listed])
    tools = [tool for tool in listed if tool.name in allowed]
    called = any(message.tool_calls or message.role == "tool" for message in body.messages)
    if not tools and not called:
        return None
    await asyncio.to_thread(_check_schemas, listed)
    support = fitting_support(await model.template_tools(), tools)
    if model.special.marked_format(support.format) is None:
        support = TemplateTools()
    named = isinstance(body.tool_choice, ToolChoice) and body.tool_choice.function is not None
    several = body.parallel_tool_calls is not False and not named
    return ChatTools(model, support, tools, choice if tools else "none", several)


def _listed(body: Any) -> Sequence[Tool]:
    tools: list[Tool] = []
    names: set[str] = set()
    for place, tool in enumerate(body.tools or ()):
        function, where = tool.function, f"tools[{place}].function"
        if not _NAME.fullmatch(function.name):
            raise bad_field(f"{where}.name", f"A tool cannot be called {function.name}",
                            "Names have letters, digits, _, - and dots.")  # fmt: skip
        if function.name in names:
            raise bad_field(f"{where}.name", f"There are two tools called {function.name}")
        names.add(function.name)
        schema = function.parameters or {}
        if schema.get("type", "object") != "object":
            raise bad_field(f"{where}.parameters.type", "A tool's arguments are an object")
        tools.append(Tool(function.name, schema))
    if sum(len(json_text(tool.parameters)) for tool in tools) > SCHEMA_BYTES:
        raise bad_field("tools", "The tools are too large",
                        f"Their schemas have {SCHEMA_BYTES:,} bytes at most.")  # fmt: skip
    return tools


def _choice(body: Any, names: Sequence[str]) -> tuple[Choice, Sequence[str]]:
    """What is chosen, and the names of the tools that may be called."""
    given = body.tool_choice
    if given is None or given in ("none", "auto"):
        return given or "auto", names
    if not names:
        raise bad_field("tool_choice", "tool_choice needs tools", "There are none.")
    if given == "required":
        return "required", names
    chosen = list(_chosen(given))
    for place, name in chosen:
        if name not in names:
            raise bad_field(place, f"There is no tool {name}", f"There are {', '.join(names)}.")
    mode: Choice = "required" if given.allowed_tools is None else given.allowed_tools.mode
    return mode, [name for _, name in chosen]


def _chosen(given: ToolChoice) -> Iterator[tuple[str, str]]:
    """Places and names in a choice of tools."""
    if given.type == "function":
        if given.function is None or given.allowed_tools is not None:
            raise bad_field("tool_choice.function", "tool_choice names no function")
        yield "tool_choice.function.name", given.function.name
        return
    if given.allowed_tools is None or given.function is not None:
        raise bad_field("tool_choice.allowed_tools", "tool_choice allows no tools")
    for place, tool in enumerate(given.allowed_tools.tools):
        yield f"tool_choice.allowed_tools.tools[{place}].function.name", tool.function.name


def _check_schemas(tools: Sequence[Tool]) -> None:
    """Raise ApiError for a schema that no text can be held to."""
    for place, tool in enumerate(tools):
        schema: Mapping[str, Any] = tool.object_schema
        if fault := json_schema(json_text(schema)).fault():
            where = f"tools[{place}].function.parameters"
            raise bad_field(where, f"The schema of {tool.name} cannot be used", fault)
