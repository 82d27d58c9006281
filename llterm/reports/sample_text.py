"""Drawn samples as text."""

from __future__ import annotations

from llterm.backends.remote.server_usage import counted_words
from llterm.core.display_text import display_text, visible
from llterm.jobs.sample import SampleResult
from llterm.number_format import count_of

_ENDS = {"end": " ◂ end of text", "stuck": " ✗ nothing may follow", "failed": " …"}


def as_text(result: SampleResult) -> str:
    """A single sample as it is; several numbered, a line each."""
    drawn = [each.sample for each in result.samples]
    if len(drawn) == 1:
        return display_text(drawn[0].data)
    ends = (_ENDS.get(each.finish or "", "") for each in drawn)
    return "\n".join(
        f"{each.number + 1:3}  {visible(each.data)}{end}"
        for each, end in zip(drawn, ends, strict=True)
    )


def summary(result: SampleResult) -> str:
    """What was done, in one line, and what is not exact about it."""
    cost, drawn = result.cost, [each.sample for each in result.samples]
    tokens = sum(len(each.tokens) for each in result.samples)
    text = (
        f"{result.model}, {result.story.sampling.label}: {count_of(len(drawn), 'continuation')}, "
        f"{count_of(tokens, 'token')} drawn in {count_of(cost.decodes, 'decode')}, "
        f"{result.seconds:.2f} s"
    )
    if result.draft is not None:
        count = result.draft
        accepted = f"{count.accepted:,} of {count_of(count.proposed, 'token')}"
        text += f"; {count.name} wrote ahead {accepted} that were drawn"
    stuck = sum(each.finish == "stuck" for each in drawn)
    if stuck:
        text += f"; {stuck} came to where bans and constraint allow nothing"
    dropped = result.sight.dropping(result.context)
    told = result.story.in_force(result.sight.hidden, drawn=True)
    text = "\n".join(filter(None, (text, told, dropped, result.caveat)))
    return text + counted_words(result.counted)
