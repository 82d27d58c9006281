"""Fields that every body which draws texts has: OpenAI's, vLLM's extras, gallama's formats."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llterm.serve.body_reader import BodyBase
from llterm.serve.sampler_fields import LogitBias
from llterm.serve.serve_limits import (
    MOST_ALLOWED,
    MOST_LISTED,
    MOST_STOPS,
    MOST_WATCHED,
    SCHEMA_BYTES,
    STOP_BYTES,
)

TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]
Stop = Annotated[str, Meta(min_length=1, max_length=STOP_BYTES)]
Stops = Stop | Annotated[list[Stop], Meta(max_length=MOST_STOPS)]
Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Count = Annotated[int, Meta(ge=1, le=1024)]
TokenCount = Annotated[int, Meta(ge=0, lt=1 << 31)]
Listed = Annotated[int, Meta(ge=0, le=MOST_LISTED)]
Source = Annotated[str, Meta(min_length=1, max_length=SCHEMA_BYTES)]


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a stream is told."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    include_obfuscation: Literal[False] = False


class StructuredOutputs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the text must fit, as vLLM says it; one of these."""

    json: dict[str, Any] | Source | None = None
    regex: Source | None = None
    choice: Annotated[list[Source], Meta(min_length=1, max_length=1024)] | None = None
    grammar: Source | None = None
    """Lark, or llama.cpp's GBNF."""
    json_object: bool | None = None


class JsonSchemaFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's way to name a schema."""

    schema: dict[str, Any]
    name: str = ""
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the text must fit, as OpenAI says it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None
    schema: dict[str, Any] | None = None
    """llama.cpp's, of a `json_object`."""


class GenerationFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """How texts are to be drawn, and told."""

    model: str | None = None
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    n_predict: Annotated[int, Meta(ge=-1, lt=1 << 31)] | None = None
    """llama.cpp's name of the same; -1: as long as there is room."""
    n: Count | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: Seed | None = None
    logit_bias: LogitBias | None = None
    response_format: ResponseFormat | None = None

    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    prompt_logprobs: Listed | None = None
    logprob_token_ids: Annotated[list[TokenId], Meta(max_length=MOST_WATCHED)] | None = None
    allowed_token_ids: Annotated[list[TokenId], Meta(max_length=MOST_ALLOWED)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=1024)] | None = None
    ignore_eos: bool = False
    min_tokens: TokenCount = 0
    include_stop_str_in_output: bool = False
    structured_outputs: StructuredOutputs | None = None

    leading_prompt: str | None = None
    """gallama's: stands after the prompt, and is not returned."""
    regex_pattern: Source | None = None
    regex_prefix_pattern: Source | None = None
    prefix_strings: Stops | None = None
    stop_words: Stops | None = None
    """gallama's: as `stop`, and returned."""

    ban_eos_token: bool = False
    """text-generation-webui's, as those that follow: `ignore_eos`."""
    grammar_string: Source | None = None
    do_sample: bool | None = None
    """False: temperature is 0."""
    dynamic_temperature: bool | None = None
    dynatemp_low: Annotated[float, Meta(ge=0, le=100)] | None = None
    dynatemp_high: Annotated[float, Meta(ge=0, le=100)] | None = None
    """They say again what `temperature` and `dynatemp_range` do."""
