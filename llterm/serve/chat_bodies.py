"""What `/v1/chat/completions` takes besides what every body has that draws texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llterm.serve.generation_bodies import GenerationFields, Listed, Source
from llterm.serve.sampler_fields import with_sampler_fields
from llterm.serve.serve_limits import (
    MOST_AGENTS,
    MOST_MESSAGES,
    MOST_PARTS,
    MOST_TOOLS,
    MOST_VARIABLES,
)

Name = Annotated[str, Meta(min_length=1, max_length=256)]
ToolName = Annotated[str, Meta(pattern=r"^[\w.:/-]{1,128}$", max_length=128)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ContentPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of what a message says. Texts are taken; other kinds are refused by name."""

    type: Literal[
        "text", "refusal", "image_url", "input_audio", "audio_url", "video_url", "file"
    ]  # fmt: skip
    text: str | None = None
    refusal: str | None = None
    image_url: Any = None
    input_audio: Any = None
    audio_url: Any = None
    video_url: Any = None
    file: Any = None
    cache_control: Any = None


class CalledFunction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What was called, with what."""

    name: ToolName
    arguments: str | dict[str, Any] = "{}"
    """JSON as a text, as OpenAI has it, or as it is."""


class ToolCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A call that the assistant made."""

    function: CalledFunction
    id: Name | None = None
    type: Literal["function"] = "function"
    index: Any = None


class MessageBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[ContentPart], Meta(max_length=MOST_PARTS)] | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MOST_TOOLS)] | None = None
    tool_call_id: Name | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """Another name of the same."""

    refusal: Any = None
    """Of an answer that is sent back, as those that follow: passed over."""
    annotations: Any = None
    audio: Any = None
    function_call: Any = None
    reasoning_details: Any = None


class ToolFunction(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):  # fmt: skip
    """What a tool is called, what it does, and what it takes."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool that the model may call."""

    type: Literal["function"]
    function: ToolFunction


class ChosenFunction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool by its name."""

    name: ToolName


class ChosenTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One of several tools that may be called."""

    type: Literal["function"]
    function: ChosenFunction


class AllowedTools(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The tools that may be called, of those that there are."""

    mode: Literal["auto", "required"] = "auto"
    tools: Annotated[list[ChosenTool], Meta(min_length=1, max_length=MOST_TOOLS)]


class ToolChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which tools may be called, or the one that is to be."""

    type: Literal["function", "allowed_tools"]
    function: ChosenFunction | None = None
    allowed_tools: AllowedTools | None = None


class Agent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One that answers first."""

    model: Name
    thinking_template: Source | None = None


class MixtureOfAgents(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Models that answer first, and of whose answers one is made."""

    agent_list: Annotated[list[Name | Agent], Meta(min_length=1, max_length=MOST_AGENTS)]


class _ChatFields(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A chat to answer."""

    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Meta(ge=-1, lt=1 << 31)] | None = None
    """-1, which some clients send: as long as there is room."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    candidates: Listed | None = None
    """llterm's: as `top_logprobs`, and as many as one likes."""
    tools: Annotated[list[ToolBody], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None

    thinking_template: Source | None = None
    """gallama's, as those that follow: an XML form that is filled in before the answer."""
    return_thinking: Literal["separate"] | bool | None = None
    artifact: Literal["No", "Fast", "Slow"] | None = None
    mixture_of_agents: MixtureOfAgents | None = None

    add_generation_prompt: bool | None = None
    """vLLM's, as those that follow."""
    continue_final_message: bool | None = None
    chat_template_kwargs: Annotated[dict[Name, Any], Meta(max_length=MOST_VARIABLES)] | None = None

    grammar: Source | None = None
    """llama.cpp's, as those that follow: GBNF, or Lark."""
    json_schema: dict[str, Any] | Source | None = None
    timings_per_token: bool | None = None
    """How long it took is told too, at the end."""
    cache_prompt: Any = None
    id_slot: Any = None
    n_keep: Any = None

    prediction: Any = None
    """OpenAI's again: it only makes answers quicker."""
    prompt_cache_retention: Any = None
    modalities: Any = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    web_search_options: Any = None


ChatBody = with_sampler_fields(_ChatFields)

CHAT_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "audio": (),
    "functions": ([],),
    "function_call": ("none",),
    "web_search_options": (),
}
"""Fields of OpenAI's that change an answer and are not obeyed: only what asks for nothing is
taken."""
