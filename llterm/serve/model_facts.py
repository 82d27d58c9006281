"""What a server tells of its models, and of texts in their tokens, in several dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llterm.core.tokens import Tail, text_bytes
from llterm.serve.api_errors import bad_field
from llterm.serve.legacy_logprobs import token_text
from llterm.serve.llamacpp_bodies import TokenizeBody
from llterm.serve.llamacpp_settings import llamacpp_settings
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import PooledModel
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel
from llterm.version import __version__

Answer = Mapping[str, Any]
OWNER = "llterm"
"""What `/v1/models` says of who owns a model: clients go by it."""


def health(pool: ModelPool) -> Answer:
    """Whether requests are answered: they are where any model answers, or will be loaded for them.
    Numbers alone: it is told without a key."""
    models = pool.models
    loading = sum(model.is_loading for model in models)
    counts = {
        "loading": loading,
        "failed": sum(model.state == "failed" for model in models),
        "waiting": sum(model.waiting for model in models),
    }
    if not models or any(model.is_usable for model in models):
        status = "ok"
    else:
        status = "loading" if loading else "failed"
    return {"status": status, **{name: number for name, number in counts.items() if number}}


def model_list(pool: ModelPool) -> Answer:
    """`/v1/models`."""
    return {"object": "list", "data": [model_entry(pool, model) for model in pool.models]}


def model_entry(pool: ModelPool, model: PooledModel) -> Answer:
    """`/v1/models/{id}`: OpenAI's fields, vLLM's length, llama.cpp's `meta`, and whether it is
    loaded as llama.cpp's router says it. What a model sees is known when it is."""
    served = model.replicas[0].model if model.replicas else None
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": OWNER,
        "kind": served and served.kind,
        "aliases": pool.aliases(model),
        "status": {"value": model.state},
        "max_model_len": served and served.room,
        "meta": served and {"n_vocab": served.vocabulary.size, "n_ctx": served.room},
    }


def props(model: ServedModel, rules: RequestRules) -> Answer:
    """llama.cpp's `/props`, without a path of this machine: of the model's file its name."""
    begin, end = special_names(model)
    file = model.backend.capabilities.weights
    settings = replace(rules.presets[rules.preset], seed=rules.seed)
    return {
        "default_generation_settings": {
            "n_ctx": model.room,
            "params": llamacpp_settings(settings),
        },
        "total_slots": rules.limits.parallel,
        "model_alias": model.name,
        "chat_template": model.chats.template,
        "model_path": "" if file is None else file.name,
        "bos_token": begin or "",
        "eos_token": end or "",
        "build_info": f"llterm {__version__}",
        "is_sleeping": False,
        "modalities": {"vision": False, "audio": False},
    }


def tokenizer_info(model: ServedModel) -> Answer:
    """vLLM's `/tokenizer_info`, by which lm-eval finds its tokenizer."""
    begin, end = special_names(model)
    return {
        "tokenizer_class": "llterm",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": end,
        "add_bos_token": bool(model.vocabulary.prefix),
        "model_max_length": model.room,
        "chat_template": model.chats.template or None,
    }


def special_names(model: ServedModel) -> tuple[str | None, str | None]:
    """The tokens before any text and at its end, by name; None where there is none."""
    vocabulary = model.vocabulary
    begin = token_text(vocabulary.token(vocabulary.prefix[0])) if vocabulary.prefix else None
    end = token_text(vocabulary.token(model.ends[0])) if model.ends else None
    return begin, end


async def tokenized(body: TokenizeBody, model: ServedModel) -> Answer:
    """A text's tokens. Raises ApiError."""
    text = body.content if body.prompt is None else body.prompt
    if text is None or None not in (body.content, body.prompt):
        raise bad_field("content", "There is to be content or prompt, one of the two")
    special = body.add_special if body.prompt is None else body.add_special_tokens
    ids = (*(model.vocabulary.prefix if special else ()), *await _ids(body, text, model))
    answer: dict[str, Any] = {
        "tokens": list(ids), "count": len(ids), "max_model_len": model.room
    }  # fmt: skip
    if body.with_pieces:
        answer["tokens"] = [{"id": id, "piece": _piece(model, id)} for id in ids]
    if body.return_token_strs:
        answer["token_strs"] = [token_text(model.vocabulary.token(id)) for id in ids]
    return answer


async def _ids(body: TokenizeBody, text: str, model: ServedModel) -> Tail:
    """The text's own tokens; names of special tokens are these, unless `parse_special` is false."""
    vocabulary = model.vocabulary
    if not body.parse_special:
        return await vocabulary.tokenize(text.encode())
    data = text.encode()
    ids: list[int] = []
    names = {
        token.data: token.id
        for token in model.known_tokens
        if token.special and token.data and token.data in data
    }
    while data:
        places = [(data.find(name), -len(name), name) for name in names if name in data]
        place, _, name = min(places, default=(len(data), 0, b""))
        if place:
            ids += await vocabulary.tokenize(data[:place])
        if name:
            ids.append(names[name])
        data = data[place + len(name) :]
    return tuple(ids)


def _piece(model: ServedModel, id: int) -> str | list[int]:
    data = model.vocabulary.token(id).data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def detokenized(ids: Sequence[int], model: ServedModel) -> Answer:
    """The text that tokens stand for, under both dialects' names. Raises ApiError."""
    data = text_bytes(model.vocabulary, model.check_ids(ids, "tokens"))
    text = data.decode("utf-8", "replace")
    return {"content": text, "prompt": text}
