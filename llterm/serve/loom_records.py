"""What is told of a loom: itself, its nodes, pages of them, and its steps."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llterm.core.chat_messages import read_chat
from llterm.core.history import UndoStep
from llterm.core.loom_tree import BIN, ROOT, LoomNode, Marks
from llterm.core.tree_pages import tree_page
from llterm.serve.api_errors import ApiError
from llterm.session.document import Document
from llterm.session.undo_log import StepWay
from llterm.store.loom_summary import LoomSummary

Record = Mapping[str, Any]
MOST_TOLD = 64
"""Nodes in one event; of more, listeners ask for what they show."""


def summary_record(summary: LoomSummary) -> Record:
    """A loom in the list."""
    return {
        "id": summary.title,
        "object": "loom",
        "changed": summary.changed,
        "beginning": summary.beginning,
        "ending": summary.ending,
        "size": summary.size,
        "count": summary.nodes,
        "trouble": summary.trouble or None,
    }


def loom_record(document: Document, title: str) -> Record:
    """A loom."""
    loom = document.loom
    chat = read_chat(document.chat)
    return {
        "id": title,
        "object": "loom",
        "revision": document.undo_log.revision,
        "root": ROOT,
        "head": loom.head,
        "count": sum(1 for _ in loom.below(ROOT)) - 1,
        "size": sum(node.size for node in loom.path()),
        "model": document.model or None,
        "prefix": document.prefix,
        "system": chat.system,
        "message": chat.message,
        "undo": document.undo_label,
        "redo": document.redo_label,
        "damage": bool(document.damage),
    }


def held(document: Document, id: int) -> int:
    """The id, of a node that is there, or of the root. Raises ApiError (404)."""
    if id != ROOT and (id == BIN or not document.loom.holds(id)):
        raise ApiError(404, f"There is no node {id}", "It was undone or deleted, or never was.",
                       code="node_not_found")  # fmt: skip
    return id


def node_record(document: Document, id: int) -> Record:
    """A node of the tree, or the root, with all that is known of it."""
    loom = document.loom
    if id == ROOT:
        return {**_place(document, ROOT, frozenset(_story(document))), "terminal": False}
    return {
        **_node(document, loom.nodes[id], frozenset(_story(document))),
        "terminal": document.branches.ended(id),
    }


def node_records(document: Document, ids: Iterable[int]) -> list[Record]:
    """Several nodes, which are there."""
    loom, story = document.loom, frozenset(_story(document))
    nodes = [loom.nodes[id] for id in ids if id != ROOT]
    loom.pieces.fetch(one.piece for node in nodes for one in node.slices)
    return [_node(document, node, story) for node in nodes]


def page_record(
    document: Document, under: int, after: int | None, limit: int, depth: int | None
) -> Record:
    """Nodes below one, parents first. Raises ApiError (404) where `after` is not there any more."""
    held(document, under)
    try:
        page, more = tree_page(document.loom, under, after, limit, depth)
    except KeyError:
        raise _gone(after) from None
    records = node_records(document, [id for id, _ in page])
    levels = [{**record, "level": level} for record, (_, level) in zip(records, page, strict=True)]
    return _listed(document, levels, more)


def path_record(document: Document, id: int, after: int | None, limit: int) -> Record:
    """The nodes from below the root to this one."""
    path = [node.id for node in document.loom.path(held(document, id))]
    if after is not None and after != ROOT and after not in path:
        raise _gone(after)
    begin = path.index(after) + 1 if after in path else 0
    page = path[begin : begin + limit]
    return _listed(document, node_records(document, page), begin + limit < len(path))


def text_record(document: Document, id: int) -> Record:
    """The text from the root to the end of a node."""
    data = document.loom.text(held(document, id))
    return {"id": id, "revision": document.undo_log.revision, "size": len(data), **_said(data)}


def tokens_record(document: Document, id: int) -> Record:
    """A node's text token by token, with what each was born with."""
    loom = document.loom
    held(document, id)
    spans = list(loom.spans(loom.nodes[id])) if id != ROOT else []
    births = {span.piece.id: document.undo_log.birth(span.piece.id) for span in spans}
    told = []
    for span in spans:
        birth, index = births[span.piece.id], span.index
        alternatives = (
            birth.alternatives[index]
            if index is not None and index < len(birth.alternatives)
            else ()
        )
        arrival = (
            birth.arrivals[index] if index is not None and index < len(birth.arrivals) else None
        )
        told.append({
            **_said(span.data),
            "author": span.piece.author,
            "id": span.piece.ids[index] if index is not None and span.piece.ids else None,
            "logprob": span.logprob,
            "how": arrival.way if arrival is not None else None,
            "p_final": arrival.p_final if arrival is not None else None,
            "alternatives": [
                {"id": token, **_said(data), "logprob": logprob}
                for token, data, logprob in alternatives
            ],
        })  # fmt: skip
    return {"id": id, "revision": document.undo_log.revision, "tokens": told}


def steps_event(
    document: Document, steps: Sequence[tuple[UndoStep, StepWay]], before: int
) -> Record:
    """What listeners are told of steps that were done since a revision."""
    loom = document.loom
    revision = document.undo_log.revision
    if not steps:
        return {"type": "reset", "revision": revision, "before": before}
    ids = list(dict.fromkeys(id for step, _ in steps for id in (*step.nodes, *step.marks)))
    there = [id for id in ids if id != ROOT and loom.holds(id)]
    return {
        "type": "steps",
        "revision": revision,
        "before": before,
        "steps": [{"label": step.label, "way": way} for step, way in steps if not step.silent],
        "head": loom.head,
        "nodes": node_records(document, there[:MOST_TOLD]),
        "gone": [id for id in ids if id not in loom.nodes or not loom.holds(id)],
        "more": len(there) > MOST_TOLD,
    }


def _listed(document: Document, records: Sequence[Record], more: bool) -> Record:
    return {
        "object": "list",
        "revision": document.undo_log.revision,
        "data": records,
        "has_more": more,
        "after": records[-1]["id"] if more and records else None,
    }


def _story(document: Document) -> list[int]:
    return [node.id for node in document.loom.path()]


def _place(document: Document, id: int, story: frozenset[int]) -> dict[str, Any]:
    """Where a node is."""
    loom = document.loom
    below = loom.children.get(id, ())
    return {
        "id": id,
        "object": "node",
        "parent": loom.nodes[id].parent if id != ROOT else None,
        "children": len(below),
        "branches": sum(1 for child in below if loom.children.get(child)),
        "in_story": id == ROOT or id in story,
        "is_head": id == loom.head,
    }


def _node(document: Document, node: LoomNode, story: frozenset[int]) -> Record:
    loom = document.loom
    pieces = [loom.pieces[one.piece] for one in node.slices]
    marks = loom.marks.get(node.id, Marks())
    spans = list(loom.spans(node))
    logprobs = [span.logprob for span in spans if span.logprob is not None]
    logprob = math.fsum(logprobs) if spans and len(logprobs) == len(spans) else None
    return {
        **_place(document, node.id, story),
        **_said(loom.data(node)),
        "size": node.size,
        "author": pieces[0].author,
        "created": pieces[0].created,
        "tokens": sum(span.index is not None for span in spans),
        "logprob": logprob,
        "p": None if logprob is None else math.exp(logprob),
        "p_per_token": None if logprob is None else math.exp(logprob / len(spans)),
        "unread": node.id in loom.sight.unread,
        "bookmark": marks.bookmark,
        "rating": marks.rating,
        "tags": list(marks.tags),
        "note": marks.note,
    }


def _said(data: bytes) -> dict[str, Any]:
    """Bytes as text; as base64 too where no text says them exactly."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        encoded = base64.b64encode(data).decode()
        return {"text": data.decode("utf-8", "replace"), "base64": encoded}


def _gone(after: int | None) -> ApiError:
    return ApiError(404, f"There is no node {after} any more", "The page before ended with it.",
                    "Begin at the first page.", param="after", code="node_not_found")  # fmt: skip
