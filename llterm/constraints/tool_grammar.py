"""Grammars of replies that call tools: text until calls begin, then calls with valid arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from llterm.constraints.free_text import ANY, BLANKS, FREE
from llterm.constraints.spec import Constraint, lark, literal_pattern
from llterm.core.json_text import json_text
from llterm.core.special_tokens import SpecialTokens
from llterm.core.tool_arguments import Schema, Tool, ToolArgument
from llterm.core.tool_format import (
    KEY,
    NAME,
    SLOTS,
    SPECIAL,
    SPECIAL_END,
    TaggedArguments,
    ToolFormat,
)

_PART = re.compile(f"{SPECIAL}([^{SPECIAL_END}]*){SPECIAL_END}|([{''.join(SLOTS)}])")


class Thinking(NamedTuple):
    """What stands around what a model thinks before it answers, special tokens marked."""

    begin: str
    end: str
    begun: bool
    """The prompt ends in the midst of it."""


@dataclass(slots=True)
class ToolGrammar:
    """Writes the grammars of a format for one vocabulary; each object writes one."""

    form: ToolFormat
    special: SpecialTokens
    thoughts: Thinking | None = None
    lead: Sequence[str] = ()
    """The rule `lead`, which every reply begins with, and those that it uses."""
    _rules: list[str] = field(default_factory=list)

    def calling(
        self,
        tools: Sequence[Tool],
        *,
        must: bool,
        several: bool,
        reply: Constraint | None = None,
    ) -> Constraint:
        """Replies that call these tools: always (`must`) or perhaps; one call, or `several`.

        `reply`: what replies without calls fit, which is no grammar; None: they are free.
        """
        form = self.form
        begin = form.begin.lstrip() if self.thoughts or self.lead else form.begin
        calls = self._calls(tools, several)
        if not must and reply is None and form.anywhere:
            rest = form.begin.lstrip().removeprefix(form.trigger)
            lead = self._until(form.trigger)
            return self._made(f"({FREE} | {lead} {self._literal(rest)} {calls})")
        calls = f"{self._literal(begin)} {calls}"
        if must:
            return self._made(calls)
        if reply is None:
            return self._made(f"({self._without(form.trigger)} | {calls})")
        self._rules += reply.rules("reply")
        return self._made(f"(reply | {calls})")

    def without_calls(self) -> Constraint:
        """Replies of any kind in which no call begins."""
        return self._made(self._without(self.form.trigger))

    def _made(self, body: str) -> Constraint:
        return lark("\n".join((f"start: {self._thought()} {body}", *self.lead, *self._rules)))

    def _rule(self, body: str, attributes: str = "") -> str:
        """A rule of its own; returns its name."""
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{attributes}: {body}")
        return name

    def _thought(self) -> str:
        """What is thought before the reply, and blanks after it."""
        thoughts = self.thoughts
        if self.lead:
            return "lead"
        if thoughts is None:
            return ""
        ended = self._until(thoughts.end)
        if thoughts.begun:
            return f"{ended} {BLANKS}"
        return f"({self._literal(thoughts.begin)} {ended})? {BLANKS}"

    def _until(self, mark: str) -> str:
        """Any text up to the first such mark, with it."""
        head, rest = _head(mark)
        if head.startswith(SPECIAL):
            return f"{FREE} {self._literal(mark)}"
        lead = self._rule(f"/{ANY}*{literal_pattern(head)}/", "[lazy]")
        return f"{lead} {self._literal(rest)}"

    def _without(self, trigger: str) -> str:
        """Any text in which no call begins."""
        if trigger.startswith(SPECIAL):
            return FREE
        before = "(?s:.*)" if self.form.anywhere else "\\s*"
        name = f"T{len(self._rules)}"
        other = f"~/{before}{literal_pattern(trigger)}(?s:.*)/"
        self._rules.append(f"{name}: /{ANY}+/ & {other}")
        return f"{name}?"

    def _literal(self, text: str) -> str:
        """A text of the format, as a sequence."""
        parts: list[str] = []
        start = 0
        for match in chain(_PART.finditer(text), [None]):
            fixed = text[start : match.start() if match else len(text)]
            if fixed:
                parts.append(json_text(fixed))
            if match:
                name, slot = match.groups()
                parts.append(f"/{SLOTS[slot]}/" if slot else f"<[{self.special.ids[name]}]>")
                start = match.end()
        return " ".join(parts)

    def _calls(self, tools: Sequence[Tool], several: bool) -> str:
        """From the first name to the end."""
        form = self.form
        several = several and bool(form.between)
        end = self._literal(form.end)
        whole: list[str] = []
        for tool in tools:
            after = self._literal(form.after_name.replace(NAME, tool.name))
            written = (
                self._object(tool) if form.tagged is None else self._members(form.tagged, tool)
            )
            if written:
                whole.append(f"{json_text(tool.name)} {after} {written}")
        empty = [tool for tool in tools if form.tagged is not None and _may_be_empty(tool)]
        going_on, ends = [], []
        if whole:
            call = self._rule(" | ".join(whole))
            going_on.append(f"{call} {self._literal(form.between)}")
            ends.append(f"{call} {end}")
        if empty and form.tagged is not None:
            names = self._rule(" | ".join(json_text(tool.name) for tool in empty))
            going_on.append(f"{names} {self._literal(form.tagged.empty_between)}")
            ends.append(f"{names} {self._literal(form.tagged.empty_end)}")
        last = f"({' | '.join(ends)})"
        return f"({' | '.join(going_on)})* {last}" if several else last

    def _object(self, tool: Tool) -> str:
        spacing = {
            "whitespace_flexible": False,
            "item_separator": self.form.item_separator,
            "key_separator": self.form.key_separator,
        }
        return self._json({**tool.object_schema, "x-guidance": spacing})

    def _json(self, schema: Schema) -> str:
        return self._rule(f"%json {json_text(schema)}")

    def _members(self, tagged: TaggedArguments, tool: Tool) -> str:
        """One argument at least, in the order of the schema; empty where there is none."""
        between = self._literal(tagged.between)
        rest = first = ""
        for argument in reversed(tool.arguments or ()):
            member = self._member(tagged, argument)
            begun = f"{member} {rest}"
            optional = "" if argument.required else "?"
            later = f"({between} {member}){optional} {rest}"
            first = begun if argument.required or not first else f"({begun} | {first})"
            first = self._rule(first)
            rest = self._rule(later)
        return first

    def _member(self, tagged: TaggedArguments, argument: ToolArgument) -> str:
        marks = tagged.around(argument.kind)
        name = self._literal(argument.name + marks.before)
        after = marks.after.replace(KEY, argument.name)
        if not argument.as_it_is:
            spacing = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
            value = self._json({**argument.schema, "x-guidance": spacing})
            return self._rule(f"{name} {value} {self._literal(after)}")
        if argument.texts:
            texts = " | ".join(map(json_text, argument.texts))
            return self._rule(f"{name} ({texts}) {self._literal(after)}")
        most = argument.schema.get("maxLength")
        text = f"{ANY}{{0,{most}}}" if isinstance(most, int) else f"{ANY}*"
        head, rest = _head(after)
        if head.startswith(SPECIAL):
            return self._rule(f"{name} /{text}/ {self._literal(after)}")
        value = self._rule(f"/{text}{literal_pattern(head)}/", "[lazy]")
        return self._rule(f"{name} {value} {self._literal(rest)}")


def _head(text: str) -> tuple[str, str]:
    """The special token, or the text up to one, that it begins with; and what follows."""
    match = _PART.search(text)
    if match is None:
        return text, ""
    end = match.start() or match.end()
    return text[:end], text[end:]


def _may_be_empty(tool: Tool) -> bool:
    return not any(argument.required for argument in tool.arguments or ())
