"""Logprobs in the shape of OpenAI's chats: an entry a token, with bytes, and ids beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llterm.core.tokens import Vocabulary
from llterm.engine.generation import GeneratedToken
from llterm.serve.legacy_logprobs import sayable, token_text


@dataclass(slots=True, eq=False)
class ChatLogprobs:
    """The entries of one choice, whole or in the parts of a stream."""

    vocabulary: Vocabulary
    by_id: bool = False
    """Tokens are named `token_id:N`."""
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _given: int = 0

    def add(self, token: GeneratedToken, watched: Sequence[int]) -> None:
        """A token that was drawn; `watched`: ids that are told whatever they are."""
        listed = dict(token.top)
        for id, value in zip(watched, token.watched, strict=True):
            listed.setdefault(id, value)
        self._entries.append(
            {
                **self._entry(token.id, token.logprob),
                "top_logprobs": [self._entry(id, value) for id, value in listed.items()],
            }
        )

    def taken(self) -> dict[str, Any] | None:
        """What was added since it was last taken; None for nothing."""
        entries = self._entries[self._given :]
        self._given = len(self._entries)
        return _shape(entries) if entries else None

    def whole(self) -> dict[str, Any]:
        return _shape(self._entries)

    def _entry(self, id: int, logprob: float) -> dict[str, Any]:
        token = self.vocabulary.token(id)
        return {
            "token": f"token_id:{id}" if self.by_id else token_text(token),
            "logprob": sayable(logprob),
            "bytes": list(token.data),
            "id": id,
        }


def _shape(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": entries, "refusal": None}
