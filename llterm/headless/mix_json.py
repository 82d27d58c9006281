"""The JSON of `mix`, described in docs/json.md and docs/schema/mix.json; written as it is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.jsontext import json_text
from llterm.core.judging.comparison import Candidate, Track
from llterm.core.judging.rows import UNTOLD
from llterm.core.judging.tally import Figure, histogram
from llterm.core.query import Cost
from llterm.core.tokens import Token, Vocabulary
from llterm.engine.playing import Turn
from llterm.headless.compare import Compared
from llterm.headless.compare_formats import context
from llterm.headless.mix import Played

VERSION = 1


def played_json(played: Played) -> Iterator[str]:
    """One object, in parts."""
    counts = [sum(turn.by == n for turn in played.turns) for n in range(len(played.names))]
    head = {
        "version": VERSION,
        "mode": played.recipe.mode,
        "formula": played.recipe.formula(played.names),
        "unit": "token" if played.by_id else "byte",
        "exact": played.exact,
        "unknown": played.unknown,
        "chat": chat_fields(played.chat) if played.chat else None,
        "prompt": played.text.decode("utf-8", "replace"),
        "text": played.data.decode("utf-8", "replace"),
        "bytes": list(played.data),
        "finish": "end" if played.turns and played.turns[-1].token.end else "length",
        "models": [
            {
                "name": name,
                "weight": played.recipe.pool.weights[n],
                "given": counts[n],
                "determinism": played.determinism(n),
                "creativity": 1.0 - played.determinism(n),
            }
            for n, name in enumerate(played.names)
        ],
        "stats": _stats(played.cost, played.seconds),
    }
    return _streamed(head, "tokens", (_turn(turn, played) for turn in played.turns))


def compared_json(report: Compared) -> Iterator[str]:
    """One object, in parts: a long text's places are not made all at once."""
    found = report.found
    figures = {one.name: found.figures(one) for one in found.candidates}
    head = {
        "version": VERSION,
        "mode": "reference",
        "unit": "token" if report.by_id else "byte",
        "exact": not report.listing,
        "reference": {"name": found.reference},
        "vocabulary": report.vocabulary.fingerprint,
        "source": report.source,
        "chat": chat_fields(report.chat) if report.chat else None,
        "text_tokens": len(report.ids),
        "compared": found.done,
        "method": report.method,
        "window": report.window,
        "stride": report.stride,
        "models": [_model(report, one, figures[one.name]) for one in found.candidates],
        "conditions": [
            {
                "condition": str(condition),
                "model": one.name,
                "value": _number(figures[one.name][condition.name].value),
                "holds": condition.holds(figures[one.name]),
            }
            for one in found.candidates
            for condition in report.conditions
        ],
        "stats": _stats(report.cost, report.seconds),
    }
    return _streamed(head, "tokens", (_place(report, number) for number in range(found.done)))


def _streamed(
    head: Mapping[str, Any], name: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """The object with one more field, a list with a row a line."""
    text = json_text(head, indent=2)
    yield text[: text.rindex("\n")] + f',\n  "{name}": ['
    between = "\n"
    for row in rows:
        yield between + "    " + json_text(row)
        between = ",\n"
    yield "\n  ]\n}\n"


def _turn(turn: Turn, played: Played) -> dict[str, Any]:
    return {
        "index": turn.position,
        **_token(turn.token),
        "p": turn.p,
        "p_final": turn.p_final,
        "by": None if turn.by is None else played.names[turn.by],
        "models": [
            {
                "choice": _token(say.choice),
                "choice_p": say.choice_p,
                "p": say.p,
                "known": say.known,
                "warnings": list(say.warnings),
            }
            for say in turn.says
        ],
    }


def _model(report: Compared, one: Candidate, figures: Mapping[str, Figure]) -> dict[str, Any]:
    found = report.found
    first = next(found.divergences(one), None)
    return {
        "name": one.name,
        "figures": _figures(figures),
        "determinism": _number(one.tally.determinism),
        "creativity": _number(1.0 - one.tally.determinism),
        "divergences": found.done - one.tally.same - one.tally.untold,
        "first_divergence": None if first is None else int(found.places[first]),
        "histogram": [
            {"from": low, "to": high, "count": count}
            for low, high, count in histogram(one.track.kld[: found.done].astype(float))
        ],
        "worst": [
            {
                "index": int(found.places[worst.number]),
                "kld": _number(worst.kld),
                "context": context(report, worst.number).decode("utf-8", "replace"),
                "reference_top": _tops(report, worst.base_top),
                "top": _tops(report, worst.top),
            }
            for worst in one.worst
        ],
        "running": [
            {"compared": mark.tokens, "figures": _figures(mark.figures)}
            for mark in one.tally.running
        ],
    }


def _tops(report: Compared, top: Iterable[tuple[int, float]]) -> list[dict[str, Any]]:
    return [{**_token(report.vocabulary.token(id)), "p": p} for id, p in top]


def _figures(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {
        name: {"value": _number(one.value), "error": _number(one.error)}
        for name, one in figures.items()
    }


def _place(report: Compared, number: int) -> dict[str, Any]:
    found, names = report.found, report.vocabulary
    base = _side(found.base, number, names)
    rows = []
    for one in found.candidates:
        track = one.track
        side = _side(track, number, names)
        side["dp"] = side["p"] - base["p"]
        side["kld"] = _number(float(track.kld[number]))
        told = UNTOLD not in (track.choice[number], found.base.choice[number])
        agrees = track.choice[number] == found.base.choice[number]
        side["agrees"] = bool(agrees) if told else None
        rows.append(side)
    return {
        "index": int(found.places[number]),
        **_token(names.token(int(found.tokens[number]))),
        "reference": base,
        "models": rows,
    }


def _side(track: Track, number: int, names: Vocabulary) -> dict[str, Any]:
    logprob, choice = float(track.logprob[number]), int(track.choice[number])
    return {
        "p": math.exp(min(logprob, 0.0)),
        "logprob": _number(logprob),
        "rank": int(track.rank[number]) or None,
        "choice": None if choice == UNTOLD else _token(names.token(choice)),
        "choice_p": _number(min(float(track.choice_p[number]), 1.0)),
    }


def _token(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token.data.decode("utf-8", "replace"),
        "bytes": list(token.data),
    }


def _stats(cost: Cost, seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 6),
        "tokens_evaluated": cost.tokens,
        "decodes": cost.decodes,
        "requests": cost.requests,
    }


def _number(value: float | None) -> float | None:
    """JSON has no infinities."""
    return float(value) if value is not None and math.isfinite(value) else None
