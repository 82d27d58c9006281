"""Suggestions as text, as a tree, and as a graph. All model text goes through `visible`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llterm.backends.remote.server_usage import counted_words
from llterm.core.display_text import visible
from llterm.core.healing import healed, healing_note
from llterm.core.suggestion_tree import Branch, Suggestion, View
from llterm.formats.dot import quoted
from llterm.jobs.suggest import SuggestResult
from llterm.number_format import LONGEST, bar, count_of, fine_percent, of_logprob, percent

BAR = 8
"""Columns of a full bar."""
_MARKS = {"end": " ◂ end of text", "open": " …"}


def as_text(result: SuggestResult) -> str:
    """Numbered suggestions, most probable first; equal texts once, their probabilities added."""
    lines: list[str] = []
    seen: set[bytes] = set()
    for suggestion in result.view.suggestions:
        if suggestion.data in seen and suggestion.data:
            continue
        seen.add(suggestion.data)
        p = math.exp(suggestion.logprob) + suggestion.merged + suggestion.alike_p
        lines.append(f"{len(lines) + 1:3}  {percent(p):>{LONGEST}}  {_label(suggestion)}")
    return "\n".join(lines)


def as_tree(result: SuggestResult) -> str:
    """The suggestion tree: share given the parent, as a bar and in percent, then the text."""
    return "\n".join(_rows(result.view.branches, ""))


def as_dot(result: SuggestResult) -> str:
    """A Graphviz graph of the tree: `dot -Tsvg` draws it."""
    start = visible(result.story.text)
    start = "…" + start[-40:] if len(start) > 40 else start
    lines = [
        "digraph weave {",
        '  graph [rankdir=LR, bgcolor=white, nodesep=0.12, ranksep=0.5, fontname="Helvetica"];',
        '  node [shape=box, style="rounded,filled", fillcolor="#f4f1ea", color="#8a8577",'
        ' fontname="Helvetica", fontsize=11, margin="0.12,0.05"];',
        '  edge [color="#8a8577", fontname="Helvetica", fontsize=9, arrowsize=0.6];',
        f'  start [label="{quoted(start or "(start)")}", fillcolor="#dcd6c5"];',
        *_edges(result.view, "start"),
        "}",
    ]
    return "\n".join(lines)


def summary(result: SuggestResult) -> str:
    """What was done, in one line."""
    cost, view = result.cost, result.view
    again = f", {cost.again:,} of them once more," if cost.again else ""
    effort = f"{count_of(cost.tokens, 'token')} evaluated{again} in "
    effort += f"{count_of(cost.decodes, 'decode')}, "
    effort += f"{result.seconds:.2f} s" + counted_words(result.counted)
    notes = "".join(f"\n{line}" for line in _notes(result))
    if result.constraint is not None and result.constraint.texts:
        return f"{result.model}: {_choices(view)}; {effort}{notes}"
    count = len(view.suggestions)
    settled = "" if view.done else f", {view.settled} of them settled"
    settled += f", which differ, of {view.looked_at}" if result.story.rules.diverse else ""
    covered = view.coverage[0] if view.coverage else 0.0
    return (
        f"{result.model}: {count_of(count, 'suggestion')}{settled}; "
        f"{fine_percent(covered)} of all probability at depth 1; {effort}"
        f"{_constrained(result)}{notes}"
    )


def _choices(view: View) -> str:
    """What the model gives to the choices, and how much of it was looked at."""
    count = len(view.suggestions)
    together = view.coverage[0] if view.coverage else 0.0
    text = f"{count_of(count, 'choice')}, {fine_percent(together)} of all probability"
    if view.bound > 0:
        text += f"; spellings not looked at add {fine_percent(view.bound)} to any at the most"
    return text


def _notes(result: SuggestResult) -> Iterator[str]:
    """What is in force, how several models decided, how much of the story they do not see."""
    if told := result.story.in_force(result.sight.hidden):
        yield told
    if (mixed := result.mix) is not None:
        yield mixed.formula
        if not mixed.by_id:
            yield "Their vocabularies differ: they are mixed byte by byte."
        if mixed.unknown:
            yield unknown_words(mixed.exact, mixed.unknown)
    if dropped := result.sight.dropping(result.context):
        yield dropped


def unknown_words(exact: bool, unknown: float) -> str:
    """What is not known of a mix, and why."""
    if exact:
        most = fine_percent(unknown)
        return f"Improbable spellings were left out: up to {most} of the mass at a place."
    return (
        "Approximate: a server lists only its best candidates; up to "
        f"{fine_percent(unknown)} of the mass at a place is unknown."
    )


def _constrained(result: SuggestResult) -> str:
    """How much of the model's wish the constraint took, and whether it led nowhere."""
    if result.constraint is None:
        return ""
    first = result.view.suggestions[0].steps[0].permitted if result.view.suggestions else 0.0
    text = "; the figures are given the pattern, which allows "
    text += f"{fine_percent(first)} of what the model would begin with"
    ends = result.dead_ends
    return text + (f", and {count_of(ends, 'path')} came to a dead end of it" if ends else "")


def _label(suggestion: Suggestion) -> str:
    others = f"  (and {len(suggestion.alike)} alike)" if suggestion.alike else ""
    note = healing_note(healed(suggestion.residue, suggestion.data))
    return (
        visible(suggestion.data)
        + _MARKS.get(suggestion.finish, "")
        + note
        + others
        + _share(suggestion.share)
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"  ({fine_percent(share)} of the choices)"


def _rows(branches: tuple[Branch, ...], indent: str) -> Iterator[str]:
    for branch in branches:
        mark = _MARKS.get(branch.finish or "", "") + healing_note(branch.healed)
        fold = "▾ " if branch.children else "  "
        mark += f"  (and {branch.alike} alike)" if branch.alike else ""
        mark += _share(branch.share)
        figure = f"{bar(branch.p, BAR)} {percent(branch.p):>{LONGEST}}"
        yield f"{figure}  {indent}{fold}{visible(branch.data)}{mark}"
        yield from _rows(branch.children, indent + "  ")


def _edges(view: View, root: str) -> Iterator[str]:
    number = 0

    def walk(branches: tuple[Branch, ...], parent: str) -> Iterator[str]:
        nonlocal number
        for branch in branches:
            number += 1
            name = f"n{number}"
            label = quoted(visible(branch.data) + _MARKS.get(branch.finish or "", ""))
            joint = of_logprob(branch.logprob)
            yield f'  {name} [label="{label}", tooltip="{joint} of all continuations"];'
            width = f"{0.6 + 4 * branch.p:.2f}"
            share = percent(branch.p)
            yield f'  {parent} -> {name} [label=" {share}", penwidth={width}];'
            yield from walk(branch.children, name)

    return walk(view.branches, root)
