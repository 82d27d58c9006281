"""What `/v1/completions` takes besides what every body has that draws texts."""

from __future__ import annotations

from llterm.serve.generation_bodies import Count, GenerationFields, Listed, TokenId
from llterm.serve.sampler_fields import with_sampler_fields

Prompt = str | list[str | TokenId | list[TokenId]]
"""A text, texts, token ids, or lists of token ids."""


class _CompletionFields(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A text, or several, to go on with."""

    prompt: Prompt
    best_of: Count | None = None
    echo: bool | None = None
    logprobs: Listed | None = None
    suffix: str | None = None
    add_special_tokens: bool = True


CompletionBody = with_sampler_fields(_CompletionFields)
