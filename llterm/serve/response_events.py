"""The chunks of a chat's stream as the events of `/v1/responses`, in OpenAI's order."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Event = Mapping[str, Any]
ItemKind = Literal["reasoning", "message", "function_call"]
Status = Literal["in_progress", "completed", "incomplete"]
_IDS: Mapping[ItemKind, str] = {"reasoning": "rs", "message": "msg", "function_call": "fc"}
_SAYINGS: Mapping[ItemKind, tuple[str, str]] = {
    "reasoning": ("response.reasoning_text", "text"),
    "message": ("response.output_text", "text"),
    "function_call": ("response.function_call_arguments", "arguments"),
}
"""What events call the text of an item, and the field that has the whole of it."""


@dataclass(slots=True, eq=False)
class _Item:
    """One item of the output, as it grows."""

    kind: ItemKind
    index: int
    call: Mapping[str, str] = field(default_factory=dict)
    """Of a call: its id and the function's name."""
    text: str = ""
    logprobs: list[Any] = field(default_factory=list)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"{_IDS[self.kind]}_{secrets.token_hex(16)}"

    def told(self, status: Status, *, begun: bool = False) -> Mapping[str, Any]:
        """The item. `begun`: without any of its parts yet."""
        item = {"id": self.id, "type": self.kind, "status": status}
        parts = [] if begun else [self.part()]
        match self.kind:
            case "reasoning":
                return {**item, "summary": [], "content": parts}
            case "message":
                return {**item, "role": "assistant", "content": parts}
            case "function_call":
                return {**item, **self.call, "arguments": "" if begun else self.text}

    def part(self) -> Mapping[str, Any]:
        """Its only part, as it is now."""
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": self.text}
        shown = {"annotations": [], "logprobs": list(self.logprobs)}
        return {"type": "output_text", "text": self.text, **shown}


class ResponseEvents:
    """One answer, event by event. What it comes to is the response of the last."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        """`head`: all fields of the response but those of what was drawn."""
        self._head = head
        self._count = 0
        self._items: list[Mapping[str, Any]] = []
        """Those that are done."""
        self._item: _Item | None = None
        self._call_index: int | None = None
        """As the chat numbers the call that is under way."""
        self._entries: list[Any] = []
        """Logprobs of tokens of which no text was told yet."""
        self._finish = ""
        self._usage: Mapping[str, Any] = {}

    def begin(self) -> Iterator[Event]:
        """What is told before anything else."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._response("in_progress"))

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """What one chunk adds."""
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        for choice in chunk["choices"]:
            self._finish = choice["finish_reason"] or self._finish
            self._entries += (choice["logprobs"] or {}).get("content", ())
            delta = choice["delta"]
            if thought := delta.get("reasoning_content"):
                yield from self._say("reasoning", thought)
            if text := delta.get("content"):
                yield from self._say("message", text)
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)

    def end(self) -> Iterator[Event]:
        """What is told at the end."""
        cut = self._finish == "length"
        if self._item is None and not self._items:
            yield from self._open("message")
        yield from self._close("incomplete" if cut else "completed")
        status: Status = "incomplete" if cut else "completed"
        yield self._event(f"response.{status}", response=self._response(status))

    def _say(self, kind: ItemKind, text: str) -> Iterator[Event]:
        if self._item is None or self._item.kind != kind:
            yield from self._open(kind)
        assert self._item is not None
        self._item.text += text
        more: dict[str, Any] = {}
        entries, self._entries = self._entries, []
        if kind == "message":
            more["logprobs"] = _entries_of(text, entries)
            self._item.logprobs += more["logprobs"]
        name, _ = _SAYINGS[kind]
        yield self._event(f"{name}.delta", **self._place(self._item), delta=text, **more)

    def _call(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        function = delta.get("function") or {}
        if delta["index"] != self._call_index:
            self._call_index = delta["index"]
            call = {"call_id": delta["id"], "name": function["name"]}
            yield from self._open("function_call", call)
        if arguments := function.get("arguments"):
            yield from self._say("function_call", arguments)

    def _open(self, kind: ItemKind, call: Mapping[str, str] | None = None) -> Iterator[Event]:
        """Begin another item."""
        yield from self._close("completed")
        item = self._item = _Item(kind, len(self._items), call or {})
        told = item.told("in_progress", begun=True)
        yield self._event("response.output_item.added", output_index=item.index, item=told)
        if kind != "function_call":
            place = self._place(item)
            yield self._event("response.content_part.added", **place, part=item.part())

    def _close(self, status: Status) -> Iterator[Event]:
        """End the item that is under way, if there is one."""
        item, self._item = self._item, None
        if item is None:
            return
        self._items.append(item.told(status))
        place = self._place(item)
        name, whole = _SAYINGS[item.kind]
        more = {"logprobs": list(item.logprobs)} if item.kind == "message" else {}
        yield self._event(f"{name}.done", **place, **{whole: item.text}, **more)
        if item.kind != "function_call":
            yield self._event("response.content_part.done", **place, part=item.part())
        yield self._event(
            "response.output_item.done", output_index=item.index, item=self._items[-1]
        )

    def _place(self, item: _Item) -> Mapping[str, Any]:
        place = {"item_id": item.id, "output_index": item.index}
        return place if item.kind == "function_call" else {**place, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> Event:
        self._count += 1
        return {"type": kind, "sequence_number": self._count - 1, **fields}

    def _response(self, status: Status) -> Mapping[str, Any]:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        usage = _usage(self._usage) if self._usage else None
        return {
            **self._head,
            "status": status,
            "incomplete_details": cut,
            "output": list(self._items),
            "usage": usage,
        }


def _entries_of(text: str, entries: Sequence[Any]) -> Sequence[Any]:
    """Those at the end of which the text is: what came before were markers, or thoughts."""
    size = len(text.encode())
    first = len(entries)
    while first and size > 0:
        first -= 1
        size -= len(entries[first]["bytes"])
    return entries[first:]


def _usage(chat: Mapping[str, Any]) -> Mapping[str, Any]:
    """Under the names of responses."""
    cached = chat["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {
            "reasoning_tokens": chat["completion_tokens_details"]["reasoning_tokens"]
        },
        "total_tokens": chat["total_tokens"],
    }
