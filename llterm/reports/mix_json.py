"""The JSON of `mix` where a text is made, described in docs/json.md and docs/schema/mix.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import text_fields, text_value
from llterm.engine.mix_player import MixTurn
from llterm.jobs.mix import MixResult
from llterm.reports.json_values import cost_fields, streamed, token_fields

VERSION = 1


def mix_json(result: MixResult) -> Iterator[str]:
    """One object, in parts."""
    counts = [sum(turn.by == n for turn in result.turns) for n in range(len(result.names))]
    head = {
        "version": VERSION,
        "mode": result.recipe.mode,
        "formula": result.recipe.formula(result.names),
        "unit": "token" if result.by_id else "byte",
        "exact": result.exact,
        "unknown": result.unknown,
        "chat": chat_fields(result.chat) if result.chat else None,
        "prompt": text_value(result.text),
        **text_fields(result.data),
        "finish": "end" if result.turns and result.turns[-1].token.end else "length",
        "models": [
            {
                "name": name,
                "kernels": result.kernels[n],
                "weight": result.recipe.pool.weights[n],
                "given": counts[n],
                "determinism": result.determinism(n),
                "creativity": 1.0 - result.determinism(n),
            }
            for n, name in enumerate(result.names)
        ],
        "stats": cost_fields(result.cost, result.seconds),
    }
    return streamed(head, "tokens", (_turn(turn, result) for turn in result.turns))


def _turn(turn: MixTurn, result: MixResult) -> dict[str, Any]:
    return {
        "index": turn.position,
        **token_fields(turn.token),
        "p": turn.p,
        "p_final": turn.p_final,
        "by": None if turn.by is None else result.names[turn.by],
        "models": [
            {
                "choice": token_fields(vote.choice),
                "choice_p": vote.choice_p,
                "p": vote.p,
                "known": vote.known,
                "warnings": list(vote.warnings),
            }
            for vote in turn.votes
        ],
    }
