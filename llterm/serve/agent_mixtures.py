"""gallama's mixture of agents: several models answer a chat side by side, and one more makes its
answer of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from llterm.errors import LltermError
from llterm.serve.api_errors import bad_field, error_answer
from llterm.serve.chat_bodies import Agent, MessageBody
from llterm.serve.chat_completions import answer_chat, plan_chat, stream_chat
from llterm.serve.request_counts import RequestCounts
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel

_WORDS = """\
Other assistants answered what was asked, as follows. Make one answer of theirs that is better \
than each: be critical, for some of them may be wrong, and do not speak of them.\
"""
_OWN = (
    "mixture_of_agents", "stream", "stream_options", "n", "tools", "tool_choice", "logprobs",
    "top_logprobs", "candidates", "response_format", "structured_outputs", "grammar", "json_schema",
    "grammar_string", "regex_pattern", "regex_prefix_pattern", "prefix_strings", "leading_prompt",
    "logprob_token_ids", "prompt_logprobs", "return_token_ids", "return_thinking", "artifact",
    "logit_bias", "allowed_token_ids", "stop_token_ids",
)  # fmt: skip
"""Fields of the body that are the master's alone."""


Usage = Mapping[str, Any]
Use = Callable[[str | None], AbstractAsyncContextManager[ServedModel]]


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """What came of one agent."""

    model: str
    content: str
    error: str
    """Why it gave no answer; empty where it did."""
    usage: Usage
    """Of its tokens; empty where it gave no answer."""

    @property
    def told(self) -> Mapping[str, str]:
        """As an answer tells it."""
        if self.error:
            return {"model": self.model, "error": self.error}
        return {"model": self.model, "content": self.content}


@dataclass(frozen=True, slots=True)
class AgentMixture:
    """A chat whose agents are known."""

    body: Any
    use: Use
    """Gives a model by its name for as long as it is needed."""
    rules: RequestRules
    whose: str
    counts: RequestCounts

    @property
    def names(self) -> Sequence[str | None]:
        """Of all models that it needs, the master's last."""
        return [*(name for name, _ in self._agents), self.body.model]

    @property
    def _agents(self) -> Sequence[tuple[str, str | None]]:
        """Names, each with its thinking template."""
        return [
            (each.model, each.thinking_template) if isinstance(each, Agent) else (each, None)
            for each in self.body.mixture_of_agents.agent_list
        ]

    async def answered(self) -> Mapping[str, Any]:
        """The master's answer, with what came of each agent. Raises LltermError."""
        answers = await self.answers()
        async with self.use(self.body.model) as master:
            plan = await plan_chat(self.asked(answers), master, self.rules, self.whose)
            with self.counts.counting(plan.choices):
                answer = await answer_chat(plan)
        return {**answer, "usage": _summed(answer["usage"], answers), **_told(answers)}

    async def streamed(self) -> AsyncGenerator[Mapping[str, Any]]:
        """The chunks of the same; what came of the agents is in the first."""
        answers = await self.answers()
        first = _told(answers)
        async with self.use(self.body.model) as master:
            plan = await plan_chat(self.asked(answers), master, self.rules, self.whose)
            with self.counts.counting(plan.choices):
                async with aclosing(stream_chat(plan)) as chunks:
                    async for chunk in chunks:
                        if used := chunk.get("usage"):
                            chunk = {**chunk, "usage": _summed(used, answers)}
                        yield {**chunk, **first}
                        first = {}

    async def answers(self) -> Sequence[AgentAnswer]:
        """What they answer, in their order. Raises LltermError where none does."""
        if self.body.messages[-1].role == "assistant":
            raise bad_field("mixture_of_agents", "There is nothing to answer",
                            "The last message is the assistant's.")  # fmt: skip
        tasks = [asyncio.create_task(self._answer(*agent)) for agent in self._agents]
        try:
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        told: list[AgentAnswer] = []
        faults: list[LltermError] = []
        for (name, _), task in zip(self._agents, tasks, strict=True):
            error = task.exception()
            if error is not None and not isinstance(error, LltermError):
                raise error
            faults += [] if error is None else [error]
            if error is None:
                told.append(task.result())
            else:
                words = error_answer(error).body["error"]["message"]
                told.append(AgentAnswer(name, "", words, {}))
        if len(faults) == len(told):
            raise faults[0]
        return told

    def asked(self, answers: Sequence[AgentAnswer]) -> Any:
        """The body that the master is asked: with what the others answered said at its end."""
        said = [each for each in answers if not each.error]
        listed = "\n\n".join(f"Answer {n}:\n{each.content}" for n, each in enumerate(said, 1))
        message = MessageBody(role="user", content=f"{_WORDS}\n\n{listed}")
        messages = [*self.body.messages, message]
        return msgspec.structs.replace(self.body, messages=messages, mixture_of_agents=None)

    async def _answer(self, name: str, template: str | None) -> AgentAnswer:
        usual = type(self.body)(messages=self.body.messages)
        own = {name: getattr(usual, name) for name in _OWN}
        body = msgspec.structs.replace(self.body, **own, thinking_template=template)
        async with self.use(name) as model:
            plan = await plan_chat(body, model, self.rules, self.whose)
            with self.counts.counting(plan.choices):
                answer = await answer_chat(plan)
        content = str(answer["choices"][0]["message"]["content"])
        return AgentAnswer(name, content, "", answer["usage"])


def _told(answers: Sequence[AgentAnswer]) -> Mapping[str, Any]:
    return {"mixture_of_agents": [each.told for each in answers]}


def _summed(used: Usage, answers: Sequence[AgentAnswer]) -> Usage:
    """What the master used, and the agents before it."""
    summed = used
    for each in answers:
        summed = _sum(summed, each.usage) if each.usage else summed
    return summed


def _sum(one: Usage, other: Usage) -> Usage:
    return {
        name: _sum(value, other[name]) if isinstance(value, Mapping) else value + other[name]
        for name, value in one.items()
    }
