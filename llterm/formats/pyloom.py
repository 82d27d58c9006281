"""pyloom's JSON: nested nodes, tags, chapters, and the model's replies with their tokens."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from llterm.core.loom_tree import PERSON, ROOT, LoomTree, Marks, Piece
from llterm.core.pieces import moment_of
from llterm.formats.export_source import (
    ExportSource,
    author_of,
    nested,
    uuid_of,
    whole_texts,
    with_member,
)
from llterm.formats.imported_tree import (
    UNKNOWN,
    ImportedNode,
    ImportedToken,
    ImportedTree,
    made,
    typed,
)
from llterm.formats.json_place import JsonPlace

NAME = "pyloom"
MARKS = "a root with text and children"
_TIME = "%Y-%m-%d-%H.%M.%S"
_BOOKMARK = "bookmark"
_OWN = {"text", "children"}
"""Fields that are written from the loom alone."""


def matches(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    root = value.get("root", value)
    return isinstance(root, dict) and "text" in root and "children" in root


def read(place: JsonPlace) -> ImportedTree:
    """The whole form, or the simple one of texts and children only."""
    simple = place.optional("root") is None
    root = place if simple else place.field("root")
    extra = {} if simple else {n: member for n, member in place.mapping().items() if n != "root"}
    head = None if simple else place.key_of("selected_node_id")
    tree = ImportedTree(NAME, [], head, extra=extra)
    replies = None if simple else place.optional("model_responses")
    waiting = [(root, tree.roots)]
    while waiting:
        at, into = waiting.pop()
        branch = _branch(at, replies)
        into.append(branch)
        below = list(at.field("children").items())
        waiting += [(member, branch.children) for member in reversed(below)]
    return tree


def _branch(place: JsonPlace, replies: JsonPlace | None) -> ImportedNode:
    names = [member.text() for member in place.items_of("tags")]
    marks = Marks(
        bookmark=_BOOKMARK in names, tags=tuple(name for name in names if name != _BOOKMARK)
    )
    fields = place.mapping()
    return ImportedNode(
        place.key_of("id") or "",
        _pieces(place, replies),
        marks,
        folded=fields.get("open") is False,
        unread=fields.get("visited") is False,
        extra={name: member for name, member in fields.items() if name not in _OWN},
    )


def _pieces(place: JsonPlace, replies: JsonPlace | None) -> list[Piece]:
    text = place.field("text").text()
    meta = place.inner("meta")
    created = _moment(meta.text_of("creation_timestamp"))
    if meta.text_of("source") != "AI":
        return typed(text, created)
    generation = place.optional("generation")
    reply = None
    if generation is not None and replies is not None:
        reply = replies.optional(generation.key_of("id") or "")
    if reply is None or generation is None:
        return typed(text, created, "a model")
    model = reply.text_of("model") or "a model"
    completions = list(reply.field("completions").items())
    index = generation.field("index").whole()
    if index >= len(completions):
        raise generation.field("index").bad(f"one of {len(completions)} completions")
    tokens = _tokens(completions[index], text)
    return made(tokens, model, created) if tokens else typed(text, created, model)


def _tokens(completion: JsonPlace, text: str) -> list[ImportedToken]:
    """The tokens at the end of a completion that are the node's text; none if they are not."""
    backwards: list[ImportedToken] = []
    left = text
    for token in reversed(list(completion.items_of("tokens"))):
        if not left:
            break
        generated = token.field("generatedToken")
        own, logprob = generated.field("token").text(), generated.optional("logprob")
        if logprob is None or not own or not left.endswith(own):
            return []
        others = token.optional("counterfactuals")
        alternatives = tuple(
            (UNKNOWN, name.encode(), one.logprob()) for name, one in _counterfactuals(others)
        )
        backwards.append(ImportedToken(own.encode(), logprob.logprob(), alternatives))
        left = left[: -len(own)]
    return backwards[::-1] if not left else []


def _counterfactuals(place: JsonPlace | None) -> list[tuple[str, JsonPlace]]:
    if place is None:
        return []
    if isinstance(place.value, list):
        return [pair for one in place.items() for pair in one.entries()]
    return list(place.entries())


def write(source: ExportSource) -> str:
    """The whole form. A loom that begins with a fork begins with an empty root there."""
    loom = source.loom
    texts = whole_texts(loom)
    document = source.extra(ROOT, NAME)
    root = document.pop("root", None)
    kept_root = root if isinstance(root, dict) else None
    below = loom.children.get(ROOT, [])
    known = document.get("model_responses")
    replies = dict(known) if isinstance(known, dict) else {}
    fields: dict[int, dict[str, Any]] = {}
    alone = len(below) == 1 and kept_root is None
    if not alone:
        fields[ROOT] = {"id": uuid_of(ROOT), "text": "", **(kept_root or {})}
    for id in texts:
        fields[id] = _fields(source, id, texts[id], replies)
    for id, node_fields in fields.items():
        parent = loom.nodes[id].parent if id != ROOT else 0
        if parent in fields:
            node_fields["parent_id"] = fields[parent]["id"]
    top = below[0] if alone else ROOT
    parts = nested([top], lambda id: fields[id], lambda id: loom.children.get(id, ()))
    head = loom.head if loom.head in fields else top
    document = {
        "chapters": {}, "tags": {}, **document,
        "selected_node_id": fields[head]["id"], "model_responses": replies,
    }  # fmt: skip
    return with_member(document, "root", "".join(parts)[1:-1])


def _fields(source: ExportSource, id: int, text: str, replies: dict[str, Any]) -> dict[str, Any]:
    loom, imported = source.loom, source.extra(id, NAME)
    marks = loom.marks.get(id, Marks())
    author = author_of(loom, loom.nodes[id])
    fields: dict[str, Any] = {
        "id": uuid_of(id), "mutable": author == PERSON, "visited": True, "open": True,
        "meta": _meta(loom, id, author), **imported, "text": text,
    }  # fmt: skip
    if not isinstance(fields["id"], str | int):
        fields["id"] = uuid_of(id)
    fields["visited"] = id not in loom.sight.unread
    fields["open"] = id not in loom.sight.folded
    tags = [_BOOKMARK, *marks.tags] if marks.bookmark else list(marks.tags)
    if tags or "tags" in imported:
        fields["tags"] = tags
    if author != PERSON and "generation" not in imported:
        reply = _reply(source, id, text, author)
        if reply is not None:
            replies[f"llterm-{id}"] = reply
            fields["generation"] = {"id": f"llterm-{id}", "index": 0}
    return fields


def _reply(source: ExportSource, id: int, text: str, model: str) -> dict[str, Any] | None:
    """The node as a reply with its tokens; None where not all of them are whole."""
    loom = source.loom
    tokens: list[dict[str, Any]] = []
    at = 0
    for span in loom.spans(loom.nodes[id]):
        if span.logprob is None or span.index is None:
            return None
        own = span.data.decode("utf-8", "replace")
        birth = source.births.get(span.piece.id)
        known = birth.alternatives[span.index : span.index + 1] if birth else ()
        tokens.append({
            "generatedToken": {"token": own, "logprob": span.logprob},
            "position": {"start": at, "end": at + len(own)},
            "counterfactuals": {
                data.decode("utf-8", "replace"): lp for one in known for _, data, lp in one
            } or None,
        })  # fmt: skip
        at += len(own)
    completion = {"text": text, "finishReason": "stop", "tokens": tokens}
    return {
        "id": f"llterm-{id}", "model": model, "prompt": {"text": "", "tokens": None},
        "completions": [completion], "timestamp": _told(loom.pieces[loom.nodes[id].piece].created),
    }  # fmt: skip


def _meta(loom: LoomTree, id: int, author: str) -> dict[str, Any]:
    return {
        "creation_timestamp": _told(loom.pieces[loom.nodes[id].piece].created),
        "source": "prompt" if author == PERSON else "AI",
        "modified": False,
    }


def _moment(text: str) -> float:
    try:
        return moment_of(datetime.strptime(text, _TIME).timestamp()) or 0.0
    except (ValueError, OverflowError, OSError):
        return 0.0


def _told(created: float) -> str:
    return time.strftime(_TIME, time.localtime(moment_of(created) or 0.0))
