"""The JSON of a comparison, described in docs/json.md and docs/schema/mix.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.comparison.divergence import UNTOLD
from llterm.core.comparison.quant_statistics import Estimate, histogram
from llterm.core.comparison.reference_comparison import ComparedModel, ModelTrack
from llterm.core.json_text import text_value
from llterm.core.kernels import KernelKind
from llterm.core.tokens import Vocabulary
from llterm.jobs.compare import CompareResult
from llterm.reports.comparison_text import text_before
from llterm.reports.json_values import cost_fields, probability, streamed, token_fields

VERSION = 1


def comparison_json(result: CompareResult) -> Iterator[str]:
    """One object, in parts: a long text's places are not made all at once."""
    comparison = result.comparison
    figures = {model.name: comparison.figures(model) for model in comparison.candidates}
    head = {
        "version": VERSION,
        "mode": "reference",
        "unit": "token" if result.plan.by_id else "byte",
        "exact": not result.plan.listing,
        "reference": {"name": comparison.reference, "kernels": result.plan.kernels[0]},
        "vocabulary": result.plan.vocabulary.fingerprint,
        "source": result.source,
        "chat": chat_fields(result.chat) if result.chat else None,
        "text_tokens": len(result.plan.ids),
        "compared": comparison.done,
        "method": result.plan.method,
        "window": result.plan.window,
        "stride": result.plan.stride,
        "models": [
            _model(result, model, figures[model.name], kernels)
            for model, kernels in zip(comparison.candidates, result.plan.kernels[1:], strict=True)
        ],
        "conditions": [
            {
                "condition": str(condition),
                "model": model.name,
                "value": figures[model.name][condition.name].value,
                "holds": condition.holds(figures[model.name]),
            }
            for model in comparison.candidates
            for condition in result.conditions
        ],
        "stats": cost_fields(result.cost, result.seconds),
    }
    return streamed(head, "tokens", (_place(result, number) for number in range(comparison.done)))


def _model(
    result: CompareResult,
    model: ComparedModel,
    figures: Mapping[str, Estimate],
    kernels: KernelKind | None,
) -> dict[str, Any]:
    comparison = result.comparison
    first = next(comparison.divergences(model), None)
    return {
        "name": model.name,
        "kernels": kernels,
        "figures": _figures(figures),
        "determinism": model.statistics.determinism,
        "creativity": 1.0 - model.statistics.determinism,
        "divergences": comparison.done - model.statistics.same - model.statistics.untold,
        "first_divergence": None if first is None else int(comparison.places[first]),
        "histogram": [
            {"from": low, "to": high, "count": count}
            for low, high, count in histogram(model.track.kld[: comparison.done].astype(float))
        ],
        "worst": [
            {
                "index": int(comparison.places[worst.number]),
                "kld": worst.kld,
                "context": text_value(text_before(result, worst.number)),
                "reference_top": _tops(result, worst.base_top),
                "top": _tops(result, worst.top),
            }
            for worst in model.worst
        ],
        "running": [
            {"compared": mark.tokens, "figures": _figures(mark.figures)}
            for mark in model.statistics.running
        ],
    }


def _tops(result: CompareResult, top: Iterable[tuple[int, float]]) -> list[dict[str, Any]]:
    return [{**token_fields(result.plan.vocabulary.token(id)), "p": p} for id, p in top]


def _figures(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        name: {"value": figure.value, "error": figure.error} for name, figure in figures.items()
    }


def _place(result: CompareResult, number: int) -> dict[str, Any]:
    comparison, names = result.comparison, result.plan.vocabulary
    base = _side(comparison.base, number, names)
    rows = []
    for model in comparison.candidates:
        track = model.track
        side = _side(track, number, names)
        side["dp"] = side["p"] - base["p"]
        side["kld"] = float(track.kld[number])
        both_told = UNTOLD not in (track.choice[number], comparison.base.choice[number])
        agrees = track.choice[number] == comparison.base.choice[number]
        side["agrees"] = bool(agrees) if both_told else None
        rows.append(side)
    return {
        "index": int(comparison.places[number]),
        **token_fields(names.token(int(comparison.tokens[number]))),
        "reference": base,
        "models": rows,
    }


def _side(track: ModelTrack, number: int, names: Vocabulary) -> dict[str, Any]:
    logprob, choice = float(track.logprob[number]), int(track.choice[number])
    return {
        "p": probability(logprob),
        "logprob": logprob,
        "rank": int(track.rank[number]) or None,
        "choice": None if choice == UNTOLD else token_fields(names.token(choice)),
        "choice_p": min(float(track.choice_p[number]), 1.0),
    }
