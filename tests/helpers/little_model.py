"""A model of eleven tokens, and a wire to it that hears no server: subclasses write answers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any, ClassVar

from llterm.backends.remote.transport import Reply, RequestRefused, TransportUsage
from llterm.core.server_news import ServerNews
from llterm.core.tokens import Tail

VOCABULARY: Sequence[bytes] = (
    b"<|endoftext|>", b"Once", b" the", b" fox", b" slept", b".", b"\n",
    "☃".encode()[:2], "☃".encode()[2:], b"!", b" a",
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %} a{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %} a{% endif %}"
)
END, LINE, HALF, REST = 0, 6, 7, 8
LINES: Mapping[bytes, Mapping[int, float]] = {
    b" the": {3: 0.6, HALF: 0.2, 10: 0.1},
    b" fox": {4: 0.7, 5: 0.2, END: 0.05},
    b" slept": {5: 0.8, 9: 0.15},
    b".": {END: 0.7, LINE: 0.2},
    "☃".encode()[:2]: {REST: 0.97, 5: 0.01},
}
"""What follows a token: probabilities by id; the others share what is left."""
USUAL: Mapping[int, float] = {2: 0.5, 10: 0.3, 9: 0.05}
AFTER_SNOW: Mapping[int, float] = {HALF: 0.9, 5: 0.06}
"""After `!` a snowman is the first choice: the most probable token is half a character."""


def cut(data: bytes) -> Tail:
    """The text's tokens, the longest first; letters that are in none are left out."""
    ids: list[int] = []
    while data:
        fitting = [id for id, one in enumerate(VOCABULARY) if id and data.startswith(one)]
        if fitting:
            ids.append(max(fitting, key=lambda id: len(VOCABULARY[id])))
        data = data[len(VOCABULARY[ids[-1]]) if fitting else 1 :]
    return tuple(ids)


def chances(tokens: Tail) -> dict[int, float]:
    """Every token's probability, most probable first."""
    last = VOCABULARY[tokens[-1]] if tokens else b""
    named = AFTER_SNOW if last == b"!" else LINES.get(last, USUAL)
    left = [id for id in range(len(VOCABULARY)) if id not in named]
    share = (1.0 - sum(named.values())) / len(left)
    found = {**named, **dict.fromkeys(left, share)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def chat_text(messages: Sequence[Mapping[str, str]]) -> str:
    """A chat up to its reply, as `TEMPLATE` writes it."""
    return "".join(f" a{one['content']}\n" for one in messages) + " a"


def logprob(p: float) -> float:
    return math.log(p)


class Server:
    """A server as a wire sees it. Subclasses write answers."""

    paths: ClassVar[Mapping[str, Any]] = {}
    """What it says of itself, by path."""
    most: ClassVar[int | None] = None
    """More candidates than this are refused."""
    told: ClassVar[str] = "limit is {most}"
    slots: ClassVar[int] = 2
    vocabulary: Sequence[bytes] = VOCABULARY
    halves: Collection[int] = (HALF, REST)
    """Tokens that are parts of characters."""

    def __init__(self) -> None:
        self.name = "http://server"
        self.news = ServerNews()
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.visited: list[str] = []
        self.mute = False
        """Leave the probabilities out."""
        self.wrong: float | None = None
        """A logprob to give the first candidate."""
        self.parallel = 4

    # --- the wire

    async def get(self, path: str) -> Reply:
        self.visited.append(path)
        if path not in self.paths:
            raise RequestRefused(404, None, "not found", "The server has no such address")
        return Reply(200, self.paths[path], {}, self.name)

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        self.requests.append((path, body))
        return Reply(200, self.answer(path, body), {}, self.name)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        self.requests.append((path, body))
        for event in self.events(body):
            yield event

    def set_parallel(self, count: int) -> None:
        self.parallel = count

    @property
    def spent(self) -> TransportUsage:
        return TransportUsage(requests=len(self.requests))

    async def close(self) -> None:
        """Nothing is open."""

    # --- the model

    @abstractmethod
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        """What it answers to a body."""

    def events(self, body: Mapping[str, Any]) -> Sequence[Any]:
        """The same in parts, of a server that streams."""
        raise AssertionError(f"{self.name} does not stream")

    def refuse(self, top: int) -> None:
        if self.most is not None and top > self.most:
            detail = self.told.format(most=self.most, top=top)
            raise RequestRefused(400, None, detail, "The server refused", detail)

    def cut(self, data: bytes) -> Tail:
        """A text's tokens."""
        return cut(data)

    def chances(self, tokens: Tail) -> dict[int, float]:
        """Every token's probability, most probable first."""
        return chances(tokens)

    def chat_ids(self, messages: Sequence[Mapping[str, str]]) -> Tail:
        """A chat up to its reply, with the token that begins a text."""
        return (END, *self.cut(chat_text(messages).encode()))

    def shown(self, id: int, *, ends: bool = False) -> str:
        """A token as text: parts of characters cannot be shown, and ends mostly are not."""
        if id == END and not ends:
            return ""
        return self.vocabulary[id].decode("utf-8", "replace")

    def prompts_of(self, prompt: Any) -> list[Tail]:
        """The prompts of a request in ids, whether as ids or as text, one or several."""
        if isinstance(prompt, str):
            return [self.cut(prompt.encode())]
        if prompt and isinstance(prompt[0], int):
            return [tuple(prompt)]
        return [one for each in prompt for one in self.prompts_of(each)]

    def check(self, tokens: Tail) -> None:
        """Refuse ids that the model has not, as vLLM does."""
        for id in tokens:
            if not 0 <= id < len(self.vocabulary):
                detail = f"Token id {id} is out of vocabulary"
                raise RequestRefused(400, None, detail, "The server refused", detail)

    def line(self, tokens: Tail, count: int) -> list[tuple[int, dict[int, float]]]:
        """The line of first choices: what was chosen, and all logprobs before it."""
        steps = []
        self.check(tokens)
        for _ in range(count):
            before = {id: logprob(p) for id, p in self.chances(tokens).items()}
            chosen = next(iter(before))
            if self.wrong is not None:
                before[chosen] = self.wrong
            steps.append((chosen, before))
            tokens = (*tokens, chosen)
            if chosen == END:
                break
        return steps


def listed(before: Mapping[int, float], top: int) -> list[tuple[int, float]]:
    return list(before.items())[:top]
