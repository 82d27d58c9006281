"""How a model writes calls of tools: what stands around names and arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

SPECIAL, SPECIAL_END = "\ufdd2", "\ufdd7"
"""Around the name of a special token, where the token is meant and no text that reads so. These and
the marks below are code points that no text may hold."""
NAME = "\ufdd3"
"""Where the call's name stands again."""
KEY = "\ufdd4"
"""Where the argument's name stands again."""
ID = "\ufdd5"
"""Where the call's id stands, which the model writes."""
NUMBER = "\ufdd6"
"""Where the call's place among the calls stands."""
SLOTS = {ID: "[A-Za-z0-9]{9}", NUMBER: "[0-9]{1,3}"}
"""What the model writes there, as a regular expression."""

JsonKind = Literal["string", "number", "integer", "boolean", "null", "array", "object"]
JSON_KINDS: tuple[JsonKind, ...] = get_args(JsonKind)
_SPECIAL = re.compile(f"{SPECIAL}[^{SPECIAL_END}]*{SPECIAL_END}")
_HIDDEN = re.compile(f"{_SPECIAL.pattern}|[{SPECIAL}{SPECIAL_END}]")
_TAG = re.compile(r"<[^<>\s]+>|\[[A-Z_]+\]")
_MARKUP = re.compile(r"[<>\[\]|]")
_FIXED = re.compile(f"[^{SPECIAL}{ID}{NUMBER}{NAME}]*")


@dataclass(frozen=True, slots=True)
class ValueMarks:
    """What stands around an argument's value."""

    before: str
    """From the argument's name to its value."""
    after: str
    """The least that follows a value: where it ends. It may be more than a mark: what is to follow
    in any case is part of it."""


@dataclass(frozen=True, slots=True)
class TaggedArguments:
    """Arguments written one by one between marks: texts as they are, all else as JSON.

    The first one's name follows the format's `after_name`.
    """

    marks: tuple[tuple[JsonKind, ValueMarks], ...]
    """Around a value of each kind."""
    between: str
    """From a value, with its mark, to the next argument's name."""
    empty_between: str
    """From a call's name to the next call's, where it has no arguments."""
    empty_end: str
    """The same, to the end of the calls."""

    def around(self, kind: JsonKind) -> ValueMarks:
        """What stands around a value of this kind."""
        return dict(self.marks)[kind]


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """Calls one after another. Texts may hold `SPECIAL`, `NAME`, `ID` and `NUMBER`."""

    begin: str
    """Up to the first call's name."""
    after_name: str
    """From a name to its arguments."""
    between: str
    """From the arguments to the next call's name; empty: there is one call alone."""
    end: str
    """After the last call's arguments."""
    tagged: TaggedArguments | None = None
    """None: the arguments are one JSON object."""
    item_separator: str = ", "
    key_separator: str = ": "
    """Of that object."""
    arguments_text: bool = False
    """The template wants arguments as JSON's text, not as an object."""
    content_null: bool = False
    """Where nothing is said beside calls, the template wants null, not an empty text."""

    @property
    def trigger(self) -> str:
        """What calls are known by in what a model writes: a special token, a tag, or all that
        stands before the first name. No blanks begin it."""
        begin = self.begin.lstrip()
        if mark := _SPECIAL.match(begin) or _TAG.match(begin):
            return mark[0]
        fixed = _FIXED.match(begin)
        return fixed[0].rstrip() if fixed is not None else ""

    @property
    def anywhere(self) -> bool:
        """Whether calls may follow text; otherwise they begin the reply."""
        return _MARKUP.search(self.trigger) is not None

    def mapped(self, change: Callable[[str], str]) -> ToolFormat:
        """With all of its texts changed."""
        tagged = self.tagged
        if tagged is not None:
            tagged = TaggedArguments(
                tuple(
                    (kind, ValueMarks(change(each.before), change(each.after)))
                    for kind, each in tagged.marks
                ),
                *map(change, (tagged.between, tagged.empty_between, tagged.empty_end)),
            )
        return replace(
            self,
            begin=change(self.begin),
            after_name=change(self.after_name),
            between=change(self.between),
            end=change(self.end),
            tagged=tagged,
        )


GENERIC = ToolFormat(
    begin='<tool_call>\n{"name": "',
    after_name='", "arguments": ',
    between='}\n</tool_call>\n<tool_call>\n{"name": "',
    end="}\n</tool_call>",
)
"""Where a template writes no calls: what most models have seen."""


@dataclass(frozen=True, slots=True)
class TemplateTools:
    """What a chat template does for tools, and how calls are written."""

    format: ToolFormat = GENERIC
    calls: bool = False
    """It writes calls."""
    shown: bool = False
    """It tells the model which tools there are."""
    answers: bool = False
    """It writes what tools answered."""


def without_marked(text: str) -> str:
    """A text as people see it: special tokens are none."""
    return _HIDDEN.sub("", text)
