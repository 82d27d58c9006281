"""How a probability looks: one way, for the screen, for commands and for exported pages.

`41.2%`, and under a tenth of a percent, where a percentage says nothing, the odds: `1 in 2,000`,
from ten thousand on with k (thousand), M (million), B (billion), T (trillion), then as a power of
ten. Bits (-log2 p) are given where they are asked for. Pure.
"""

from __future__ import annotations

import math

LONGEST = 10
"""Most cells of a probability."""
LEAST = 0.001
"""Below this a probability is told as odds."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_UNITS = ("", "k", "M", "B", "T")


def percent(p: float) -> str:
    """A probability with three digits at the most; in at most six cells from 0.1 % on."""
    if p >= 0.9995:
        return "100%"
    return f"{100 * p:.1f}%" if p >= LEAST else odds(_log10(p))


def fine_percent(p: float) -> str:
    """A probability with two significant digits."""
    if p >= 0.0995:
        return f"{100 * p:.0f}%"
    return f"{100 * p:.{_decimals(100 * p)}f}%" if p >= LEAST else odds(_log10(p))


def odds(log10: float) -> str:
    """`1 in N` for a probability of 10 to this power, N with two significant digits."""
    if log10 == -math.inf:
        return "0%"
    power = math.floor(-log10 + 1e-9)
    leading = 10 ** (-log10 - power)
    if round(leading, 1) >= 10:
        leading, power = 1.0, power + 1
    if power >= 3 * len(_UNITS):
        return f"1 in 10^{power}"
    if power < 4:
        return f"1 in {round(round(leading, 1) * 10**power):,}"
    unit, places = divmod(power, 3)
    number = round(leading, 1) * 10**places
    return f"1 in {number:.{0 if places else 1}f}".removesuffix(".0") + _UNITS[unit]


def of_logprob(logprob: float) -> str:
    """`percent` of a natural log, however small its probability is."""
    return (
        percent(math.exp(logprob)) if logprob >= math.log(LEAST) else odds(logprob / math.log(10))
    )


def bits(logprob: float) -> str:
    """Surprisal in bits."""
    return f"{max(0.0, -logprob / math.log(2)):.1f} bits"


def joint(logprob: float, tokens: int, mean_logprob: float | None = None) -> str:
    """What a branch says of itself, the most telling first: joint, mean, tokens, bits.

    `mean_logprob` is that of the tokens, where they are not all that the joint one is of.
    """
    mean = math.exp(logprob / max(tokens, 1) if mean_logprob is None else mean_logprob)
    whole = fine_percent(math.exp(logprob)) if logprob >= math.log(LEAST) else of_logprob(logprob)
    return f"joint {whole} · mean {100 * mean:.0f}% · {count_of(tokens, 'token')} · {bits(logprob)}"


def bar(p: float, width: int) -> str:
    """A bar of exactly `width` cells, full at p = 1. Something above 0 always shows."""
    eighths = max(round(min(max(p, 0.0), 1.0) * width * 8), 1 if p > 0 else 0)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width)


def _log10(p: float) -> float:
    return math.log10(p) if p > 0 else -math.inf


def _decimals(number: float) -> int:
    """Decimals that leave two significant digits."""
    return max(1 - math.floor(math.log10(number)), 0)


def spoken_speed(speed: float) -> str:
    """Tokens a second, in words."""
    return "as fast as the model goes" if math.isinf(speed) else f"{speed:g} tokens a second"


def count_of(number: int, singular: str, plural: str = "") -> str:
    """`1 node`, `2 nodes`, `1,000 nodes`. Where an s does not make it many, `plural` says how."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
