"""A mixed text as text. All model text goes through `visible` or `display_text`."""

from __future__ import annotations

from collections import Counter

from llterm.backends.remote.server_usage import counted_words
from llterm.core.display_text import display_text, visible
from llterm.engine.mix_player import MixTurn
from llterm.jobs.mix import MixResult
from llterm.number_format import LONGEST, bar, count_of, percent
from llterm.reports.suggest_text import BAR, unknown_words

MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Models are told apart by letters, and by numbers past the alphabet, never by colour alone."""


def mark(index: int | None) -> str:
    """A model's short label; `·` for a token that is no model's first choice."""
    if index is None:
        return "·"
    return MARKS[index] if index < len(MARKS) else str(index + 1)


def mix_text(result: MixResult) -> str:
    """The text, then a line a token: whose it is, its probability, what each model would say."""
    made = display_text(result.text + result.data).rstrip("\n")
    lines = [made, "", result.recipe.formula(result.names)]
    given = Counter(turn.by for turn in result.turns)
    for index, name in enumerate(result.names):
        sure = result.determinism(index)
        lines.append(
            f"  {mark(index)}  {name}: {_tokens(given[index], result.by_id)}; "
            f"determinism {sure:.3f}, creativity {1 - sure:.3f}"
        )
    if given[None]:
        lines.append(f"  ·  no model's first choice: {_tokens(given[None], result.by_id)}")
    lines += ["", *(_line(turn) for turn in result.turns)]
    return "\n".join([*lines, *_warnings(result)])


def mix_summary(result: MixResult) -> str:
    """What was done, in one line or two."""
    count = len(result.turns)
    done = (
        f"{' + '.join(result.names)}: {_tokens(count, result.by_id)} in {result.seconds:.2f} s, "
        f"{count_of(result.cost.tokens, 'token')} evaluated"
    )
    if not result.by_id:
        done += "\nTheir vocabularies differ: they are mixed byte by byte."
    done = "\n".join(filter(None, (done, result.in_force, result.dropped)))
    return (
        done
        + (f"\n{unknown_words(result.exact, result.unknown)}" if result.unknown else "")
        + counted_words(result.counted)
    )


def _tokens(count: int, by_id: bool) -> str:
    return count_of(count, "token" if by_id else "byte")


def _line(turn: MixTurn) -> str:
    votes = "   ".join(
        f"{mark(index)} {visible(vote.choice.data)} {percent(vote.choice_p)}"
        for index, vote in enumerate(turn.votes)
        if vote.known > 0
    )
    head = f"{turn.position + 1:4} {mark(turn.by)} {percent(turn.p):>{LONGEST}} {bar(turn.p, BAR)}"
    return f"{head} {visible(turn.token.data):<16}  {votes}".rstrip()


def _warnings(result: MixResult) -> list[str]:
    """Each kind once for each model, with how often and where first."""
    places: dict[tuple[int, str], list[int]] = {}
    for turn in result.turns:
        for index, vote in enumerate(turn.votes):
            if not result.recipe.pool.weights[index]:
                continue
            for warning in vote.warnings:
                places.setdefault((index, warning), []).append(turn.position + 1)
    return [
        f"warning: {result.names[index]}: {kind} at "
        f"{count_of(len(where), 'place')}, first at {where[0]}"
        for (index, kind), where in sorted(places.items())
    ]
