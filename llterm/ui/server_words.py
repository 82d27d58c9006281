"""What is said of servers that do not answer: `ServerNews` in words, for status lines and rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from llterm.core.display_text import label_text
from llterm.core.server_news import Absence, ServerNews


def matter(absences: Sequence[Absence], *, named: bool = False) -> str:
    """What is the matter with servers, short; `named`: with the name of the model that is there."""
    models = list(dict.fromkeys(label_text(one.model) for one in absences))
    said = list(dict.fromkeys(one.words for one in absences))
    if named and len(models) > 1:
        return f"no answer from {', '.join(models)}"
    words = said[0] if len(said) == 1 else f"no answer from {len(absences)} addresses"
    return f"{models[0]}: {words}" if named else words


def server_pieces(
    news: ServerNews, *, busy: bool, named: bool, stop_key: str, weave_key: str
) -> list[str]:
    """The pieces of a status line where a server is waited for, or was given up; else none.

    `busy`: something runs that `stop_key` ends; `weave_key` asks anew. `named`: see `matter`.
    """
    if waited_for := news.waited_for:
        until = max(one.since + one.patience for one in waited_for)
        stops = [f"{stop_key} stops"] if busy else []
        return [matter(waited_for, named=named), *stops, f"asks until {clock(until)}"]
    if (given_up := news.given_up) and not busy:
        refused = all(one.cause == "refused" for one in given_up)
        how = "refused" if refused else "gave up"
        return [f"{how}: {matter(given_up, named=named)}", f"{weave_key} again"]
    return []


def missing_piece(news: ServerNews) -> str:
    """That a mix goes on without some of its models, and why; empty where all are there."""
    spared = [one for one in news.absences if one.phase == "spared"]
    return f"without {matter(spared, named=True)}" if spared else ""


def state_words(absence: Absence) -> str:
    """What is known of one server now, in a sentence without its full stop."""
    ends = {
        "waiting": f"; asked again until {clock(absence.since + absence.patience)}",
        "given up": "; given up",
        "spared": "; the others answer",
        "unknown": "; not asked since",
    }
    since = f"no answer since {clock(absence.since)}: {absence.words}"
    return f"{since}{ends[absence.phase]}"


def clock(seconds: float) -> str:
    """A moment, in seconds since 1970, as the person's clock tells it."""
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")
