"""A report as JSON, as a table, and as text with its heat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llterm.backends.served import counted_words
from llterm.core.chat_messages import chat_fields
from llterm.core.counts import count_of
from llterm.core.display import display_text, visible
from llterm.core.heat_scale import Measure, heat
from llterm.core.jsontext import json_text
from llterm.core.scored_text import Candidate, Reading, Summary
from llterm.headless.score import Report
from llterm.number_format import of_logprob
from llterm.ramps import Depth, ansi, glyph, indexed, paint

VERSION = 1
_LONGEST = 8
"""Tokens that may share one character; more are shown apart, broken or not."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that can be shown, and the tokens it is made of: often one, several where a character
    is split among them."""

    text: str
    readings: tuple[Reading, ...]

    def heat(self, measure: Measure) -> float:
        """That of its hottest token."""
        return max(heat(one, measure) for one in self.readings)


def pieces(readings: Sequence[Reading]) -> Iterator[Piece]:
    """The tokens as text, in order."""
    waiting: list[Reading] = []
    for reading in readings:
        waiting.append(reading)
        data = b"".join(one.token.data for one in waiting)
        if _whole(data) or len(waiting) >= _LONGEST:
            yield Piece(display_text(data), tuple(waiting))
            waiting = []
    if waiting:
        yield Piece(display_text(b"".join(one.token.data for one in waiting)), tuple(waiting))


def _whole(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # A character that is not over yet may go on in the next token; a broken one may not.
        return error.reason != "unexpected end of data"
    return True


def as_json(report: Report) -> str:
    """One object; documented in docs/json.md."""
    summary = report.summary
    found = {
        "version": VERSION,
        "model": report.model,
        "vocabulary": report.fingerprint,
        "chat": chat_fields(report.chat) if report.chat else None,
        "tokens": [_token(one) for one in report.readings],
        "perplexity": _number(summary.perplexity),
        "bits_per_byte": _number(summary.bits_per_byte),
        "mean_entropy": summary.entropy,
        "lower_bounds": ["mean_entropy"] if summary.at_least else [],
        "first_choices": summary.first,
        "scored_bytes": summary.bytes,
        "text_tokens": report.tokens,
        "method": report.method,
        "window": report.window,
        "stride": report.stride,
        "stats": {
            "seconds": round(report.seconds, 6),
            "tokens_evaluated": report.cost.tokens,
            "decodes": report.cost.decodes,
            "requests": report.cost.requests,
        },
    }
    return json_text(found, indent=2)


def _token(reading: Reading) -> dict[str, Any]:
    return {
        "index": reading.index,
        "id": reading.token.id,
        "text": _text(reading.token.data),
        "bytes": list(reading.token.data),
        "logprob": _number(reading.logprob),
        "surprisal": _number(reading.surprisal),
        "rank": reading.rank,
        "entropy": reading.entropy,
        "lower_bounds": sorted(reading.at_least),
        "top": [_candidate(one) for one in reading.top],
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "id": one.token.id,
        "text": _text(one.token.data),
        "bytes": list(one.token.data),
        "p": math.exp(one.logprob),
    }


def as_table(report: Report) -> str:
    """A line a token: bits, rank, entropy, the token, and what was expected rather."""
    head = f"{'bits':>6} {'rank':>6} {'entropy':>7}    token and what was likelier"
    return "\n".join([head, *(_line(one) for one in report.readings)])


def _line(one: Reading) -> str:
    better = [c for c in one.top[:3] if c.logprob > one.logprob and c.token != one.token]
    rather = "  ".join(f"{visible(c.token.data)} {of_logprob(c.logprob)}" for c in better)
    token = visible(one.token.data)
    mark = glyph(heat(one, "surprisal"))
    rank, entropy = f"{one.rank}", f"{one.entropy:.1f}"
    if "rank" in one.at_least:
        rank = f"≥{rank}"
    if "entropy" in one.at_least:
        entropy = f"≥{entropy}"
    line = f"{one.surprisal:6.1f} {rank:>6} {entropy:>7} {mark}  {token}"
    return f"{line:<45}  {rather}".rstrip() if rather else line


def as_heat(report: Report, depth: Depth, measure: Measure = "surprisal") -> str:
    """The text itself, each token upon the colour of its heat. For a terminal."""
    parts = []
    for piece in pieces(report.readings):
        start = _style(piece.heat(measure), depth)
        # A line break is drawn too: it may be the surprise.
        for line in piece.text.replace("\n", "⏎\n").splitlines(keepends=True):
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


def summary(report: Report) -> str:
    """What was found, in one line or two."""
    found = report.summary
    lines = [
        f"{report.model}: {_figures(found)}; {found.tokens:,} of "
        f"{count_of(report.tokens, 'token')} scored in {report.seconds:.2f} s"
    ]
    if report.method == "halves":
        lines.append(
            f"Windows of {count_of(report.window, 'token')} side by side, second halves scored."
        )
    elif report.tokens > report.window:
        least = report.window - report.stride
        lines.append(
            f"The text is longer than the window of {count_of(report.window, 'token')}: "
            f"windows are {report.stride:,} apart, so later tokens were read after some "
            f"{least:,} others at least, not after the whole text."
        )
    return "\n".join(lines) + counted_words(report.counted)


def _figures(found: Summary) -> str:
    if not found.tokens:
        return "nothing can be told, for this model needs a token before the first that it scores"
    perplexity = f"{found.perplexity:.4g}" if math.isfinite(found.perplexity) else "infinite"
    bits = "" if math.isnan(found.bits_per_byte) else f", {found.bits_per_byte:.4f} bits per byte"
    return f"perplexity {perplexity}{bits}; {found.first:.0%} first choices"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _number(value: float) -> float | None:
    """JSON has no infinities."""
    return float(value) if math.isfinite(value) else None
