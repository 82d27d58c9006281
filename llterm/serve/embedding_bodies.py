"""What the addresses of embeddings take: OpenAI's and llama.cpp's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llterm.serve.body_reader import BodyBase
from llterm.serve.completion_bodies import Prompt

Width = Annotated[int, Meta(ge=1, le=1 << 20)]


class EmbeddingsBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Texts, whose embeddings are asked for."""

    input: Prompt
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Width | None = None


class LlamaCppEmbeddingBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same in llama.cpp's words: `input` or `content`."""

    input: Prompt | None = None
    content: Prompt | None = None
    model: str | None = None
    embd_normalize: Any = None


LLAMACPP_NEUTRAL: dict[str, tuple[Any, ...]] = {"embd_normalize": (2,)}
"""What is not obeyed: only what asks for nothing is taken."""
