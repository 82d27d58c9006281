"""`/v1/embeddings` and llama.cpp's `/embedding`: what texts are to a model, as vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llterm.backends.remote.llterm_form import array_text
from llterm.core.embeddings import Embeddings, Vectors, unit_vectors
from llterm.core.query import ProvidesEmbeddings
from llterm.core.tokens import Tail
from llterm.errors import CapabilityMissing
from llterm.serve.api_errors import bad_field, check_neutral
from llterm.serve.embedding_bodies import (
    LLAMACPP_NEUTRAL,
    EmbeddingsBody,
    LlamaCppEmbeddingBody,
)
from llterm.serve.request_prompts import check_size
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel

Answer = Mapping[str, Any]
_LONGEST = 512
"""Bytes of text that no encoder takes for one token, but for what it does not know."""


async def embedded(body: EmbeddingsBody, model: ServedModel, rules: RequestRules) -> Answer:
    """OpenAI's list of embeddings. Raises LltermError."""
    given = await _embeddings(body.input, "input", model, rules)
    vectors = given.vectors
    if body.dimensions is not None:
        vectors = _cut(vectors, body.dimensions, model)
    data = [
        {"object": "embedding", "index": place, "embedding": _told(row, body.encoding_format)}
        for place, row in enumerate(vectors)
    ]
    tokens = sum(given.tokens)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model.name, "data": data, "usage": usage}


async def embedded_llamacpp(
    body: LlamaCppEmbeddingBody, model: ServedModel, rules: RequestRules
) -> Sequence[Answer]:
    """llama.cpp's list. Raises LltermError."""
    check_neutral(body, LLAMACPP_NEUTRAL)
    if (body.input is None) == (body.content is None):
        raise bad_field("content", "There is to be input or content, one of the two")
    name = "content" if body.input is None else "input"
    given = await _embeddings(getattr(body, name), name, model, rules)
    return [
        {"index": place, "embedding": [row.tolist()]} for place, row in enumerate(given.vectors)
    ]


async def _embeddings(
    given: Any, param: str, model: ServedModel, rules: RequestRules
) -> Embeddings:
    """Of every text that is given."""
    backend = model.backend
    if not (backend.capabilities.embeddings and isinstance(backend, ProvidesEmbeddings)):
        raise CapabilityMissing(
            f"{model.name} tells no embeddings",
            "Only models of files do, and llterm's own server does not ask others for theirs.",
            "Ask another model.",
        )
    texts = list(_texts(given, param, model))
    rules.check_choices(len(texts), 1, param)
    return await backend.embed(texts)


def _texts(given: Any, param: str, model: ServedModel) -> Iterator[bytes | Tail]:
    """Each text, or its tokens. Raises ApiError."""
    several = isinstance(given, list) and not all(isinstance(each, int) for each in given)
    listed = given if several else [given]
    longest = model.longest if model.predicts else _LONGEST
    for place, each in enumerate(listed):
        where = f"{param}[{place}]" if several else param
        if not each or isinstance(each, int):
            raise bad_field(where, "The text is empty" if not each else "A token stands alone",
                            "A text, texts, token ids or lists of token ids.")  # fmt: skip
        if isinstance(each, str):
            text = each.encode()
            check_size(len(text) // longest, model, where, known=False)
            yield text
        else:
            yield model.check_ids(each, where)


def _cut(vectors: Vectors, size: int, model: ServedModel) -> Vectors:
    """The first numbers alone, of length 1 again. Raises ApiError."""
    width = vectors.shape[1]
    if size > width:
        raise bad_field("dimensions", f"{size:,} dimensions are more than there are",
                        f"{model.name} has {width:,}.")  # fmt: skip
    return unit_vectors(vectors[:, :size], model.name)


def _told(row: Vectors, form: str | None) -> Any:
    return array_text(row, "<f4") if form == "base64" else row.tolist()
