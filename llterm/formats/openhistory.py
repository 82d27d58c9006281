"""The history and the settings of the open form: read so strictly that undo can trust them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.core.history import Step, Value
from llterm.core.loom import ROOT, Marks, Node, Piece
from llterm.core.outline import ORDERS
from llterm.formats.reading import MOST_WHOLE, Place
from llterm.store.rows import read_step
from llterm.store.settings import read_rules, read_sampling

MOST_RATING = 5
_ODD = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
"""What reading rows and settings that make no sense raises."""
_READERS = {"rules": read_rules, "sampling": read_sampling}
_NUMBERS = ("cursor", "next_node")


def read_history_step(place: Place, pieces: Mapping[int, Piece]) -> Step:
    """A step of the history; all that it speaks of must be there. Raises UsageError."""
    id, label, rows = place.field("id").whole(1), place.field("label").text(), place.field("rows")
    try:
        step = read_step(id, label, place.flag_of("silent"), rows.mapping())
        sound = _is_sound(step, pieces)
    except _ODD as odd:
        raise rows.bad("the rows of a step") from odd
    if not sound:
        raise rows.bad("the rows of a step")
    return step


def read_settings(place: Place) -> dict[str, Value]:
    """What a loom keeps by name, its rules among it. Raises UsageError."""
    found: dict[str, Value] = {}
    settings = place.optional("settings")
    for name, one in settings.entries() if settings is not None else ():
        if name in _NUMBERS:
            found[name] = one.whole()
        elif isinstance(one.value, str):
            found[name] = one.value
        else:
            found[name] = one.whole(-MOST_WHOLE)
        if name in _READERS:
            try:
                _READERS[name](one.text())
            except _ODD as odd:
                raise one.bad(f"the {name} of a loom") from odd
    return found


def _is_sound(step: Step, pieces: Mapping[int, Piece]) -> bool:
    """Whether a step's rows are of the right kinds, and its texts are there."""
    nodes = [one for pair in step.nodes.values() for one in pair if one is not None]
    ids = [*step.nodes, *(one.parent + ROOT for one in nodes), *step.marks]
    ids += [id for pair in step.splits for id in pair]
    return (
        all(_whole(id) and id >= ROOT for id in ids)
        and all(_has_text(one, pieces) for one in nodes)
        and all(_sensible(one) for pair in step.marks.values() for one in pair)
        and all(isinstance(one, str) or _whole(one) for both in step.facts.values() for one in both)
    )


def _has_text(node: Node, pieces: Mapping[int, Piece]) -> bool:
    return bool(node.slices) and all(
        _whole(one.piece)
        and one.piece in pieces
        and _whole(one.start)
        and _whole(one.stop)
        and 0 <= one.start < one.stop <= len(pieces[one.piece].data)
        for one in node.slices
    )


def _sensible(marks: Marks) -> bool:
    return (
        0 <= marks.rating <= MOST_RATING
        and all(isinstance(tag, str) for tag in marks.tags)
        and marks.order in ("", *ORDERS)
    )


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= MOST_WHOLE
