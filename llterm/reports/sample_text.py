"""Drawn continuations as text."""

from __future__ import annotations

from llterm.backends.served import counted_words
from llterm.core.counts import count_of
from llterm.core.display import display_text, visible
from llterm.jobs.sample import SampleResult

_ENDS = {"end": " ◂ end of text", "stuck": " ✗ nothing may follow", "failed": " …"}


def as_text(result: SampleResult) -> str:
    """A single continuation as it is; several numbered, a line each."""
    lines = result.continuations
    if len(lines) == 1:
        return display_text(lines[0].line.data)
    ends = (_ENDS.get(one.line.finish or "", "") for one in lines)
    return "\n".join(
        f"{one.number + 1:3}  {visible(one.line.data)}{end}"
        for one, end in zip(lines, ends, strict=True)
    )


def summary(result: SampleResult) -> str:
    """What was done, in one line, and what is not exact about it."""
    cost, lines = result.cost, result.continuations
    drawn = sum(len(one.tokens) for one in lines)
    told = (
        f"{result.model}, {result.sampling.label}: {count_of(len(lines), 'continuation')}, "
        f"{count_of(drawn, 'token')} drawn in {count_of(cost.decodes, 'decode')}, "
        f"{result.seconds:.2f} s"
    )
    stuck = sum(one.line.finish == "stuck" for one in lines)
    if stuck:
        told += f"; {stuck} came to where bans and constraint allow nothing"
    error = next((one.line.error for one in lines if one.line.error is not None), None)
    if error is not None:
        told += f"; {error.title}: {error.cause}"
    seen = result.sight.dropping(result.context)
    told = "\n".join(filter(None, (told, seen, result.caveat)))
    return told + counted_words(result.counted)
