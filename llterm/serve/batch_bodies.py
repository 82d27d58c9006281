"""Rows of a batch, answered by a model in this process as the server's routes answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.core.batch_row import COMPLETIONS, BatchRow
from llterm.core.json_text import json_text
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.errors import BackendUnavailable, Interrupted, LltermError
from llterm.jobs.batch_answers import Body, RowAnswer, RowRefused, choices_of
from llterm.serve.api_errors import error_answer, unsupported
from llterm.serve.body_reader import read_body
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel
from llterm.serve.text_completions import complete, plan_completion

_CACHED = ("prompt_tokens_details",)


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
        if row.url != COMPLETIONS:
            raise unsupported("messages")
        # Its logprobs are at hand in any case: the answer's probability is told by them.
        asked = {**body, "logprobs": body.get("logprobs") or 0}
        read = read_body(json_text(asked, compact=True).encode(), CompletionBody)
        plan = await plan_completion(read, self._model, self._rules, "")
        answer = await complete(plan)
        choices = choices_of(answer, echo=bool(body.get("echo")))
        # What was cached hangs on the rows before; the answer does not.
        counts = {name: count for name, count in answer["usage"].items() if name not in _CACHED}
        answer = {**answer, "usage": counts}
        if body.get("logprobs") is None:
            bare = [{**choice, "logprobs": None} for choice in answer["choices"]]
            answer = {**answer, "choices": bare}
        return RowAnswer(answer, choices)
