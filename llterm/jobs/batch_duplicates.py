"""Results that say the same: counted, and taken out where that is wanted.

Of texts that say the same the first one of the input is kept, in whatever order they ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from llterm.core.diversity import words_of
from llterm.core.near_duplicates import TextSignatures
from llterm.errors import LltermError, reason
from llterm.jobs.batch_answers import choices_of
from llterm.jobs.batch_output import BatchFiles, result_lines
from llterm.jobs.batch_plan import BatchPlan, id_digest
from llterm.number_format import count_of
from llterm.whole_file import beside

Dropped = Literal["none", "exact", "near"]
"""Which duplicates are taken out; near ones with the exact ones."""
_EVERY = 500


@dataclass(frozen=True, slots=True)
class DuplicateCounts:
    """How many results say what an earlier one says."""

    exact: int = 0
    """But for capitals, signs and spaces."""
    near: int = 0
    """Most of their words in threes."""
    dropped: int = 0


def drop_duplicates(
    files: BatchFiles, plan: BatchPlan, dropped: Dropped, say: Callable[[str], None]
) -> DuplicateCounts:
    """Count them, and take out those that are to be. `say` is told how far it is.

    Raises LltermError; the results are whole then.
    """
    seen = _Seen()
    ranks: list[int] = []
    numbers = {plan.id_of(row): row for row in range(len(plan))}
    for line in result_lines(files.results):
        seen.add(said_by(line.result))
        ranks.append(numbers.get(id_digest(line.result["custom_id"]), len(numbers)))
        if len(ranks) % _EVERY == 0:
            say(f"Looking for duplicates: {count_of(len(ranks), 'result')}")
    exact, near = seen.duplicates(np.argsort(np.array(ranks, np.int64), kind="stable"))
    out = exact if dropped == "exact" else exact | near
    if dropped == "none" or not out.any():
        return DuplicateCounts(int(exact.sum()), int(near.sum()))
    try:
        _take_out(files, out)
    except OSError as error:
        raise LltermError(
            f"The duplicates cannot be taken out of {files.results.name}",
            f"{reason(error)}.",
            "Every result is still there. Check the folder and its space.",
        ) from error
    return DuplicateCounts(int(exact.sum()), int(near.sum()), int(out.sum()))


def said_by(result: Mapping[str, Any]) -> str:
    """The texts of a result's line."""
    return "\n".join(choice.text for choice in choices_of(result_body(result)))


def result_body(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer in a result's line; a line of a template's is a choice of its own."""
    response = result.get("response")
    body = response.get("body") if isinstance(response, Mapping) else None
    return body if isinstance(body, Mapping) else {"choices": [result]}


class _Seen:
    """What texts say, in a few numbers each."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        self._which: list[int] = []
        """For each text the number of its wording."""
        self._signatures = TextSignatures()

    def add(self, text: str) -> None:
        words = words_of(text)
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
        number = self._first.setdefault(digest, len(self._first))
        if number == len(self._signatures):
            self._signatures.add(words)
        self._which.append(number)

    def duplicates(self, order: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which texts say exactly what an earlier one does, and which other ones nearly; `order`:
        the texts, the earliest first."""
        which = np.array(self._which, np.int64)
        _, first = np.unique(which[order], return_index=True)
        earliest = np.zeros(len(which), np.bool_)
        earliest[order[np.sort(first)]] = True
        wordings = which[order[np.sort(first)]].tolist()
        alike = self._signatures.alike(wordings)
        return ~earliest, earliest & (alike[which] >= 0)


def _take_out(files: BatchFiles, out: NDArray[np.bool_]) -> None:
    """First into the one file, then out of the other: killed in between, they are in both."""
    kept_ids: set[str] = set()
    with beside(files.duplicates) as part, part.open("xb") as file:
        for line, dropped in zip(result_lines(files.results), out.tolist(), strict=True):
            if dropped:
                file.write(line.data)
                kept_ids.add(line.result["custom_id"])
        _earlier(files.duplicates, kept_ids, file)
    with beside(files.results) as part, part.open("xb") as file:
        for line, dropped in zip(result_lines(files.results), out.tolist(), strict=True):
            if not dropped:
                file.write(line.data)


def _earlier(path: Path, but: set[str], file: BinaryIO) -> None:
    """What was taken out before."""
    if path.exists():
        for line in result_lines(path):
            if line.result["custom_id"] not in but:
                file.write(line.data)
