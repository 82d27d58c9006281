"""A mixed text as a report in text. All model text goes through `visible` or `display_text`."""

from __future__ import annotations

from collections import Counter

from llterm.backends.served import counted_words
from llterm.core.counts import count_of
from llterm.core.display import display_text, visible
from llterm.engine.mix_player import MixTurn
from llterm.headless.mix import Played
from llterm.number_format import LONGEST, bar, percent
from llterm.reports.suggest_text import BAR, unknown_words

MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Models are told apart by letters, and by numbers past the alphabet, never by colour alone."""


def mark(index: int | None) -> str:
    """A model's short label; `·` for a token that is no model's first choice."""
    if index is None:
        return "·"
    return MARKS[index] if index < len(MARKS) else str(index + 1)


def as_text(played: Played) -> str:
    """The text, then a line a token: whose it is, its probability, what each model would vote."""
    made = display_text(played.text + played.data).rstrip("\n")
    lines = [made, "", played.recipe.formula(played.names)]
    given = Counter(turn.by for turn in played.turns)
    for index, name in enumerate(played.names):
        sure = played.determinism(index)
        lines.append(
            f"  {mark(index)}  {name}: {_tokens(given[index], played.by_id)}; "
            f"determinism {sure:.3f}, creativity {1 - sure:.3f}"
        )
    if given[None]:
        lines.append(f"  ·  no model's first choice: {_tokens(given[None], played.by_id)}")
    lines += ["", *(_line(turn) for turn in played.turns)]
    return "\n".join([*lines, *_warnings(played)])


def summary(played: Played) -> str:
    """What was done, in one line or two."""
    count = len(played.turns)
    told = (
        f"{' + '.join(played.names)}: {_tokens(count, played.by_id)} in {played.seconds:.2f} s, "
        f"{count_of(played.cost.tokens, 'token')} evaluated"
    )
    if not played.by_id:
        told += "\nTheir vocabularies differ: they are mixed byte by byte."
    return (
        told
        + (f"\n{unknown_words(played.exact, played.unknown)}" if played.unknown else "")
        + counted_words(played.counted)
    )


def _tokens(count: int, by_id: bool) -> str:
    return count_of(count, "token" if by_id else "byte")


def _line(turn: MixTurn) -> str:
    says = "   ".join(
        f"{mark(index)} {visible(vote.choice.data)} {percent(vote.choice_p)}"
        for index, vote in enumerate(turn.votes)
        if vote.known > 0
    )
    head = f"{turn.position + 1:4} {mark(turn.by)} {percent(turn.p):>{LONGEST}} {bar(turn.p, BAR)}"
    return f"{head} {visible(turn.token.data):<16}  {says}".rstrip()


def _warnings(played: Played) -> list[str]:
    """Each kind once for each model, with how often and where first."""
    found: dict[tuple[int, str], list[int]] = {}
    for turn in played.turns:
        for index, vote in enumerate(turn.votes):
            if not played.recipe.pool.weights[index]:
                continue
            for one in vote.warnings:
                found.setdefault((index, one), []).append(turn.position + 1)
    return [
        f"warning: {played.names[index]}: {kind} at "
        f"{count_of(len(where), 'place')}, first at {where[0]}"
        for (index, kind), where in sorted(found.items())
    ]
