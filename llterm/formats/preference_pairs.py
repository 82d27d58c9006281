"""What was taken and what was not: preference pairs, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llterm.core.json_text import json_text
from llterm.core.loom_tree import PERSON, ROOT, Marks, Piece
from llterm.core.pieces import logprob_of, moment_of
from llterm.formats.export_source import ExportSource, author_of

VERSION = 1


def write(source: ExportSource) -> str:
    """Pairs of a text that was preferred and one that was not, after the same prompt.

    `source` says how that is known: a suggestion was accepted while others were there (`accept`),
    the story takes one child of a fork and not another (`story`), or siblings are rated
    differently (`rating`). Texts that nobody has looked at are not counted as rejected, nor does a
    person's text against another of a person tell anything.
    """
    lines = []
    seen: set[tuple[str, str, str]] = set()
    for pair in (*_accepted(source), *_told(source), *_rated(source)):
        key = (pair["prompt"], pair["chosen"], pair["rejected"])
        if key not in seen and pair["chosen"] != pair["rejected"]:
            seen.add(key)
            lines.append(json_text({"version": VERSION, **pair}, ascii=False) + "\n")
    return "".join(lines)


def _accepted(source: ExportSource) -> Iterator[dict[str, Any]]:
    """Suggestions that were accepted, against those that were there too."""
    loom = source.loom
    first: dict[int, int] = {}
    for id in sorted(one for one in loom.below(ROOT) if one != ROOT):
        part = loom.nodes[id].slices[0]
        if part.start == 0:
            # A text carried into another branch later on was not accepted there.
            first.setdefault(part.piece, id)
    for number, id in first.items():
        birth = source.births.get(number)
        piece = loom.pieces[number]
        for data, logprob in birth.rejected if birth is not None else ():
            yield {
                "prompt": _text(loom.text(loom.nodes[id].parent)),
                "chosen": _text(piece.data),
                "rejected": _text(data),
                "source": "accept",
                "model": piece.author,
                "created": moment_of(piece.created) or 0.0,
                "chosen_logprob": _joint(piece),
                "rejected_logprob": logprob,
            }


def _told(source: ExportSource) -> Iterator[dict[str, Any]]:
    """At each fork of the story, the child that it takes against the others."""
    loom = source.loom
    for node in loom.path():
        for other in loom.children[node.parent]:
            seen = other != node.id and other not in loom.sight.unread
            if seen and not _by_person(source, node.id, other):
                yield _pair(source, node.id, other, "story")


def _rated(source: ExportSource) -> Iterator[dict[str, Any]]:
    """Siblings of which one is rated higher."""
    loom = source.loom
    for id in loom.below(ROOT):
        rated = [
            (loom.marks.get(child, Marks()).rating, child) for child in loom.children.get(id, ())
        ]
        for better, child in rated:
            for worse, other in rated:
                if better > worse > 0:
                    yield _pair(source, child, other, "rating")


def _pair(source: ExportSource, chosen: int, rejected: int, how: str) -> dict[str, Any]:
    loom = source.loom
    taken, passed_over = loom.nodes[chosen], loom.nodes[rejected]
    return {
        "prompt": _text(loom.text(taken.parent)),
        "chosen": _text(loom.data(taken)),
        "rejected": _text(loom.data(passed_over)),
        "source": how,
        "model": loom.pieces[taken.piece].author,
        "created": moment_of(loom.pieces[taken.piece].created) or 0.0,
        "chosen_logprob": loom.logprob(chosen),
        "rejected_logprob": loom.logprob(rejected),
    }


def _by_person(source: ExportSource, *ids: int) -> bool:
    """Whether no model wrote any of these."""
    loom = source.loom
    return all(author_of(loom, loom.nodes[id]) == PERSON for id in ids)


def _joint(piece: Piece) -> float | None:
    """Natural log of all its tokens together; None where not all are known."""
    found = [one for one in map(logprob_of, piece.logprobs) if one is not None]
    return sum(found) if len(found) == len(piece.logprobs) else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
