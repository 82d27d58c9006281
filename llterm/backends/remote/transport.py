"""The way to a model's server as a dialect knows it: requests out, parsed answers in.

Everything about HTTP lies behind `Transport`: addresses, replicas, keys, retries, timeouts,
proxies. A dialect says a path and a body, and gets JSON that was read strictly.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llterm.core.server_news import ServerNews
from llterm.errors import BackendUnavailable, LltermError

_COUNTS_INSIDE = ("usage", "meta_info")
_COUNT_NAMES = (
    ("prompt_tokens", "completion_tokens"),  # OpenAI's `usage`, SGLang's `meta_info`
    ("input_tokens", "output_tokens"),  # OpenAI's responses
    ("tokens_evaluated", "tokens_predicted"),  # llama.cpp
    ("prompt_eval_count", "eval_count"),  # Ollama
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    """2xx: everything else is raised."""
    data: Any
    """Parsed JSON with finite numbers only; None where the body was empty."""
    headers: Mapping[str, str]
    """By lower-case name."""
    replica: str
    """The address that answered, as shown to people."""


@dataclass(frozen=True, slots=True)
class TransportUsage:
    """What went over a transport since it was opened."""

    requests: int = 0
    """Sent, the repeated ones included."""
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    """Of bodies, unpacked."""
    prompt_tokens: int = 0
    """As the server counts them; also those that it had in its cache."""
    answer_tokens: int = 0
    cost: float | None = None
    """By the configured prices; None where there are none."""

    def summary(self) -> str:
        """One line for people."""
        repeated = f", {self.retries:,} of them repeated" if self.retries else ""
        size = (self.bytes_sent + self.bytes_received) / 1e6
        price = "" if self.cost is None else f"; {self.cost:.4f} by your prices"
        return (
            f"{self.requests:,} requests{repeated}; {self.prompt_tokens:,} tokens of prompts and "
            f"{self.answer_tokens:,} of answers; {size:.1f} MB{price}"
        )


class RequestRefused(LltermError):
    """The server understood the request and will not do it: asking again would not help."""

    def __init__(
        self, status: int, data: Any, detail: str, title: str, cause: str = "", hint: str = ""
    ) -> None:
        super().__init__(title, cause, hint)
        self.status = status
        """4xx, 501, and 500 where what the model wrote cannot be told."""
        self.data = data
        """The answer's JSON, or its text; without keys."""
        self.detail = detail
        """The server's own words: inert, short, without keys; empty where it said nothing."""
        self.exit_code = {401: 2, 403: 2, 404: 4}.get(status, 1)


def of_server(error: LltermError | None) -> bool:
    """Whether an error may be over once a server answers again."""
    return isinstance(error, BackendUnavailable | RequestRefused)


class BadAnswer(LltermError):
    """The server answered with something that cannot be read as what was asked for."""


class ServerFailed(BackendUnavailable):
    """Every attempt was answered by an error of the server's own."""

    def __init__(self, status: int, title: str, cause: str = "", hint: str = "") -> None:
        super().__init__(title, cause, hint)
        self.status = status
        """408, 409, or 5xx."""


class BrokenOff(BackendUnavailable):
    """A streamed answer ended in its middle. What came holds; the rest may be asked anew."""


class Transport(Protocol):
    """The way to one model's server, or to several replicas of it."""

    name: str
    """The address for people, without credentials."""

    @property
    def news(self) -> ServerNews:
        """Which of its servers do not answer now, and why."""
        ...

    async def get(self, path: str) -> Reply:
        """One GET. Raises as `post` does."""
        ...

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        """One POST of a JSON body; `path` begins at the server's root, as in "/v1/completions".

        Waits for its turn. Cancelling the awaiting task frees the caller at once and closes the
        connection, which is what frees servers. `idempotent`: asking twice does no harm, so it may
        be asked again after a connection was cut.

        Raises Refused (4xx), BadAnswer (not the JSON that was asked for), and BackendUnavailable
        (not reached, or failing still after all that could help was tried).
        """
        ...

    def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """The parsed `data:` objects of a streamed answer, until [DONE] or its end.

        `aclose()` closes the connection. Asked again only while nothing has arrived. Raises as
        `post` does, and BrokenOff where it ended too early and asking for the rest may help.
        """
        ...

    @property
    def parallel(self) -> int:
        """How many requests are in flight at once at most, over all replicas."""
        ...

    def set_parallel(self, count: int) -> None:
        """From now on this many, at least one; requests in flight are left to end."""
        ...

    @property
    def spent(self) -> TransportUsage:
        """What went over it so far."""
        ...

    async def close(self) -> None:
        """Close every connection; requests in flight end with BackendUnavailable."""
        ...


def tokens_of(data: Any) -> tuple[int, int]:
    """Prompt tokens and answer tokens of one parsed answer, of all its parts; 0 where unsaid."""
    counts = [_of_part(one) for one in (data if isinstance(data, list) else [data])]
    return sum(one for one, _ in counts), sum(one for _, one in counts)


class StreamTokenCount:
    """The counts of one streamed answer, whose parts tell sums so far or only the last one any."""

    def __init__(self) -> None:
        self._told: dict[object, tuple[int, int]] = {}

    def new(self, data: Any) -> tuple[int, int]:
        """As `tokens_of`: what this part tells beyond those before it. llama.cpp counts for each of
        several prompts."""
        line = data.get("index") if isinstance(data, dict) else None
        prompt, answer = self._told.get(line, (0, 0))
        now = tokens_of(data)
        self._told[line] = (max(now[0], prompt), max(now[1], answer))
        return max(now[0] - prompt, 0), max(now[1] - answer, 0)


def _of_part(data: Any) -> tuple[int, int]:
    if not isinstance(data, dict):
        return 0, 0
    counts = next((data[one] for one in _COUNTS_INSIDE if isinstance(data.get(one), dict)), data)
    for prompt, answer in _COUNT_NAMES:
        if prompt in counts or answer in counts:
            return _count(counts.get(prompt)), _count(counts.get(answer))
    return 0, 0


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
