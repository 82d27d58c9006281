"""What can go wrong on the way to a server, whether asking again can help, and what to tell people.

unreached   nobody listens, no route, no such name, or no connection in time
slow        connected, but the answer did not come in time
cut         the connection broke after the request went out
busy        429, or a 503 that does not speak of loading
loading     503 while the server loads its model
failed      408, 409, 500, 502, 504
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from llterm.backends.remote.transport import BrokenOff, RequestRefused, ServerFailed
from llterm.core.display_text import label_text
from llterm.errors import BackendUnavailable

Kind = Literal["unreached", "slow", "cut", "busy", "loading", "failed"]
LONGEST_DETAIL = 300
_RETRYABLE: Mapping[int, Kind] = {
    408: "failed", 409: "failed", 429: "busy", 500: "failed", 502: "failed", 503: "busy",
    504: "failed",
}  # fmt: skip
_NEVER = ("insufficient_quota", "billing_not_active")
"""Codes inside a 429 that no waiting cures."""
_UNWRITTEN = re.compile(r"model produced output that does not match the expected")
"""llama.cpp's server, b10434 among others: what was written is no UTF-8."""
_SECONDS = re.compile(r"\d{1,9}(\.\d+)?")
_TITLE = re.compile(rb"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(eq=False)
class ServerFault(Exception):
    """One attempt that did not work."""

    kind: Kind
    address: str
    words: str
    """What happened, as a sentence without its full stop."""
    wait: float | None = None
    """Seconds that the server asks to wait."""
    final: bool = False
    """Whoever waits for this server has waited long enough."""
    status: int = 0
    """The HTTP status, where there was one."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a fault is borne."""

    retries: int | None
    """Of one request; None: as often as `seconds` allow."""
    seconds: float
    """In which no replica answered anything."""


STRANGER = RetryPolicy(None, 2.0)
"""With a server that has never answered: its address may be wrong."""
PATIENCE: Mapping[Kind, RetryPolicy] = {
    "unreached": RetryPolicy(None, 30.0),
    "slow": RetryPolicy(0, 30.0),
    "cut": RetryPolicy(4, 30.0),
    "busy": RetryPolicy(10, 60.0),
    "loading": RetryPolicy(None, 600.0),
    "failed": RetryPolicy(2, 15.0),
}


def fault_of(
    status: int, headers: Mapping[str, str], data: Any, address: str
) -> ServerFault | None:
    """The fault that an HTTP status says, or None where asking again would not help."""
    kind = _RETRYABLE.get(status)
    if kind is None or any(one in _code(data) for one in _NEVER):
        return None
    detail = detail_of(data)
    if _UNWRITTEN.search(detail):
        return None
    if status == 503 and "load" in detail.lower():
        kind = "loading"
    words = f"{status}{f': {detail}' if detail else ''}"
    wait = _retry_after(headers.get("retry-after", ""))
    return ServerFault(kind, address, words, wait, status=status)


def refusal(status: int, data: Any, address: str, key_source: str) -> RequestRefused:
    """A status that no retry helps, in words."""
    detail = detail_of(data)
    cause = f"{status}{f': {detail}' if detail else ''}."
    title, hint = f"{address} refuses the request", ""
    if status in (401, 403):
        title = f"{address} {'refuses the key' if key_source else 'asks for a key'}"
        hint = (
            f"The key comes from {key_source}."
            if key_source
            else "Name where it is kept in llterm.toml: key_env, key_file or key_command."
        )
    elif status == 404:
        title = f"{address} does not have what was asked for"
        hint = "Check base_url and model in llterm.toml; `llterm doctor` asks the server."
    elif status == 429:
        title = f"{address} takes no more requests on this key"
    return RequestRefused(status, data, detail, title, cause, hint)


def is_unwritten(error: RequestRefused) -> bool:
    """Whether the server lost its answer because what the model wrote is no UTF-8: it begins with
    the rest of a character, or goes on with half of another one."""
    return error.status >= 500 and _UNWRITTEN.search(error.detail) is not None


def redirected(status: int, target: str, address: str) -> RequestRefused:
    """An answer that sends elsewhere, where no key and no story may follow by itself."""
    shown = label_text(target[:LONGEST_DETAIL])
    return RequestRefused(
        status, None, "", f"{address} sends requests elsewhere", f"{status}: to {shown}.",
        "Nothing was sent there. If it is right, make it the base_url in llterm.toml.",
    )  # fmt: skip


def gave_up(fault: ServerFault, attempts: int, *, begun: bool = False) -> BackendUnavailable:
    """The error of a request that failed for good; `begun`: a part of its answer had come."""
    titles: Mapping[Kind, str] = {
        "unreached": f"No connection to {fault.address}",
        "slow": f"{fault.address} takes too long",
        "cut": f"{fault.address} broke off",
        "busy": f"{fault.address} is busy",
        "loading": f"{fault.address} is still loading its model",
        "failed": f"{fault.address} failed",
    }
    hints: Mapping[Kind, str] = {
        "unreached": "Is the server running, and is this its address?",
        "slow": "Ask for less at once, or set a longer timeout in llterm.toml.",
        "cut": "The server's own log may say why.",
        "busy": "Wait a while, or set a smaller parallel in llterm.toml.",
        "loading": "Try again when it is ready.",
        "failed": "The server's own log may say why.",
    }
    tried = f" Tried {attempts} times." if attempts > 1 else ""
    may_help = begun and not fault.final and PATIENCE[fault.kind].retries != 0
    words = titles[fault.kind], f"{fault.words}.{tried}", hints[fault.kind]
    if may_help:
        return BrokenOff(*words)
    return ServerFailed(fault.status, *words) if fault.status else BackendUnavailable(*words)


def detail_of(data: Any) -> str:
    """The server's own words in an error's answer: inert and short."""
    found = _words(data)
    text = label_text(found.strip()[: LONGEST_DETAIL * 4])
    return text if len(text) <= LONGEST_DETAIL else text[: LONGEST_DETAIL - 1] + "…"


def page_words(body: bytes) -> str:
    """What an answer that is no JSON says: a page's title, or its beginning."""
    title = _TITLE.search(body[:4096])
    return (title.group(1) if title else body[: LONGEST_DETAIL * 4]).decode("utf-8", "replace")


def _words(data: Any) -> str:
    """OpenAI and llama.cpp say error.message, FastAPI detail or detail[0].msg, Ollama error."""
    while not isinstance(data, str):
        if isinstance(data, list):
            data = data[0] if data else ""
        elif isinstance(data, dict):
            names = ("error", "message", "detail", "msg")
            data = next((data[name] for name in names if data.get(name)), "")
        else:
            return ""
    return data


def _code(data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    return f"{error.get('code')} {error.get('type')}" if isinstance(error, dict) else ""


def _retry_after(text: str) -> float | None:
    """Seconds, from a number of them or a date."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)
