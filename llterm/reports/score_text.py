"""A text as a model read it: a table, the text in its heat, and what was done in a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from llterm.backends.remote.server_usage import counted_words
from llterm.core.display_text import display_text, visible
from llterm.core.heat_scale import Measure, heat
from llterm.core.scored_text import Summary, TokenReading
from llterm.jobs.score import ScoreResult
from llterm.number_format import count_of, of_logprob
from llterm.ramps import Depth, ansi, glyph, indexed, paint

T = TypeVar("T")

_MOST = 8
"""Tokens that may share one character; more are shown apart, broken or not."""


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """Text that can be shown, and the tokens it is made of: often one, several where a character
    is split among them."""

    text: str
    readings: tuple[TokenReading, ...]

    def heat(self, measure: Measure) -> float:
        """That of its hottest token."""
        return max(heat(reading, measure) for reading in self.readings)


def token_groups(readings: Iterable[TokenReading]) -> Iterator[TokenGroup]:
    """The tokens as text, in order."""
    for group in by_character(readings, lambda reading: reading.token.data):
        data = b"".join(reading.token.data for reading in group)
        yield TokenGroup(display_text(data), tuple(group))


def by_character(tokens: Iterable[T], data_of: Callable[[T], bytes]) -> Iterator[list[T]]:
    """The tokens in order, those together that share a character."""
    group: list[T] = []
    for token in tokens:
        group.append(token)
        if len(group) >= _MOST or _ends_whole(b"".join(map(data_of, group))):
            yield group
            group = []
    if group:
        yield group


def _ends_whole(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # A character that is not over yet may go on in the next token; a broken one may not.
        return error.reason != "unexpected end of data"
    return True


def score_table(result: ScoreResult) -> str:
    """A line a token: bits, rank, entropy, the token, and what was expected rather."""
    head = f"{'bits':>6} {'rank':>6} {'entropy':>7}    token and what was likelier"
    label = cache(visible)  # A text has few different tokens, and each row names up to four.
    return "\n".join([head, *(_line(reading, label) for reading in result.readings)])


def _line(reading: TokenReading, label: Callable[[bytes], str]) -> str:
    better = [
        c for c in reading.top[:3] if c.logprob > reading.logprob and c.token != reading.token
    ]
    rather = "  ".join(f"{label(c.token.data)} {of_logprob(c.logprob)}" for c in better)
    token = label(reading.token.data)
    mark = glyph(heat(reading, "surprisal"))
    rank, entropy = f"{reading.rank}", f"{reading.entropy:.1f}"
    if "rank" in reading.at_least:
        rank = f"≥{rank}"
    if "entropy" in reading.at_least:
        entropy = f"≥{entropy}"
    line = f"{reading.surprisal:6.1f} {rank:>6} {entropy:>7} {mark}  {token}"
    return f"{line:<45}  {rather}".rstrip() if rather else line


def score_heat(result: ScoreResult, depth: Depth, measure: Measure = "surprisal") -> str:
    """The text itself, each token upon the colour of its heat. For a terminal."""
    parts = []
    for group in token_groups(result.readings):
        start = _style(group.heat(measure), depth)
        # A line break is drawn too: it may be the surprise.
        for line in group.text.replace("\n", "⏎\n").splitlines(keepends=True):
            body, end = (line[:-1], "\n") if line.endswith("\n") else (line, "")
            parts.append(f"{start}{body}\x1b[0m{end}")
    return "".join(parts)


def _style(hot: float, depth: Depth) -> str:
    (red, green, blue), (r, g, b) = paint(hot, depth)
    if depth == "truecolor":
        return f"\x1b[48;2;{red};{green};{blue};38;2;{r};{g};{b}m"
    if depth == "256":
        return f"\x1b[48;5;{indexed(hot)};38;5;{231 if r else 16}m"
    color = ansi(hot)
    back = 40 + color if color < 8 else 92 + color
    return f"\x1b[{back};{97 if r else 30}m"


def score_summary(result: ScoreResult) -> str:
    """The figures of the whole text, in one line or two."""
    lines = [
        f"{result.model}: {_figures(result.summary)}; {result.summary.tokens:,} of "
        f"{count_of(result.tokens, 'token')} scored in {result.seconds:.2f} s"
    ]
    if result.method == "halves":
        lines.append(
            f"Windows of {count_of(result.window, 'token')} side by side, second halves scored."
        )
    elif result.tokens > result.window:
        least = result.window - result.stride
        lines.append(
            f"The text is longer than the window of {count_of(result.window, 'token')}: "
            f"windows are {result.stride:,} apart, so later tokens were read after some "
            f"{least:,} others at least, not after the whole text."
        )
    return "\n".join(lines) + counted_words(result.counted)


def _figures(summary: Summary) -> str:
    if not summary.tokens:
        return "nothing can be told, for this model needs a token before the first that it scores"
    perplexity = f"{summary.perplexity:.4g}" if math.isfinite(summary.perplexity) else "infinite"
    bits = (
        "" if math.isnan(summary.bits_per_byte) else f", {summary.bits_per_byte:.4f} bits per byte"
    )
    return f"perplexity {perplexity}{bits}; {summary.first:.0%} first choices"
