"""logitloom's `.ll.json` (`logit-loom-tree-v1`): one node a token, with its probability."""

from __future__ import annotations

import math
import re
import uuid
from dataclasses import dataclass
from typing import Any

from llterm.core.loom_tree import ROOT, LoomTree
from llterm.formats.export_source import ExportSource, nested, with_member
from llterm.formats.imported_tree import (
    UNKNOWN,
    ImportedNode,
    ImportedToken,
    ImportedTree,
    made,
    typed,
)
from llterm.formats.json_place import JsonPlace

NAME = "logitloom"
VERSION = "logit-loom-tree-v1"
MARKS = f"isLogitLoomTreeVersion, which is {VERSION}"
_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
"""How bytes that are no characters are written there."""
_TOKEN = {"id", "text", "logprob", "prob", "branchFinished", "children"}


def matches(value: Any) -> bool:
    return isinstance(value, dict) and value.get("isLogitLoomTreeVersion") == VERSION


def read(place: JsonPlace) -> ImportedTree:
    """Runs of tokens without a fork become one node; the siblings of a token its alternatives."""
    model = place.text_of("modelName")
    settings = place.optional("modelSettings")
    before = ""
    known = {"isLogitLoomTreeVersion", "roots"}
    extra = {name: one for name, one in place.mapping().items() if name not in known}
    tree = ImportedTree(NAME, [], extra=extra)
    if settings is not None:
        chat = settings.text_of("kind") == "chat"
        before = ("" if chat else settings.text_of("prompt")) + settings.text_of("prefill")
        if chat:
            tree.notes.append("The chat's prompt is kept with the loom, and is no part of it.")
    top = ImportedNode("prompt", typed(before))
    top.children = _branches(place.field("roots"), model)
    tree.roots = [top] if before else top.children
    return tree


def _branches(roots: JsonPlace, model: str) -> list[ImportedNode]:
    branches: list[ImportedNode] = []
    waiting = [(place, list(roots.items()), branches) for place in reversed(list(roots.items()))]
    while waiting:
        token, siblings, into = waiting.pop()
        tokens: list[ImportedToken] = []
        extras: list[dict[str, Any]] = []
        while True:
            tokens.append(_token(token, siblings))
            extras.append(_rest(token))
            siblings = list(token.field("children").items())
            if len(siblings) != 1:
                break
            token = siblings[0]
        branch = ImportedNode(token.text_of("id"), made(tokens, model), extra={"tokens": extras})
        into.append(branch)
        waiting += [(place, siblings, branch.children) for place in reversed(siblings)]
    return branches


def _token(place: JsonPlace, siblings: list[JsonPlace]) -> ImportedToken:
    return ImportedToken(
        _bytes(place.field("text").text()),
        place.field("logprob").logprob(),
        tuple(
            (UNKNOWN, _bytes(one.field("text").text()), one.field("logprob").logprob())
            for one in siblings
        ),
    )


def _rest(place: JsonPlace) -> dict[str, Any]:
    """Fields that a token of a loom has no place for."""
    left = ("id", "branchFinished")
    return {
        name: one for name, one in place.mapping().items() if name in left or name not in _TOKEN
    }


def _bytes(text: str) -> bytes:
    if _ESCAPED.fullmatch(text):
        return bytes.fromhex(text.replace("\\x", ""))
    return text.encode()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in data)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a node; `node` and `nth` say where the ones below it are."""

    node: int
    nth: int
    data: bytes
    logprob: float | None
    extra: dict[str, Any]


def write(source: ExportSource) -> str:
    """The loom as a tree of tokens.

    The person's text before the first fork is the prompt. Later on it stands as tokens with
    probability 1 that say `"person": true`.
    """
    loom = source.loom
    document = source.extra(ROOT, NAME)
    roots, before = _beginning(loom)
    model = str(source.meta.get("model", ""))
    document = {"isLogitLoomTreeVersion": VERSION, "modelName": model, **document}
    settings = document.get("modelSettings")
    if not isinstance(settings, dict) or _said(settings) != before:
        document["modelSettings"] = {"kind": "base", "prompt": before}
    tokens = {id: _tokens(source, id) for id in loom.below(ROOT) if id != ROOT}
    ends = {id: found[-1] for id, found in tokens.items()}
    parts = nested(
        (tokens[id][0] for id in roots),
        _fields,
        lambda token: (
            [tokens[one][0] for one in loom.children.get(token.node, ())]
            if ends[token.node] is token
            else [tokens[token.node][token.nth + 1]]
        ),
    )
    return with_member(document, "roots", "".join(parts))


def _said(settings: dict[str, Any]) -> str:
    prompt = "" if settings.get("kind") == "chat" else settings.get("prompt") or ""
    return f"{prompt}{settings.get('prefill') or ''}"


def _beginning(loom: LoomTree) -> tuple[list[int], str]:
    """The nodes that the token tree begins with, and the person's text before them."""
    before = b""
    roots = loom.children.get(ROOT, [])
    while len(roots) == 1:
        node = loom.nodes[roots[0]]
        if any(loom.pieces[one.piece].ids is not None for one in node.slices):
            break
        before += loom.data(node)
        roots = loom.children.get(node.id, [])
    return list(roots), before.decode("utf-8", "replace")


def _tokens(source: ExportSource, id: int) -> list[_Token]:
    loom = source.loom
    imported = source.extra(id, NAME).get("tokens", [])
    spans = [span for span in loom.spans(loom.nodes[id]) if span.data]
    fits = isinstance(imported, list) and len(imported) == len(spans)
    fits = fits and all(isinstance(fields, dict) for fields in imported)
    return [
        _Token(id, nth, span.data, span.logprob, imported[nth] if fits else {})
        for nth, span in enumerate(spans)
    ]


def _fields(token: _Token) -> dict[str, Any]:
    own = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{token.node}.{token.nth}"))
    fields = {
        "id": own,
        "text": _text(token.data),
        "logprob": 0.0 if token.logprob is None else token.logprob,
        "prob": 1.0 if token.logprob is None else math.exp(token.logprob),
        "branchFinished": None,
        **token.extra,
    }
    return fields if token.logprob is not None else {**fields, "person": True}
