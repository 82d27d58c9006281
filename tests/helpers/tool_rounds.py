"""Chats in which a tool has to be called, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.helpers.random_tools import call_faults, random_tools
from tests.helpers.served_api import ServedApi

PATH = "/v1/chat/completions"
ASKED = [{"role": "user", "content": "What is the weather like in Boston?"}]


@dataclass(slots=True)
class ToolRounds:
    """How requests ended."""

    called: int = 0
    cut: int = 0
    """By their length, and said so."""
    faults: list[Any] = field(default_factory=list)


async def tool_rounds(api: ServedApi, model: str, seeds: range, **body: Any) -> ToolRounds:
    """Have a model call tools of random schemas: any of three, or one by name, in turn."""
    rounds = ToolRounds()
    for seed in seeds:
        tools = random_tools(Random(seed), 3)
        named = {"type": "function", "function": {"name": "tool_1"}}
        choice = named if seed % 2 else "required"
        answer = await api.ask(
            PATH, model=model, messages=ASKED, tools=tools, tool_choice=choice, seed=seed,
            parallel_tool_calls=not seed % 3, **body,
        )  # fmt: skip
        (reply,) = answer["choices"]
        calls = reply["message"].get("tool_calls", [])
        whole = calls
        if reply["finish_reason"] == "length":
            rounds.cut += 1
            whole = calls[:-1]
        else:
            rounds.called += 1
            if reply["finish_reason"] != "tool_calls" or not calls:
                rounds.faults.append((seed, reply))
        names = {call["function"]["name"] for call in calls}
        if reply["message"]["content"] or (seed % 2 and names - {"tool_1"}):
            rounds.faults.append((seed, reply))
        for call in whole:
            function = call["function"]
            if wrong := call_faults(tools, function["name"], function["arguments"]):
                rounds.faults.append((seed, wrong))
    return rounds
