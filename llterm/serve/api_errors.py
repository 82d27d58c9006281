"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`.

The client repeats what answers 408, 409, 429 or 500 and above, unless `x-should-retry` says no.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llterm.core.display_text import field_text
from llterm.core.json_text import json_text
from llterm.engine.generation import Busy
from llterm.errors import (
    BackendUnavailable,
    CapabilityMissing,
    LltermError,
    UsageError,
)
from llterm.faults import unforeseen

_ENDS = (".", "?", "!", "…")
_OWN_FAULT = "This is a fault of the server's own"
_ADDRESS = re.compile(r"https?://[^\s,;)]*[^\s,;).:?!]")
"""Of a model's server: an operator's own, which is no client's business."""
_MOST_SHOWN = 500
"""Characters of a message: a client's own words are in some."""


class ApiError(LltermError):
    """A request that is refused, with what HTTP has to say of it."""

    def __init__(
        self,
        status: int,
        title: str,
        cause: str = "",
        hint: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """`param`: the path of the field in question; `kind`: what the wire calls type; `more`:
        what llama.cpp tells besides."""
        super().__init__(title, cause, hint)
        self.status = status
        self.param = param
        self.code = code
        self.kind = kind
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def bad_field(param: str, title: str, cause: str = "", hint: str = "") -> ApiError:
    """A field whose value cannot be."""
    return ApiError(400, title, cause, hint, param=param, code="invalid_value")


def check_neutral(body: Any, neutral: Mapping[str, Sequence[Any]]) -> None:
    """Raise ApiError for a field that would change the answer and is not obeyed, unless its value
    asks for nothing. `neutral`: the values of each that do."""
    for name, values in neutral.items():
        value = getattr(body, name)
        if value is not None and value not in values:
            raise unsupported(name)


def unsupported(param: str) -> ApiError:
    """A field that would change the answer, and that this server does not know how to obey."""
    return ApiError(
        400,
        f"{param} is not supported",
        "The answer would not be what it asks for.",
        "Leave it out; docs/serve.md lists every field.",
        param=param,
        code="unsupported_parameter",
    )


def too_long(count: int, room: int, param: str = "prompt", *, known: bool = True) -> ApiError:
    """A prompt for which there is no room, as OpenAI and llama.cpp tell it. Not `known`: it has
    `count` tokens at the least."""
    tokens = f"{count:,} tokens" if known else f"{count:,} tokens or more"
    return ApiError(
        400,
        "The prompt does not fit",
        f"It has {tokens}; the model sees {room:,}, and there is to be room for one more.",
        "Shorten it.",
        param=param,
        code="context_length_exceeded",
        kind="exceed_context_size_error",
        more={"n_prompt_tokens": count, "n_ctx": room},
    )


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What goes over the wire of an error."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def json(self) -> bytes:
        return json_text(self.body, compact=True).encode()


def error_answer(error: Exception) -> ErrorAnswer:
    """Of any error."""
    told = error if isinstance(error, LltermError) else unforeseen(_OWN_FAULT, error)
    status, kind, code, headers = _of(told)
    words = error_sentences(told.title, told.cause, told.hint)
    if not isinstance(told, ApiError):
        words = _ADDRESS.sub("the model's server", words)
    fault: dict[str, Any] = {
        "message": field_text(words)[:_MOST_SHOWN],
        "type": kind,
        "param": told.param if isinstance(told, ApiError) else None,
        "code": code,
        **(told.more if isinstance(told, ApiError) else {}),
    }
    return ErrorAnswer(status, {"error": fault}, headers)


def error_sentences(*parts: str) -> str:
    """What there is of title, cause and hint, as sentences."""
    return " ".join(part if part.endswith(_ENDS) else f"{part}." for part in parts if part)


def _of(error: LltermError) -> tuple[int, str, str | None, Mapping[str, str]]:
    again, never = {"Retry-After": "1", "x-should-retry": "true"}, {"x-should-retry": "false"}
    match error:
        case ApiError():
            return error.status, error.kind, error.code, error.headers
        case Busy():
            return 429, "rate_limit_error", "queue_full", again
        case BackendUnavailable():
            return 503, "server_error", "model_unavailable", again
        case CapabilityMissing():
            return 400, "invalid_request_error", "unsupported_by_model", never
        case UsageError():
            return 400, "invalid_request_error", "invalid_value", never
    return 500, "server_error", None, never
