"""The lines that `batch` writes; docs/batch.md says what the fields mean."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from llterm.core.json_text import json_text
from llterm.jobs.batch import RowResult
from llterm.jobs.batch_answers import AnsweredChoice, RowRefused
from llterm.reports.json_values import number_value, probability


def result_line(result: RowResult) -> str:
    """A row's result, or how it failed: as OpenAI's batches have it, or, of a template, flat."""
    if result.refused is not None:
        return _line(_failure(result, result.refused))
    assert result.answer is not None
    if result.row.columns is None:
        response = {"status_code": 200, "request_id": _id(result), "body": result.answer.body}
        own = {"seed": result.seed, "choices": list(map(_figures, result.answer.choices))}
        return _line({**_head(result), "response": response, "error": None, "llterm": own})
    choice, body = result.answer.choices[0], result.answer.body["choices"][0]
    return _line(
        {
            "custom_id": result.row.custom_id,
            "row": result.row.columns,
            "sample": result.row.sample,
            "text": choice.text,
            "finish_reason": choice.finish,
            "seed": result.seed,
            **_figures(choice),
            "logprobs": body.get("logprobs"),
        }
    )


def _head(result: RowResult) -> dict[str, Any]:
    return {"id": _id(result), "custom_id": result.row.custom_id}


def _id(result: RowResult) -> str:
    named = f"{result.seed}\0{result.row.custom_id}".encode("utf-8", "surrogatepass")
    return f"batch_req_{hashlib.blake2b(named, digest_size=12).hexdigest()}"


def _figures(choice: AnsweredChoice) -> dict[str, Any]:
    logprob = choice.logprob
    return {
        "tokens": None if choice.tokens is None else len(choice.tokens),
        "logprob": None if logprob is None else number_value(logprob),
        "p": None if logprob is None else probability(logprob),
    }


def _failure(result: RowResult, refused: RowRefused) -> Mapping[str, Any]:
    error = dict(refused.error)
    response = {
        "status_code": refused.status, "request_id": _id(result), "body": {"error": error}
    }  # fmt: skip
    row = {} if result.row.columns is None else {"row": result.row.columns}
    told = {"code": error.get("code"), "message": error.get("message")}
    return {**_head(result), **row, "response": response, "error": told}


def _line(value: Mapping[str, Any]) -> str:
    return json_text(value, ascii=False)
