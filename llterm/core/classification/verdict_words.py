"""What is said of a text, in words and bars for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llterm.core.classification.verdicts import Verdict
from llterm.core.display_text import label_text, visible
from llterm.number_format import LONGEST, bar, fine_percent, of_logprob, percent

ABSTAINS = "(none)"
NAME = 24
"""Columns of a label's name at most."""
LONGEST_BAR = 24
SHORTEST_BAR = 4


def label_bars(verdict: Verdict, columns: int = 80) -> list[str]:
    """A line for each label with its share, the most probable first, and the probability that the
    model itself gives to it."""
    shares = sorted(verdict.labels, key=lambda share: -share.p)
    longest = max(len(label_text(share.label.name)) for share in shares)
    width = min(longest, NAME, max(columns // 3, 1))
    calibrated = any(not math.isclose(share.p, share.p_raw, abs_tol=1e-9) for share in shares)
    figures = 2 + LONGEST + 5 + LONGEST + (7 + LONGEST if calibrated else 0)
    full = min(max(columns - 2 - width - 2 - figures, SHORTEST_BAR), LONGEST_BAR)
    lines = []
    for share in shares:
        mark = "●" if share.label in verdict.chosen else " "
        raw = f"   raw {percent(share.p_raw):>{LONGEST}}" if calibrated else ""
        own = of_logprob(share.logprob) if share.logprob > -math.inf else "…"
        lines.append(
            f"{mark} {short_name(share.label.name, width):<{width}}  {bar(share.p, full):<{full}}  "
            f"{percent(share.p):>{LONGEST}}{raw}   p {own:>{LONGEST}}".rstrip()
        )
    return lines


def certainty(verdict: Verdict) -> str:
    """How sure a verdict is."""
    names = ", ".join(label_text(label.name) for label in verdict.chosen) or ABSTAINS
    unseen = max(
        min(share.unseen / max(math.exp(share.logprob), 1e-300), 1.0) for share in verdict.labels
    )
    bound = f"; at most {fine_percent(unseen)} of a label not looked at" if unseen > 0 else ""
    return (
        f"{names}: margin {fine_percent(verdict.margin)}, entropy {verdict.entropy:.2f} bits; the"
        f" labels have {fine_percent(verdict.mass)} of all probability{bound}."
    )


def other_wanted(verdicts: Sequence[Verdict]) -> str:
    """That the model wanted something else, with what; empty where it did not."""
    little = [verdict for verdict in verdicts if verdict.little]
    if not little:
        return ""
    least = min(little, key=lambda verdict: verdict.mass)
    rather = "  ".join(f"{visible(data)} {percent(p)}" for data, p in least.first)
    many = len(verdicts) > 1
    where = f"In {len(little):,} of {len(verdicts):,} answers the" if many else "The"
    begins = f". Rather it begins: {rather}" if rather else "."
    return (
        f"{where} labels have less than 1% of all probability, so shares tell little: the model"
        f" wants something else{begins}"
    )


def short_name(name: str, width: int) -> str:
    """A label's name in so many characters."""
    shown = label_text(name)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
