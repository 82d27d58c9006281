"""What llama.cpp's `/completion`, `/tokenize` and `/detokenize` take, the latter two in vLLM's
words as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llterm.serve.body_reader import BodyBase
from llterm.serve.generation_bodies import Count, Listed, Seed, Source, Stops, TokenId
from llterm.serve.sampler_fields import LogitBias, with_sampler_fields


class PromptObject(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A text as an object, as clients write it that can send pictures too."""

    prompt_string: str
    multimodal_data: Any = None


MixedPrompt = str | PromptObject | list[str | TokenId | PromptObject | list[str | TokenId]]
"""A text, or texts and token ids in a row; or a list of such lists and texts."""

AnswerPaths = Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=64)]


class _LlamaCppFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A text, or several, to go on with, in llama.cpp's words."""

    prompt: MixedPrompt
    model: str | None = None
    n_predict: Annotated[int, Meta(ge=-1, lt=1 << 31)] | None = None
    """-1, as usual there: as long as there is room."""
    max_tokens: Annotated[int, Meta(ge=-1, lt=1 << 31)] | None = None
    n_cmpl: Count = 1
    n: Count | None = None
    n_probs: Listed = 0
    post_sampling_probs: bool = False
    stream: bool = False
    stop: Stops | None = None
    seed: Seed | None = None
    ignore_eos: bool = False
    logit_bias: LogitBias | None = None
    grammar: Source | None = None
    """GBNF, or Lark."""
    json_schema: dict[str, Any] | Source | None = None
    return_tokens: bool = False
    response_fields: AnswerPaths = ()
    """The only ones of a whole answer's fields to tell; `a/b` is field b of a."""

    cache_prompt: Any = None
    id_slot: Any = None
    backend_sampling: Any = None
    timings_per_token: Any = None
    n_keep: Any = None

    n_indent: Any = None
    min_keep: Any = None
    t_max_predict_ms: Any = None
    n_discard: Any = None
    lora: Any = None
    return_progress: Any = None
    prompt_logprobs: Any = None
    image_data: Any = None


LlamaCppBody = with_sampler_fields(_LlamaCppFields)

NEUTRAL_ONLY: Mapping[str, tuple[Any, ...]] = {
    "n_indent": (0,),
    "min_keep": (0,),
    "t_max_predict_ms": (0, -1),
    "n_discard": (0,),
    "lora": ([],),
    "return_progress": (False,),
    "prompt_logprobs": (),
    "image_data": ([],),
}
"""Fields of llama.cpp's that change an answer and are not obeyed: only what asks for nothing is
taken."""


NO_PICTURES: Mapping[str, tuple[Any, ...]] = {"multimodal_data": ([],)}
"""The same of a prompt that is an object."""


class TokenizeBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A text to cut into tokens: `content` is llama.cpp's word, `prompt` vLLM's."""

    model: str | None = None
    content: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False

    prompt: str | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Tokens to write as a text."""

    tokens: list[TokenId]
    model: str | None = None
