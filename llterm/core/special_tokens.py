"""A vocabulary's special tokens by name, and texts in which their names mean them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from llterm.core.tokens import Token
from llterm.core.tool_format import SPECIAL, SPECIAL_END, ToolFormat


@dataclass(frozen=True)
class SpecialTokens:
    """Those that have a name."""

    ids: Mapping[str, int]
    """By name, those that end no text."""
    ends: frozenset[str]
    """Names of those that end one."""

    @cached_property
    def _name(self) -> re.Pattern[str]:
        longest_first = sorted((*self.ids, *self.ends), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def marked(self, text: str) -> str:
        """The text with their names marked."""
        return self._name.sub(lambda match: f"{SPECIAL}{match[0]}{SPECIAL_END}", text)

    def named_in(self, text: str) -> frozenset[int]:
        """The ids of those that a marked text holds."""
        names = re.findall(f"{SPECIAL}([^{SPECIAL_END}]*){SPECIAL_END}", text)
        return frozenset(self.ids[name] for name in names if name in self.ids)

    def marked_format(self, form: ToolFormat) -> ToolFormat | None:
        """The format with them marked, over where a text is over; None where that is before its
        end."""
        marked = form.mapped(self.marked)
        ends = [f"{SPECIAL}{name}{SPECIAL_END}" for name in self.ends]

        def until_end(text: str) -> str:
            return text[: min((at for end in ends if (at := text.find(end)) >= 0), default=None)]

        def ended(text: str) -> bool:
            return until_end(text) != text

        tagged = marked.tagged
        if tagged is not None:
            tagged = replace(tagged, empty_end=until_end(tagged.empty_end))
        cut = replace(marked, end=until_end(marked.end), tagged=tagged)
        if ended(cut.between):
            cut = replace(cut, between="")
        broken = False

        def look(text: str) -> str:
            nonlocal broken
            broken = broken or ended(text)
            return text

        cut.mapped(look)
        return None if broken else cut


def special_tokens(tokens: Iterable[Token]) -> SpecialTokens:
    """Of these tokens."""
    ids: dict[str, int] = {}
    ends: set[str] = set()
    for token in tokens:
        name = token.data.decode("utf-8", "ignore")
        if name and token.end:
            ends.add(name)
        elif name and token.special:
            ids[name] = token.id
    return SpecialTokens(ids, frozenset(ends - ids.keys()))
