"""Rows of a batch, answered by a model in this process as the server's routes answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.core.batch_row import CHATS, BatchRow
from llterm.core.json_text import json_text
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.errors import BackendUnavailable, Interrupted, LltermError
from llterm.jobs.batch_answers import Body, RowAnswer, RowRefused, choices_of
from llterm.serve.api_errors import error_answer
from llterm.serve.body_reader import read_body
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.chat_completions import answer_chat, plan_chat
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel
from llterm.serve.text_completions import complete, plan_completion

_CACHED = "prompt_tokens_details"


class BodyAnswers:
    """Reads bodies as `llterm serve` does, and draws them."""

    def __init__(
        self, generator: Generator, backend: Backend, rules: RequestRules, parallel: int
    ) -> None:
        """`parallel`: texts that the generator draws at once."""
        self._model = ServedModel(backend.name, generator, backend)
        self._rules = rules
        self._parallel = parallel

    @property
    def width(self) -> int:
        """With as many that wait: whoever begins like what is at hand goes first. One at a time is
        drawn in their order."""
        return 2 * self._parallel if self._parallel > 1 else 1

    async def answer(self, row: BatchRow, body: Body) -> RowAnswer:
        try:
            return await self._answer(row, body)
        except (BackendUnavailable, Interrupted):
            raise
        except LltermError as error:
            answer = error_answer(error)
            raise RowRefused(answer.status, answer.body["error"]) from None

    async def _answer(self, row: BatchRow, body: Mapping[str, Any]) -> RowAnswer:
        # Its logprobs are at hand in any case: the answer's probability is told by them.
        chat = row.url == CHATS
        asked = {**body, "logprobs": body.get("logprobs") or (True if chat else 0)}
        data = json_text(asked, compact=True).encode()
        answer = await (self._chat(data) if chat else self._completion(data))
        choices = choices_of(answer, echo=bool(body.get("echo")))
        # What was cached hangs on the rows before; the answer does not.
        counts = {name: count for name, count in answer["usage"].items() if name != _CACHED}
        told = answer["choices"]
        if body.get("logprobs") in (None, False):
            told = [{**choice, "logprobs": None} for choice in told]
        return RowAnswer({**answer, "choices": told, "usage": counts}, choices)

    async def _completion(self, data: bytes) -> Body:
        read = read_body(data, CompletionBody)
        return await complete(await plan_completion(read, self._model, self._rules, ""))

    async def _chat(self, data: bytes) -> Body:
        read = read_body(data, ChatBody)
        return await answer_chat(await plan_chat(read, self._model, self._rules, ""))
