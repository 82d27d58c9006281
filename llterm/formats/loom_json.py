"""The open text form of a loom: all that its file holds, as JSON. `docs/loom.schema.json` is its
schema. Written and read again it is the same loom, its history included."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from llterm.core.history import UndoStep
from llterm.core.json_text import json_text
from llterm.core.loom_tree import ROOT, LoomNode, LoomTree, Marks, Piece, PieceSlice
from llterm.core.pieces import logprob_of, moment_of, token_edges
from llterm.core.provenance import MOST_KEPT, WAYS, Arrival, Provenance, provenance_text
from llterm.core.tree_outline import ORDERS
from llterm.formats.export_source import ExportSource
from llterm.formats.imported_tree import UNKNOWN, OmittedFields, kept
from llterm.formats.json_place import JsonPlace, wrong
from llterm.store.stored_rows import BEST, Changes, step_of, step_text
from llterm.store.stored_settings import read_setting
from llterm.store.values import Damage

NAME = "json"
FORMAT = "llterm-loom"
VERSION = 1
_MOST_DIGITS = 10
"""Of a node's id."""


def matches(value: Any) -> bool:
    return isinstance(value, dict) and value.get("format") == FORMAT


# --- writing


def write(source: ExportSource) -> str:
    """The loom, with its history where the source holds it."""
    loom = source.loom
    pieces, births = loom.pieces, source.births
    document = {
        "format": FORMAT,
        "version": VERSION,
        "head": loom.head,
        "hoisted": loom.sight.hoisted,
        "folded": sorted(loom.sight.folded),
        "unread": sorted(loom.sight.unread),
        "settings": dict(source.meta),
        "nodes": [_node(loom, id) for id in sorted(loom.nodes)],
        "root": _marks(loom, ROOT),
        "pieces": [_piece(pieces[id], births.get(id, Provenance())) for id in sorted(pieces.texts)],
        "history": [_step(step, undone) for step, undone in source.steps],
        "extras": {str(id): fields for id, fields in source.extras.items()},
    }
    return _lines(document)


def _lines(document: dict[str, Any]) -> str:
    """JSON with one line a row, for people and for programs that compare lines."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json_text(one, ascii=False) for one in value)
            parts.append(f" {json_text(name)}: [\n  {rows}\n ]")
        else:
            parts.append(f" {json_text(name)}: {json_text(value, ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _node(loom: LoomTree, id: int) -> dict[str, Any]:
    node = loom.nodes[id]
    return {
        "id": id,
        "parent": node.parent,
        "text": loom.data(node).decode("utf-8", "replace"),
        "slices": [list(one) for one in node.slices],
        **_marks(loom, id),
    }


def _marks(loom: LoomTree, id: int) -> dict[str, Any]:
    marks = loom.marks.get(id, Marks())
    fields = {
        "bookmark": marks.bookmark, "rating": marks.rating, "tags": list(marks.tags),
        "note": marks.note, "order": marks.order,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value}


def _piece(piece: Piece, birth: Provenance) -> dict[str, Any]:
    fields = {
        "id": piece.id, **_bytes(piece.data), "author": piece.author,
        "created": moment_of(piece.created) or 0.0,
    }  # fmt: skip
    if piece.ids is None:
        return fields
    edges = token_edges(piece)
    fields["tokens"] = [
        {
            "id": id,
            "size": piece.sizes[n],
            "text": piece.data[max(edges[n], 0) : max(edges[n + 1], 0)].decode("utf-8", "replace"),
            "logprob": logprob_of(piece.logprobs[n]) if n < len(piece.logprobs) else None,
            "alternatives": [
                {"id": other, **_bytes(data), "logprob": logprob}
                for other, data, logprob in birth.alternatives[n : n + 1][0]
            ]
            if n < len(birth.alternatives)
            else [],
            "arrival": asdict(birth.arrivals[n]) if n < len(birth.arrivals) else None,
        }
        for n, id in enumerate(piece.ids)
    ]
    fields |= {"overlap": piece.overlap, "fingerprint": piece.fingerprint}
    fields |= {"settings": dict(birth.settings)}
    fields["rejected"] = [{**_bytes(data), "logprob": lp} for data, lp in birth.rejected]
    return fields


def _step(step: UndoStep, undone: bool) -> dict[str, Any]:
    return {
        "id": step.id, "label": step.label, "silent": step.silent, "undone": undone,
        "rows": json.loads(step_text(step)),
    }  # fmt: skip


def _bytes(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"hex": data.hex()}


# --- reading


def read(place: JsonPlace, left: OmittedFields) -> Changes:
    """The rows of a new loom. Raises UsageError with the place of what is wrong."""
    version = place.field("version")
    if version.value != VERSION:
        raise version.bad(f"{VERSION}, the version that this llterm knows")
    changes = Changes()
    for member in place.field("pieces").items():
        piece = _read_piece(member, left)
        changes.pieces[piece.id] = piece
    for member in place.field("nodes").items():
        _read_node(member, changes)
    root = place.optional("root")
    if root is not None:
        _read_marks(root, ROOT, changes)
    folded, unread = (_ids(place.items_of(name)) for name in ("folded", "unread"))
    changes.sight = {id: (id in folded, id in unread) for id in folded | unread}
    for member in place.items_of("history"):
        step = _read_step(member)
        changes.steps[step.id] = step, member.flag_of("undone")
    for id, member in place.inner("extras").entries():
        number = int(id) if id.isdecimal() and len(id) <= _MOST_DIGITS else id
        key = member.instead(number).whole(ROOT)
        changes.extras[key] = json_text(kept(member.mapping(), left))
    for name, member in place.inner("settings").entries():
        try:
            changes.meta[name] = read_setting(name, member.value)
        except Damage as damage:
            raise wrong(f"{member.path}: {damage}.") from damage
    changes.meta["head"] = place.field("head").whole(ROOT)
    hoisted = place.optional("hoisted")
    changes.meta["hoisted"] = hoisted.whole(ROOT) if hoisted is not None else ROOT
    return changes


def _read_piece(place: JsonPlace, left: OmittedFields) -> Piece:
    id, data = place.field("id").whole(1), _read_bytes(place)
    author, created = place.field("author").text(), place.field("created").moment()
    listed = place.optional("tokens")
    if listed is None:
        return Piece(id, data, author, created)
    tokens = list(listed.items())
    logprobs = takewhile(
        lambda token: token is not None, (token.optional("logprob") for token in tokens)
    )
    alternatives = tuple(
        tuple((other.field("id").whole(UNKNOWN), *_candidate(other)) for other in found.items())
        for found in (token.field("alternatives") for token in tokens)
    )
    overlap = place.optional("overlap")
    arrivals = tuple(_read_arrival(token.optional("arrival")) for token in tokens)
    birth = Provenance(
        kept(place.inner("settings").mapping(), left),
        alternatives if any(alternatives) else (),
        tuple(map(_candidate, place.items_of("rejected"))),
        arrivals=arrivals if any(token != Arrival() for token in arrivals) else (),
    )
    piece = Piece(
        id, data, author, created,
        tuple(token.field("id").whole(UNKNOWN) for token in tokens),
        tuple(token.field("size").whole() for token in tokens),
        overlap.whole() if overlap is not None else 0,
        place.text_of("fingerprint"),
        tuple(token.logprob() for token in logprobs if token is not None),
        provenance_text(birth) if birth != Provenance() else "",
    )  # fmt: skip
    if sum(piece.sizes) != len(data) + piece.overlap:
        raise wrong(f"{listed.path} are of other sizes than the text.")
    return piece


def _read_arrival(place: JsonPlace | None) -> Arrival:
    if place is None:
        return Arrival()
    way, p_final, left = place.text_of("way"), place.optional("p_final"), place.optional("kept")
    if p_final is not None and not 0 <= p_final.number() <= 1:
        raise p_final.bad("a probability")
    return Arrival(
        way if way in WAYS else "",
        p_final.number() if p_final is not None else None,
        left.whole(1, MOST_KEPT) if left is not None else None,
    )


def _candidate(place: JsonPlace) -> tuple[bytes, float]:
    return _read_bytes(place), place.field("logprob").logprob()


def _read_node(place: JsonPlace, changes: Changes) -> None:
    id = place.field("id").whole(ROOT + 1)
    slices = []
    for part in place.field("slices").items():
        numbers = [number.whole() for number in part.items()]
        if len(numbers) != len(PieceSlice._fields):
            raise part.bad("a piece, a start and a stop")
        slices.append(PieceSlice(*numbers))
    changes.nodes[id] = LoomNode(id, place.field("parent").whole(), tuple(slices))
    _read_marks(place, id, changes)


def _read_marks(place: JsonPlace, id: int, changes: Changes) -> None:
    rating = place.optional("rating")
    marks = Marks(
        place.flag_of("bookmark"),
        rating.whole(0, BEST) if rating is not None else 0,
        tuple(tag.text() for tag in place.items_of("tags")),
        place.text_of("note"),
        place.text_of("order"),
    )
    if marks.order not in ("", *ORDERS):
        raise place.field("order").bad(f"one of {', '.join(ORDERS)}")
    if marks != Marks():
        changes.marks[id] = marks


def _read_step(place: JsonPlace) -> UndoStep:
    id, label, rows = place.field("id").whole(1), place.field("label").text(), place.field("rows")
    try:
        return step_of(id, label, place.flag_of("silent"), rows.mapping())
    except Damage as damage:
        raise wrong(f"{rows.path}: {damage}.") from damage


def _read_bytes(place: JsonPlace) -> bytes:
    hexadecimal = place.optional("hex")
    if hexadecimal is None:
        return place.field("text").text().encode()
    try:
        return bytes.fromhex(hexadecimal.text())
    except ValueError as error:
        raise hexadecimal.bad("bytes in hexadecimal") from error


def _ids(places: Iterable[JsonPlace]) -> set[int]:
    return {place.whole(ROOT + 1) for place in places}
