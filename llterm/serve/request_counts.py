"""What a server has done, counted; `/metrics` tells it under llama.cpp's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from llterm.engine.generation import Generator
from llterm.serve.drawn_choices import DrawnChoice


@dataclass(slots=True)
class RequestCounts:
    """Sums since the server began."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    drawn_tokens: int = 0
    proposed_tokens: int = 0
    """Those that a draft wrote ahead."""
    accepted_tokens: int = 0
    """Those of them that were then drawn."""
    _under_way: dict[int, Sequence[DrawnChoice]] = field(default_factory=dict)

    @property
    def drawn_so_far(self) -> int:
        """Tokens drawn, also for requests that have not ended yet."""
        choices = (choice for drawn in self._under_way.values() for choice in drawn)
        return self.drawn_tokens + sum(len(choice.tokens) for choice in choices)

    @contextmanager
    def counting(self, choices: Sequence[DrawnChoice]) -> Iterator[None]:
        """A request from its beginning until it has ended, or was cut off."""
        self._under_way[id(choices)] = choices
        try:
            yield
        finally:
            del self._under_way[id(choices)]
            self._add(choices)

    def _add(self, choices: Sequence[DrawnChoice]) -> None:
        self.requests += 1
        self.prompt_tokens += sum(len(choice.request.prompt) for choice in choices)
        self.drawn_tokens += sum(len(choice.tokens) for choice in choices)
        ends = [choice.end for choice in choices if choice.end]
        self.cached_tokens += sum(end.cached for end in ends)
        self.proposed_tokens += sum(end.proposed for end in ends)
        self.accepted_tokens += sum(end.accepted for end in ends)

    def text(self, under_way: int, generators: Sequence[Generator]) -> str:
        """In Prometheus's format, version 0.0.4. `under_way`: requests, of all generators."""
        rows = (
            ("counter", "llamacpp:prompt_tokens_total", "Prompt tokens.", self.prompt_tokens),
            ("counter", "llamacpp:tokens_predicted_total", "Tokens drawn.", self.drawn_tokens),
            ("gauge", "llamacpp:requests_processing", "Requests under way.", under_way),
            ("gauge", "llamacpp:requests_deferred", "Texts that wait until others have ended.",
             sum(generator.waiting for generator in generators)),
            ("gauge", "llterm:slots_taken", "Texts that are drawn.",
             sum(generator.running for generator in generators)),
            ("counter", "llterm:cached_tokens_total", "Prompt tokens that were not evaluated.",
             self.cached_tokens),
            ("counter", "llterm:draft_tokens_total", "Tokens that a draft wrote ahead.",
             self.proposed_tokens),
            ("counter", "llterm:draft_tokens_accepted_total",
             "Tokens written ahead that were then drawn.", self.accepted_tokens),
            ("counter", "llterm:requests_total", "Requests that drew.", self.requests),
            ("counter", "llterm:errors_total", "Requests that failed.", self.errors),
        )  # fmt: skip
        return "".join(
            f"# HELP {name} {words}\n# TYPE {name} {kind}\n{name} {value}\n"
            for kind, name, words, value in rows
        )
