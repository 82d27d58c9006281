"""The inspector's table: which columns a width has room for, and what stands in them."""

from __future__ import annotations

from llterm.core.display import label_text, visible
from llterm.core.tokens import Token
from llterm.number_format import LONGEST, bar, of_logprob, percent
from llterm.session.inspection import CandidateRow, CandidateTable, TokenProvenance
from llterm.ui.widgets.text_fit import crop

TOKEN = 16
"""Cells of a candidate's text and bytes; all of them are told of the highlighted one."""
BAR = 6
FIGURES = ("model", "chain")
"""Columns that are aligned on the right."""
_WAYS = {
    "accepted": "accepted",
    "first choice": "all that the chain left",
    "forced": "all that was allowed",
    "picked": "picked by you",
}
"""How ways of arrival are told; others as they are."""
_WIDE = 100
"""Cells of a screen from which bytes have a column."""
_NARROW = 72
"""Cells of a screen below which ids and bars are left out."""


def chosen_columns(width: int, *, constrained: bool) -> list[str]:
    """The columns for a screen of so many cells; `valid` where there is a constraint."""
    columns = ["rank", "token"]
    if width >= _NARROW:
        columns.append("id")
    if width >= _WIDE:
        columns.append("bytes")
    columns += ["model", "chain"]
    if width >= _NARROW:
        columns.append("bar")
    if constrained:
        columns.append("valid")
    return [*columns, "kept", "dropped by"]


def row_cells(row: CandidateRow) -> dict[str, str]:
    """A candidate's cells by column."""
    return {
        "rank": f"{row.rank:,}",
        "token": crop(visible(row.token.data), TOKEN),
        "id": str(row.token.id),
        "bytes": crop(spelt(row.token), TOKEN),
        "model": f"{of_logprob(row.logprob):>{LONGEST}}",
        "chain": f"{percent(row.p_final):>{LONGEST}}",
        "bar": bar(row.p_final, BAR),
        "valid": "✓" if row.valid else "✗",
        "kept": "✗" if row.dropped_by else "✓",
        "dropped by": row.dropped_by or "",
    }


def other_cells(table: CandidateTable) -> dict[str, str]:
    """The row of all that are not listed: their mass, and how many are valid and kept."""
    left = table.kept - sum(row.p_final > 0 for row in table.rows)
    return {
        "token": f"{table.other:,} others",
        "model": f"{percent(table.other_base):>{LONGEST}}",
        "chain": f"{percent(table.other_final):>{LONGEST}}",
        "bar": bar(table.other_final, BAR),
        "valid": f"{table.other_valid or 0:,}",
        "kept": f"{left:,}",
    }


def then_and_now(born: TokenProvenance, now: tuple[float, float] | None, count: int) -> str:
    """What was true of a token when it was chosen, and what is true of it now."""
    arrival = born.arrival
    way = _WAYS.get(arrival.way, arrival.way) or "how is not kept"
    by = f" by {label_text(born.model)}"
    then = [f"model {of_logprob(born.logprob)}"] if born.logprob is not None else []
    if arrival.p_final is not None:
        then.append(f"chain {percent(arrival.p_final)} of {arrival.kept or 0:,} kept")
    if born.preset:
        then.append(label_text(born.preset))
    past = f"When chosen ({way}{by}): {', '.join(then)}"
    if now is None:
        return f"{past} · now: not listed"
    return f"{past} · now: model {of_logprob(now[0])}, chain {percent(now[1])} of {count:,}"


def spelt(token: Token) -> str:
    """A token's bytes in hexadecimal; of a special one that it has none."""
    return "no text" if token.special else token.data.hex(" ")
