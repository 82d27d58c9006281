"""A constraint as a person gives it, and what llguidance has to say against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llterm.core.json_text import json_text, parsed
from llterm.errors import UsageError

Kind = Literal["choice", "regex", "grammar", "json-schema"]

_NAMES: dict[Kind, str] = {
    "choice": "The choices",
    "regex": "The pattern",
    "grammar": "The grammar",
    "json-schema": "The JSON schema",
}
_GUIDE = "https://github.com/guidance-ai/llguidance/blob/main/docs"
_HINTS: dict[Kind, str] = {
    "choice": "Give one or more different texts.",
    "regex": "Patterns are Rust's, without look-around, \\b and back-references:"
    " https://docs.rs/regex/latest/regex/#syntax",
    "grammar": f"Grammars are Lark with a rule named start: {_GUIDE}/syntax.md",
    "json-schema": f"What a schema may say: {_GUIDE}/json_schema.md",
}

_FREE = '\n%llguidance {"no_forcing": true}\n'
"""Lets the model choose how to split text that is certain.

Otherwise only the tokenizer's own split is allowed, and a mask would depend on the split so far.
Stands last, so that lines keep their numbers.
"""

_PLACE = re.compile(r"(?:at )?(\d+)\((\d+)\): ")
_EXCERPT = re.compile(r"\n(?:[ \d]{3}\d \| |<non-verbose/>).*", re.DOTALL)
"""What llguidance shows after its message: the grammar's lines, where the parser's state was."""
_NEAR = re.compile(r' \(at ("(?:[^"\\]|\\.)*") \(.*\)\)\Z')
_IN_REGEX = re.compile(
    r'(?:invalid regex ".*" \(in regex\): )?regex parse error:\n'
    r" {4}(?P<pattern>.*)\n {4}(?P<before> *)(?P<under>\^+)\nerror: (?P<what>.*)",
)
_REGEX = re.compile(r'invalid regex ".*" \(in regex\): (?P<what>.*) in regex /.*/', re.DOTALL)
_OVERLAP = re.compile(r"oneOf constraints are not supported\..*", re.DOTALL)
"""It goes on with a switch of the library's that no command has."""
_SCHEMA = "failed to compile JSON schema: "


@dataclass(frozen=True, slots=True)
class Constraint:
    """What may be written. Equal ones are the same constraint."""

    kind: Kind
    text: str
    """A JSON array of the choices, a regular expression, a Lark grammar, or a JSON schema."""

    @property
    def texts(self) -> tuple[bytes, ...]:
        """The choices; empty for what is no list of them. Raises UsageError for broken JSON."""
        if self.kind != "choice":
            return ()
        return tuple(text.encode("utf-8", "surrogatepass") for text in self._json())

    def grammar(self) -> str:
        """The grammar for llguidance. Raises UsageError for broken JSON."""
        from llguidance import LLMatcher

        text = self.text if self.kind == "grammar" else "\n".join(self.rules())
        return LLMatcher.grammar_from_lark(text + _FREE)

    def rules(self, start: str = "start") -> Sequence[str]:
        """What is no grammar itself as one in Lark: a rule of this name, and those that it uses.
        Raises UsageError for broken JSON."""
        from llguidance import LLMatcher

        match self.kind:
            case "choice":
                # One terminal: its alternatives may begin alike.
                quoted = (json_text(text) for text in self._json())
                return [f"{start}: CHOICE", "CHOICE: " + " | ".join(quoted)]
            case "regex":
                wrapped = json.loads(LLMatcher.grammar_from_regex(self.text))
                lark: str = wrapped["grammars"][0]["lark_grammar"]
                return [f"{start}{lark.removeprefix('start')}"]
            case "json-schema":
                # Written anew: what follows a schema would otherwise be read as Lark.
                return [f"{start}: %json {json_text(_compact(self._json()))}"]
        raise ValueError("a grammar has rules of its own")

    def fault(self) -> str:
        """What is wrong with it, whatever the vocabulary; empty for nothing. Raises UsageError for
        broken JSON."""
        from llguidance import LLMatcher

        message = LLMatcher.validate_grammar(self.grammar())
        return self.explained(message) if message else ""

    def refused(self, cause: str) -> UsageError:
        """The error for a person, who is told where the fault lies."""
        return UsageError(f"{_NAMES[self.kind]} cannot be used", cause, _HINTS[self.kind])

    def explained(self, message: str) -> str:
        """llguidance's message as one sentence: the place first, no excerpts."""
        message = _EXCERPT.sub("", message)
        match = _PLACE.match(message)
        place = ""
        if match:
            message = message[match.end() :]
            if self.kind == "grammar":
                place = self._place(int(match[1]), int(match[2]))
        message = _OVERLAP.sub(
            "oneOf needs alternatives that no text fits two of; anyOf takes any",
            message.removeprefix(_SCHEMA),
        )
        message = _NEAR.sub(r" at \1", message)
        message = _REGEX.sub(r"\g<what>", message)
        message = _IN_REGEX.sub(_part, message).strip().rstrip(".")
        return f"{place or message[:1].upper()}{message if place else message[1:]}."

    def _place(self, line: int, column: int) -> str:
        # What goes on past the text runs into the line that `grammar` adds.
        inside = line <= self.text.count("\n") + 1
        return f"Line {line}, column {column}: " if inside else "At the end: "

    def _json(self) -> Any:
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            place = f"Line {error.lineno}, column {error.colno}"
            raise self.refused(f"{place}: {error.msg}.") from error
        except RecursionError as error:
            raise self.refused("It is nested too deeply.") from error
        except ValueError as error:
            raise self.refused("It holds a number of thousands of digits.") from error


def _compact(schema: Any) -> Any:
    """The schema with one way to space its JSON, unless it says otherwise itself.

    Left free, a small model may write white space for ever.
    """
    if not isinstance(schema, dict) or "x-guidance" in schema:
        return schema
    spacing = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return {**schema, "x-guidance": spacing}


def choices(texts: Iterable[str]) -> Constraint:
    """One of these texts exactly: the space that begins a word is part of it."""
    listed = list(texts)
    made = Constraint("choice", json_text(list(dict.fromkeys(listed)), ascii=False))
    if not listed:
        raise made.refused("There are none.")
    empty = next((n for n, text in enumerate(listed, 1) if not text.strip()), 0)
    if empty:
        raise made.refused(f"Choice {empty} of {len(listed)} is empty.")
    return made


def constraint_text(constraint: Constraint | None) -> str:
    """As a loom keeps it: JSON, empty for none."""
    if constraint is None:
        return ""
    return json_text({"kind": constraint.kind, "text": constraint.text}, bytes_kept=True)


def read_constraint(text: str) -> Constraint | None:
    """What a loom keeps of it; None for an empty text. Raises ValueError where it is none."""
    if not text:
        return None
    kept = parsed(text)
    if not isinstance(kept, dict) or kept.get("kind") not in _NAMES:
        raise ValueError("it is of no known kind")
    if not isinstance(kept.get("text"), str):
        raise ValueError("it has no text")
    return Constraint(kept["kind"], kept["text"])


def regex(text: str) -> Constraint:
    """Text that the whole of this regular expression matches."""
    return Constraint("regex", text)


def literal_pattern(text: str) -> str:
    """A regular expression, Rust's, that matches this text alone; it holds no slash."""
    return "".join(c if c.isalnum() or c == " " else f"\\x{{{ord(c):x}}}" for c in text)


def lark(text: str) -> Constraint:
    """Text of the rule `start` of this Lark grammar."""
    return Constraint("grammar", text)


def json_schema(text: str) -> Constraint:
    """JSON that this schema, itself JSON, describes."""
    return Constraint("json-schema", text)


def _part(match: re.Match[str]) -> str:
    """The regex crate points with carets; say where and at what instead."""
    start = len(match["before"])
    part = match["pattern"][start : start + len(match["under"])]
    return f"character {start + 1} of the pattern, {part!r}: {match['what']}"
