"""What `/v1/responses` takes: OpenAI's newer shape of a chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llterm.serve.body_reader import BodyBase
from llterm.serve.chat_bodies import Effort, Name, ToolName
from llterm.serve.generation_bodies import (
    Listed,
    Seed,
    Source,
    Stops,
    StructuredOutputs,
    TokenCount,
)
from llterm.serve.sampler_fields import LogitBias, with_sampler_fields
from llterm.serve.serve_limits import MOST_MESSAGES, MOST_PARTS, MOST_TOOLS, MOST_VARIABLES

LOGPROBS = "message.output_text.logprobs"
"""What `include` calls the logprobs of what is said."""
Included = Literal[
    "message.output_text.logprobs", "reasoning.encrypted_content", "file_search_call.results",
    "web_search_call.results", "web_search_call.action.sources", "message.input_image.image_url",
    "computer_call_output.output.image_url", "code_interpreter_call.outputs",
]  # fmt: skip
"""But for the first they are of what there is none of here."""


class InputPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of what an item says. Texts are taken; other kinds are refused by name."""

    type: Literal[
        "input_text", "output_text", "refusal", "reasoning_text", "summary_text", "input_image",
        "input_file", "input_audio",
    ]  # fmt: skip
    text: str | None = None
    refusal: str | None = None
    annotations: Any = None
    """Of an answer that is sent back, as `logprobs`: passed over."""
    logprobs: Any = None
    prompt_cache_breakpoint: Any = None
    image_url: Any = None
    input_audio: Any = None
    detail: Any = None
    file_id: Any = None
    file_data: Any = None
    file_url: Any = None
    filename: Any = None


Parts = Annotated[list[InputPart], Meta(max_length=MOST_PARTS)]


class InputItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One message, call, result of a call, or what was thought before."""

    type: Literal[
        "message", "function_call", "function_call_output", "reasoning", "item_reference"
    ] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | Parts | None = None
    call_id: Name | None = None
    name: ToolName | None = None
    arguments: str | None = None
    output: str | Parts | None = None
    summary: Parts | None = None
    encrypted_content: Any = None
    """Somebody else's thoughts, as those that follow: passed over."""
    id: Any = None
    status: Any = None
    phase: Any = None


class ResponseTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A function that the model may call."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How much is thought. Thoughts are told as they are, whatever summary is asked for."""

    effort: Effort | None = None
    summary: Any = None
    generate_summary: Any = None


class TextFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the text must fit."""

    type: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How it is said."""

    format: TextFormat | None = None
    verbosity: Any = None


class ResponseStreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a stream is told."""

    include_obfuscation: Literal[False] = False


class _ResponseFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A chat to answer."""

    model: str | None = None
    input: str | Annotated[list[InputItem], Meta(min_length=1, max_length=MOST_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: TokenCount | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    include: Annotated[list[Included], Meta(max_length=16)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    tools: Annotated[list[ResponseTool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[Name, Any], Meta(max_length=16)] | None = None

    candidates: Listed | None = None
    """llterm's, as all that follow: what a chat has too."""
    seed: Seed | None = None
    stop: Stops | None = None
    logit_bias: LogitBias | None = None
    min_tokens: TokenCount = 0
    ignore_eos: bool = False
    structured_outputs: StructuredOutputs | None = None
    regex_pattern: Source | None = None
    chat_template_kwargs: Annotated[dict[Name, Any], Meta(max_length=MOST_VARIABLES)] | None = None

    prompt_cache_options: Any = None
    """OpenAI's again: they change no text."""
    prompt_cache_retention: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    background: Any = None
    truncation: Any = None
    max_tool_calls: Any = None
    context_management: Any = None
    prompt: Any = None
    moderation: Any = None


ResponseBody = with_sampler_fields(_ResponseFields)

RESPONSE_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "previous_response_id": (),
    "conversation": (),
    "background": (False,),
    "truncation": ("disabled",),
    "max_tool_calls": (),
    "context_management": ([],),
    "prompt": (),
    "moderation": (),
}
"""Fields that ask for memory, or for what is not done here: only what asks for nothing is taken."""
