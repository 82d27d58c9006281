"""A request's JSON as one of the typed bodies; what it cannot be is named by its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from llterm.serve.api_errors import ApiError

Body = TypeVar("Body", bound=msgspec.Struct)
_PLACE = re.compile(r" - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`", re.DOTALL)

HARMLESS = (
    "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier",
    "verbosity",
)  # fmt: skip
"""Fields of OpenAI's that change no text: taken, and passed over."""


class BodyBase(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every body may say."""

    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    prompt_cache_key: Any = None
    safety_identifier: Any = None
    verbosity: Any = None


def read_body(data: bytes, kind: type[Body]) -> Body:
    """The body. Raises ApiError with the path of the field that cannot be."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        cause = str(error) if isinstance(error, msgspec.DecodeError) else "It is nested too deep"
        raise ApiError(400, "The body is not JSON", f"{cause}.", code="invalid_json") from None


def read_query(said: Mapping[str, str], kind: type[Body]) -> Body:
    """What stands after the question mark of an address. Raises ApiError as `read_body` does."""
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None


def _refused(message: str) -> ApiError:
    place = _PLACE.search(message)
    path = place["path"] if place else ""
    what = message[: place.start()] if place else message
    for pattern, title, code in (
        (_UNKNOWN, "{} is not a field of this request", "unknown_parameter"),
        (_MISSING, "{} is missing", "missing_parameter"),
    ):
        if match := pattern.match(what):
            name = ".".join(filter(None, (path, match["name"])))
            hint = "docs/serve.md lists every field."
            return ApiError(400, title.format(name[:100]), "", hint, param=name[:100], code=code)
    named = path[:100] or "The body"
    return ApiError(400, f"{named} cannot be so", f"{what}.", param=path[:100] or None,
                    code="invalid_value")  # fmt: skip
