"""Classification: every label's probability, not only the answer; calibrated over the batch."""

from __future__ import annotations

import sys

import llterm

REVIEWS = [
    "I loved every minute of it.",
    "A waste of an evening.",
    "The actors were wonderful, and so was the music.",
    "I fell asleep, and was glad of it.",
]


def main(name: str = "fable") -> list[llterm.Classification]:
    with llterm.open(name) as model:
        verdicts = model.classify(
            REVIEWS,
            {"good": "the writer liked it", "bad": "the writer did not"},
            question="Did the writer like it?",
            calibrate="batch",
        )
    for review, verdict in zip(REVIEWS, verdicts, strict=True):
        print(f"{verdict.label}  {verdict.p['good']:.0%} good  {review}")
    return verdicts


if __name__ == "__main__":
    main(*sys.argv[1:2])
