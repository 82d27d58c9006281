"""Finds out how a chat template writes calls of tools: it is asked to write some, and the texts are
compared with those that it writes without calls."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llterm.core.conversation import Conversation, ConversationEnd, Message
from llterm.core.json_text import json_text
from llterm.core.tool_format import (
    ID,
    JSON_KINDS,
    KEY,
    NAME,
    NUMBER,
    JsonKind,
    TaggedArguments,
    TemplateTools,
    ToolFormat,
    ValueMarks,
)
from llterm.errors import ModelError

Write = Callable[[Conversation], Awaitable[str]]
"""Writes a conversation by the template. Raises ModelError where it cannot."""
_SAID, _ANSWER, _SHOWN = "saidqj", "answerqj", "describedqj"
_NAMES = "firstqj", "secondqj"
_KEYS = "onekqj", "twokqj"
_TEXTS = "textqja", "textqjb", "textqjc"
_IDS = "callqjabc", "callqjdef"
_VALUES: Mapping[JsonKind, Any] = {
    "string": _TEXTS[0], "number": 17.25, "integer": 1725, "boolean": True, "null": None,
    "array": [1725], "object": {"innerqj": 1725},
}  # fmt: skip
_USER: Message = {"role": "user", "content": "userqj"}
Arguments = Mapping[str, Any]
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,9})([^0-9]*)", re.DOTALL)
_OPEN_TAG = re.compile(r"<[^<>\s]*$")
_REST_OF_TAG = re.compile(r"[^<>\s]*>")
_TWO: Arguments = {_KEYS[0]: _TEXTS[0], _KEYS[1]: _TEXTS[1]}
_ONE: Arguments = {_KEYS[0]: _TEXTS[2]}


async def probed_tools(write: Write) -> TemplateTools:
    """What a template does for tools. What it leaves undone, or does in a way that is not known
    here, is to be done in words."""
    shown = _SHOWN in (await _written(write, [_USER], "opened") or "")
    for text in (False, True):
        for null in (False, True):
            probe = _Probe(write, arguments_text=text, content_null=null)
            if (derived := await probe.derived()) is not None:
                return TemplateTools(derived, True, shown, await probe.answered())
    return TemplateTools()


@dataclass(frozen=True, slots=True)
class _CallText:
    """What is written for calls beyond what is written for a reply without."""

    text: str
    closing: str
    """What follows a reply without calls."""

    def after(self, sought: str, start: int = 0) -> int:
        """Where the first of these ends; -1 without one."""
        place = self.text.find(sought, start)
        return -1 if place < 0 else place + len(sought)


@dataclass(frozen=True, slots=True)
class _Probe:
    write: Write
    arguments_text: bool
    content_null: bool

    async def answered(self) -> bool:
        """Whether the template shows what a tool answered."""
        answer = {"role": "tool", "tool_call_id": _IDS[0], "name": _NAMES[0], "content": _ANSWER}
        messages = [_USER, self._calling([_TWO]), answer]
        return _ANSWER in (await _written(self.write, messages, "opened") or "")

    async def derived(self) -> ToolFormat | None:
        call = await self.called(_TWO)
        name_end = call.after(_NAMES[0]) if call is not None else -1
        if call is None or name_end < 0:
            return None
        place = _object_place(call.text, name_end, _TWO)
        if place is not None:
            return await self._with_json(call, name_end, *place)
        return None if self.arguments_text else await self._with_tags(call, name_end)

    async def called(self, *arguments: Arguments) -> _CallText | None:
        """What these calls add; None where they cannot be written."""
        reply = {"role": "assistant", "content": _SAID}
        plain = await _written(self.write, [_USER, reply], "closed")
        bare = await _written(self.write, [_USER, reply], "closed", shown=False)
        opened = await _written(self.write, [_USER], "opened")
        calling = await _written(self.write, [_USER, self._calling(arguments)], "closed")
        if plain is None or opened is None or calling is None or _SAID not in plain:
            return None
        start = _common(plain, calling)
        if calling.startswith(opened):
            start = max(start, len(opened))
        if start < calling.find(str(_USER["content"])):
            return None
        tail = plain[plain.rindex(_SAID) + len(_SAID) :]
        end = len(calling) - _common(tail[::-1], calling[start:][::-1])
        # Tags that begin or end alike are not to be cut.
        if open_tag := _OPEN_TAG.search(calling[:start]):
            start = open_tag.start()
        if _OPEN_TAG.search(calling[start:end]) and (rest := _REST_OF_TAG.match(calling[end:])):
            end += rest.end()
        return _CallText(calling[start:end], (bare or "").rpartition(_SAID)[2])

    def _calling(self, arguments: Sequence[Arguments]) -> Message:
        calls = [
            {
                "id": id,
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": json_text(each) if self.arguments_text else each,
                },
            }
            for id, name, each in zip(_IDS, _NAMES, arguments, strict=False)
        ]
        content = None if self.content_null else ""
        return {"role": "assistant", "content": content, "tool_calls": calls}

    async def _with_json(
        self, call: _CallText, name_end: int, start: int, end: int
    ) -> ToolFormat | None:
        text = call.text
        item, key = _separators(text[start:end])
        told = _Told(text[: name_end - len(_NAMES[0])], text[name_end:start], text[end:])
        both = await self.called(_TWO, _ONE)
        second = _second_call(both.text, end) if both is not None else None
        if both is not None and second is not None:
            place = _object_place(both.text, second, _ONE)
            if place is None:
                return None
            told.follow(both.text[end : second - len(_NAMES[1])], both.text[second : place[0]])
            told.end = max(told.end, both.text[place[1] :], key=len)
        return told.format(self, call, None, item, key)

    async def _with_tags(self, call: _CallText, name_end: int) -> ToolFormat | None:
        """Arguments one by one: cut at names and values, whatever is between."""
        text = call.text
        first, value = (call.after(each, name_end) for each in (_KEYS[0], _TEXTS[0]))
        second = text.find(_KEYS[1], value)
        last = call.after(_TEXTS[1], second)
        both = await self.called(_ONE, _ONE)
        empty, empty_both = await self.called({}), await self.called({}, _ONE)
        if min(first, value, second, last) < 0 or first > value or empty is None:
            return None
        told = _Told(
            text[: name_end - len(_NAMES[0])],
            text[name_end : first - len(_KEYS[0])],
            text[last:].replace(_KEYS[1], KEY),
        )
        follows = [text[value:second].replace(_KEYS[0], KEY), told.end]
        empty_end = empty.text[max(empty.after(_NAMES[0]), 0) :]
        between = empty_between = ""
        following = _second_call(both.text, name_end) if both is not None else None
        if both is not None and following is not None and empty_both is not None:
            start = both.after(_TEXTS[2])
            between = both.text[start : following - len(_NAMES[1])].replace(_KEYS[0], KEY)
            told.follow(between, both.text[following : both.text.find(_KEYS[0], following)])
            follows.append(told.between)
            place = _second_call(empty_both.text, 0) or 0
            empty_between = empty_both.text[empty_both.after(_NAMES[0]) : place - len(_NAMES[1])]
        mark = follows[0][: min(_common(follows[0], each) for each in follows)]
        mark = _OPEN_TAG.sub("", mark) or mark
        if not mark:
            return None
        told.end = told.end[len(mark) :]
        told.between = told.between[len(mark) :]
        marks = await self._marks(mark, told.end, name_end)
        if marks is None:
            return None
        tagged = TaggedArguments(marks, follows[0][len(mark) :], empty_between, empty_end)
        return told.format(self, call, tagged)

    async def _marks(
        self, mark: str, end: str, name_end: int
    ) -> tuple[tuple[JsonKind, ValueMarks], ...] | None:
        marks: list[tuple[JsonKind, ValueMarks]] = []
        for kind in JSON_KINDS:
            call = await self.called({_KEYS[0]: _VALUES[kind]})
            if call is None:
                return None
            start = call.after(_KEYS[0], name_end)
            tail = call.text[start:].replace(_KEYS[0], KEY)
            said = _TEXTS[0] if kind == "string" else json_text(_VALUES[kind])
            place = tail.rfind(said)
            if place < 0:
                # It is written in a way of its own; JSON between the marks of numbers will do.
                kind_marks = dict(marks).get("number", ValueMarks("", mark))
            else:
                after = tail[place + len(said) :]
                if not after.endswith(end):
                    return None
                kind_marks = ValueMarks(tail[:place], after[: len(after) - len(end)])
            marks.append((kind, kind_marks))
        return tuple(marks)


@dataclass(slots=True)
class _Told:
    """The texts between names and arguments, as they are learned."""

    begin: str
    after_name: str
    end: str
    between: str = ""

    def follow(self, between: str, after_name: str) -> None:
        """Take in what stands around a second call's name; the places that count calls show by
        it."""
        self.between = between
        counted = _counted(self.after_name, after_name)
        if counted is not None:
            self.after_name = counted
        one, two = (_LAST_NUMBER.fullmatch(each) for each in (self.begin, between))
        if one and two and one[3] == two[3] and int(two[2]) == int(one[2]) + 1:
            self.begin, self.between = (f"{each[1]}{NUMBER}{each[3]}" for each in (one, two))

    def format(
        self,
        probe: _Probe,
        call: _CallText,
        tagged: TaggedArguments | None,
        item: str = ", ",
        key: str = ": ",
    ) -> ToolFormat | None:
        """What was learned; None where it could not be told from other text."""
        made = ToolFormat(
            self.begin, self.after_name, self.between, self.end, tagged, item, key,
            probe.arguments_text, probe.content_null,
        ).mapped(_slots)  # fmt: skip
        plain = made.trigger in call.closing
        return made if made.trigger and made.after_name and not plain else None


def _common(first: str, second: str) -> int:
    """Length of the beginning that two texts have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    ends = (place for place, (one, other) in pairs if one != other)
    return next(ends, min(len(first), len(second)))


def _slots(text: str) -> str:
    for id in _IDS:
        text = text.replace(id, ID)
    for name in _NAMES:
        text = text.replace(name, NAME)
    return text


def _counted(first: str, second: str) -> str | None:
    """The text with the place where the two count; None where they do not."""
    one, two = (re.split(r"([0-9]+)", each) for each in (first, second))
    if len(one) != len(two):
        return None
    places = [place for place in range(len(one)) if one[place] != two[place]]
    if len(places) != 1 or not one[places[0]].isdigit():
        return None
    one[places[0]] = NUMBER
    return "".join(one)


def _second_call(text: str, start: int) -> int | None:
    """Where the second call's name ends."""
    place = text.find(_NAMES[1], start)
    return None if place < 0 else place + len(_NAMES[1])


def _object_place(text: str, start: int, arguments: Arguments) -> tuple[int, int] | None:
    """Where these arguments stand as a JSON object."""
    reader = json.JSONDecoder()
    while (start := text.find("{", start)) >= 0:
        try:
            value, end = reader.raw_decode(text, start)
        except (ValueError, RecursionError):
            value, end = None, 0
        if value == arguments:
            return start, end
        start += 1
    return None


def _separators(written: str) -> tuple[str, str]:
    """Between items and after names in this JSON of two texts; the usual ones where it is written
    over several lines."""
    key, item = (
        written.partition(f'"{first}"')[2].partition(f'"{second}"')[0]
        for first, second in ((_KEYS[0], _TEXTS[0]), (_TEXTS[0], _KEYS[1]))
    )
    return (item, key) if (item.strip(" "), key.strip(" ")) == (",", ":") else (", ", ": ")


def _tool(name: str) -> dict[str, Any]:
    kinds = {key: {"type": "string", "description": _SHOWN} for key in _KEYS}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": _SHOWN,
            "parameters": {"type": "object", "properties": kinds, "required": [_KEYS[0]]},
        },
    }


async def _written(
    write: Write, messages: Sequence[Message], ending: ConversationEnd, *, shown: bool = True
) -> str | None:
    """What the template makes of it, with tools `shown`; None where it refuses."""
    tools = tuple(map(_tool, _NAMES)) if shown else ()
    try:
        return await write(Conversation(tuple(messages), tools, {}, ending))
    except ModelError:
        return None
