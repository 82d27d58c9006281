"""Chats that templates are to write, and llama.cpp's server that writes them by one template after
another: begun by its path alone, with the model, and on standard input templates and chats."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Chats = Mapping[str, Mapping[str, Any]]
"""Bodies by name."""
Written = dict[str, str | None]
"""What became of each; None where it was refused."""
SECONDS = 60
"""Most that a template's chats may take."""

_SYSTEM = {"role": "system", "content": "You are brief."}
_ASKED = {"role": "user", "content": "What is the weather in Rome?"}
_ANSWER = {"role": "assistant", "content": "It is sunny there."}
_THOUGHT = {"reasoning_content": "Rome is in Italy."}
_MORE = {"role": "user", "content": "And tomorrow?"}
_CALL = {
    "role": "assistant", "content": None,
    "tool_calls": [{
        "id": "callabcde", "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Rome", "days": 2}'},
    }],
}  # fmt: skip
_RESULT = {"role": "tool", "tool_call_id": "callabcde", "content": "It is sunny."}
_TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather somewhere",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where"},
                "days": {"type": "integer", "description": "How many"},
            },
            "required": ["city"],
        },
    }},
    {"type": "function", "function": {
        "name": "stop", "description": "End it",
        "parameters": {"type": "object", "properties": {}},
    }},
]  # fmt: skip
WITH_TOOLS: Chats = {
    "tools": {"messages": [_SYSTEM, _ASKED], "tools": _TOOLS},
    "call": {"messages": [_SYSTEM, _ASKED, _CALL, _RESULT], "tools": _TOOLS},
    "thought and call": {
        "messages": [_SYSTEM, _ASKED, {**_CALL, **_THOUGHT}, _RESULT], "tools": _TOOLS,
    },
    "call before": {
        "messages": [_SYSTEM, _ASKED, _CALL, _RESULT, _ANSWER, _MORE], "tools": _TOOLS,
    },
}  # fmt: skip
CHATS: Chats = {
    "plain": {"messages": [_ASKED]},
    "system": {"messages": [_SYSTEM, _ASKED]},
    "turns": {"messages": [_SYSTEM, _ASKED, _ANSWER, _MORE]},
    "thoughts": {"messages": [_ASKED, {**_ANSWER, **_THOUGHT}, _MORE]},
    "no thoughts": {"messages": [_ASKED], "chat_template_kwargs": {"enable_thinking": False}},
    "closed": {"messages": [_ASKED], "add_generation_prompt": False},
    **WITH_TOOLS,
}


def main() -> None:
    """Write all chats by each template, each in a process of its own: what ends that ends no
    other."""
    asked = json.load(sys.stdin)
    processes = get_context("fork")
    written = {}
    for name, template in asked["templates"].items():
        answers: Queue[Written] = processes.Queue()
        process = processes.Process(
            target=_write, args=(sys.argv[1], template, asked["chats"], answers)
        )
        process.start()
        written[name] = answers.get(timeout=SECONDS)
        process.kill()
        process.join()
    json.dump(written, sys.stdout)


def _write(model: str, template: str, chats: Chats, answers: Queue[Written]) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx, params.warmup, params.ui = 1, 256, False, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.chat_template = template
    server = xllamacpp.Server(params)
    written: Written = {}
    for name, chat in chats.items():
        request = Request(
            f"{server.listening_address}/apply-template",
            json.dumps(chat).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urlopen(request) as answer:
                written[name] = json.load(answer)["prompt"]
        except HTTPError:
            written[name] = None
    answers.put(written)


if __name__ == "__main__":
    main()
