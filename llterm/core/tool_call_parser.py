"""What a model says while it comes, cut into text and calls of tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from llterm.core.held_text import begun_size
from llterm.core.json_end import JsonEnd
from llterm.core.json_text import json_text
from llterm.core.tool_arguments import Tool, ToolArgument
from llterm.core.tool_format import (
    KEY,
    NAME,
    SPECIAL,
    SPECIAL_END,
    TaggedArguments,
    ToolFormat,
    ValueMarks,
    without_marked,
)
from llterm.core.tool_literals import PARTIAL, literal_end


@dataclass(frozen=True, slots=True)
class Said:
    """More of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool is called; its arguments follow."""

    place: int
    """Among the calls, from 0 on."""
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of a call's arguments, which are a JSON object in all."""

    place: int
    text: str


ReplyPart = Said | CallBegun | CallArguments
_NAME = re.compile(r"[A-Za-z0-9_.-]*")
_Wait = Generator[None, None, None]


class ToolCallParser:
    """Takes a reply piece by piece.

    Its parts, those of one kind joined, are the same however the reply is cut. What turns out to be
    no call is text. Blanks around calls go, and so does one that breaks off before its arguments.
    """

    def __init__(self, form: ToolFormat, tools: Iterable[Tool]) -> None:
        """`form`: with special tokens marked, as they are in what comes."""
        self._form = form
        self._tools = {tool.name: tool for tool in tools}
        self._coming = ""
        """A special token's name that is not whole yet."""
        self._held = ""
        self._over = False
        self._broken_off = False
        """The reply was over before what was looked for was whole."""
        self._parts: list[ReplyPart] = []
        self.calls = 0
        """Begun so far."""
        self._reading = self._read()
        next(self._reading)

    def add(self, text: str) -> Sequence[ReplyPart]:
        """What is certain now that this came."""
        self._coming += text
        whole = self._coming.rfind(SPECIAL)
        if whole < 0 or SPECIAL_END in self._coming[whole:]:
            whole = len(self._coming)
        self._held += self._coming[:whole]
        self._coming = self._coming[whole:]
        return self._certain()

    def rest(self) -> Sequence[ReplyPart]:
        """What was held back, now that nothing more comes."""
        self._over = True
        self._held += self._coming
        return self._certain()

    def _certain(self) -> Sequence[ReplyPart]:
        next(self._reading, None)
        parts, self._parts = self._parts, []
        return parts

    def _read(self) -> _Wait:
        """The whole reply; yields where more has to come."""
        yield
        form = self._form
        if form.anywhere:
            while (blanks := (yield from self._text_before_call(form))) is not None:
                yield from self._calling(form, blanks)
        else:
            blanks = yield from self._blanks()
            yield from self._calling(form, blanks)
        while self._held or not self._over:
            self._say(self._take(len(self._held)))
            yield

    def _text_before_call(self, form: ToolFormat) -> Generator[None, None, str | None]:
        """Say what stands before the next call. Returns the blanks right before it; None where
        there is none."""
        while (place := self._held.find(form.trigger)) < 0 and not self._over:
            sure = self._held[: len(self._held) - begun_size(self._held, [form.trigger])]
            self._say(self._take(len(sure.rstrip())))
            yield
        if place < 0:
            if self.calls:
                said = self._held[: len(self._held) - begun_size(self._held, [form.trigger])]
                self._held = said if said.strip() else ""
            return None
        self._say(self._take(len(self._held[:place].rstrip())))
        return self._take(self._held.find(form.trigger))

    def _calling(self, form: ToolFormat, before: str) -> _Wait:
        """Calls, one after another. What is none is left as text, but for its first character."""
        begin = yield from self._one_of(form.begin.lstrip())
        if begin is None:
            self._refuse(before)
            return
        before += begin[1]
        while True:
            name = yield from self._word()
            after = form.after_name.replace(NAME, name)
            if form.tagged is not None:
                going_on = yield from self._tagged_call(form, form.tagged, before, name, after)
            else:
                going_on = yield from self._json_call(form, before, name, after)
            if going_on is None:
                return
            before = going_on

    def _json_call(
        self, form: ToolFormat, before: str, name: str, after: str
    ) -> Generator[None, None, str | None]:
        """A call from behind its name on. Returns what led to another one; None: to none."""
        named = (yield from self._one_of(after)) if name else None
        blanks = yield from self._blanks()
        if named is None or not self._held.startswith("{"):
            self._refuse(f"{before}{name}{named[1] if named else ''}{blanks}")
            return None
        place = self._begin(name)
        yield from self._value(lambda text: self._tell(CallArguments(place, text)))
        return (yield from self._next_call(form.between, form.end))

    def _tagged_call(
        self, form: ToolFormat, tagged: TaggedArguments, before: str, name: str, after: str
    ) -> Generator[None, None, str | None]:
        # What follows without arguments may begin as what follows with some, and is longer.
        follows = (tagged.empty_between, tagged.empty_end, after)
        named = (yield from self._one_of(*follows)) if name else None
        if named is None:
            self._refuse(before + name)
            return None
        place = self._begin(name)
        if named[0] < 2:
            self._tell(CallArguments(place, "{}"))
            return named[1] if named[0] == 0 else None
        opening = "{"
        while True:
            key, argument, marks = yield from self._key(name, tagged)
            self._tell(CallArguments(place, f"{opening}{json_text(key, ascii=False)}: "))
            opening = ", "
            if not (yield from self._argument(place, argument, marks)):
                return None
            # What leads to the next argument may be the beginning of the others.
            following = yield from self._one_of(form.between, form.end, tagged.between)
            if following is None or following[0] < 2:
                self._drop_broken_off()
                self._tell(CallArguments(place, "}"))
                return following[1] if following is not None and following[0] == 0 else None

    def _key(
        self, name: str, tagged: TaggedArguments
    ) -> Generator[None, None, tuple[str, ToolArgument, ValueMarks]]:
        """The name of an argument, what is known of it, and the marks around its value."""
        tool = self._tools.get(name)
        for argument in (tool.arguments or ()) if tool is not None else ():
            marks = tagged.around(argument.kind)
            if (yield from self._one_of(argument.name + marks.before)) is not None:
                return argument.name, argument, marks
        marks = tagged.around("string")
        key = ""
        while marks.before not in self._held and not self._over:
            yield
        if marks.before in self._held:
            key, _, self._held = self._held.partition(marks.before)
        return key, ToolArgument(key, {"type": "string"}, required=False), marks

    def _argument(
        self, place: int, argument: ToolArgument, marks: ValueMarks
    ) -> Generator[None, None, bool]:
        """An argument's value. Returns whether it came to its end."""
        after = marks.after.replace(KEY, argument.name)
        if not argument.as_it_is:
            yield from self._value(lambda text: self._tell(CallArguments(place, text)))
            return not after or (yield from self._one_of(after)) is not None
        self._tell(CallArguments(place, '"'))

        def tell(text: str) -> None:
            self._tell(CallArguments(place, json_text(text, ascii=False)[1:-1]))

        ended = yield from self._until(after, tell)
        if ended:
            self._tell(CallArguments(place, '"'))
        return ended

    def _next_call(self, between: str, end: str) -> Generator[None, None, str | None]:
        """What leads to another call; None where nothing does."""
        following = yield from self._one_of(between, end)
        self._drop_broken_off()
        return following[1] if following is not None and following[0] == 0 else None

    def _refuse(self, text: str) -> None:
        """What was taken is no call: it is text, with the next character; or breaks off."""
        if self._over and not self._held:
            self._broken_off = True
        if self._broken_off:
            self._held = ""
        else:
            self._say(text + self._take(1))

    def _drop_broken_off(self) -> None:
        """What is left of a reply that was over before something of a call was whole."""
        if self._broken_off:
            self._held = ""

    @property
    def _exact(self) -> bool:
        return self._form.tagged is not None

    def _one_of(self, *literals: str) -> Generator[None, None, tuple[int, str] | None]:
        """Take the first of these texts that comes next. Returns its place and the text; None for
        none. Empty ones never come."""
        for place, literal in enumerate(literals):
            while literal:
                end = literal_end(literal, self._held, exact=self._exact)
                if end is None or (end == PARTIAL and self._over):
                    self._broken_off = self._broken_off or end == PARTIAL
                    break
                if end != PARTIAL:
                    return place, self._take(end)
                yield
        return None

    def _until(self, mark: str, tell: Callable[[str], None]) -> Generator[None, None, bool]:
        """Tell what stands before a mark, and take the mark too. Returns whether it came."""
        while (place := self._held.find(mark)) < 0:
            sure = len(self._held) - (0 if self._over else begun_size(self._held, [mark]))
            if sure:
                tell(self._take(sure))
            if self._over:
                return False
            yield
        if place:
            tell(self._take(place))
        self._take(len(mark))
        return True

    def _value(self, tell: Callable[[str], None]) -> _Wait:
        """Tell a JSON value."""
        value = JsonEnd()
        while True:
            size, ended = value.taken(self._held)
            if size:
                tell(self._take(size))
            if ended or self._over:
                return
            yield

    def _word(self) -> Generator[None, None, str]:
        while True:
            match = _NAME.match(self._held)
            assert match is not None
            if match.end() < len(self._held) or self._over:
                return self._take(match.end())
            yield

    def _blanks(self) -> Generator[None, None, str]:
        while not self._held.strip() and not self._over:
            yield
        return self._take(len(self._held) - len(self._held.lstrip()))

    def _begin(self, name: str) -> int:
        place, self.calls = self.calls, self.calls + 1
        self._tell(CallBegun(place, name))
        return place

    def _take(self, size: int) -> str:
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _say(self, text: str) -> None:
        if shown := without_marked(text):
            self._tell(Said(shown))

    def _tell(self, part: ReplyPart) -> None:
        self._parts.append(part)
