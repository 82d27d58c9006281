"""loomsidian's export of a note, and its `data.json` with all notes: nodes by id."""

from __future__ import annotations

from typing import Any

from llterm.core.json_text import json_text
from llterm.core.loom_tree import PERSON, ROOT, Marks
from llterm.formats.export_source import ExportSource, author_of, uuid_of, whole_texts
from llterm.formats.imported_tree import ImportedNode, ImportedTree, assembled, typed
from llterm.formats.json_place import JsonPlace
from llterm.number_format import count_of

NAME = "loomsidian"
MARKS = "current, and nodes each with a parentId"
_OWN = {"text", "value", "parentId", "collapsed", "unread", "bookmarked", "author", "id"}
_NOBODY = ("genesis", "N/A", "")


def matches(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "state" in value and isinstance(value["state"], dict):
        return all(map(_is_note, value["state"].values()))
    return _is_note(value)


def _is_note(value: Any) -> bool:
    if not isinstance(value, dict) or "current" not in value:
        return False
    nodes = value.get("nodes")
    if isinstance(nodes, list):
        return all(isinstance(one, dict) and "parentId" in one for one in nodes)
    return isinstance(nodes, dict)


def read(place: JsonPlace) -> ImportedTree:
    """One note; of a `data.json` all notes, each a branch of the root."""
    state = place.optional("state")
    if state is None:
        return _note(place)
    tree = ImportedTree(NAME, [])
    for name, one in state.entries():
        note = _note(one)
        for root in note.roots:
            root.marks = Marks(note=name)
        tree.roots += note.roots
        tree.head = note.head
        tree.notes += note.notes
    tree.notes.append(
        f"{count_of(len(tree.roots), 'note is a branch', 'notes are branches')} of one loom now."
    )
    return tree


def _note(place: JsonPlace) -> ImportedTree:
    extra = {name: member for name, member in place.mapping().items() if name != "nodes"}
    tree = ImportedTree(NAME, [], place.key_of("current"), extra=extra)
    nodes = place.field("nodes")
    if isinstance(nodes.value, list):
        listed = [(member.field("id").key(), member) for member in nodes.items()]
    else:
        listed = list(nodes.entries())
    branches = {id: (member.key_of("parentId"), _branch(id, member)) for id, member in listed}
    tree.roots = assembled(branches, tree)
    return tree


def _branch(id: str, place: JsonPlace) -> ImportedNode:
    author = place.text_of("author")
    text = place.text_of("text") or place.text_of("value")
    fields = place.mapping()
    return ImportedNode(
        id,
        typed(text, place.when("lastVisited"), PERSON if author in _NOBODY else author),
        Marks(bookmark=place.flag_of("bookmarked")),
        folded=place.flag_of("collapsed"),
        unread=place.flag_of("unread"),
        extra={"id": id, **{name: one for name, one in fields.items() if name not in _OWN}},
    )


def write(source: ExportSource) -> str:
    """The loom as one note. A loom that begins with a fork begins with an empty root there."""
    loom = source.loom
    texts = whole_texts(loom)
    imported = {id: source.extra(id, NAME) for id in texts}
    ids = {id: str(imported[id].pop("id", uuid_of(id))) for id in texts}
    document = source.extra(ROOT, NAME)
    kept_root = document.pop("root", None)
    root = kept_root if isinstance(kept_root, dict) else None
    nodes: dict[str, Any] = {}
    if root is not None or len(loom.children.get(ROOT, ())) != 1:
        rest = dict(root or {})
        ids[ROOT] = str(rest.pop("id", uuid_of(ROOT)))
        nodes[ids[ROOT]] = {**_plain(""), **rest}
    for id, text in texts.items():
        author = author_of(loom, loom.nodes[id])
        nodes[ids[id]] = {
            **_plain(text), **({} if author == PERSON else {"author": author}), **imported[id],
            "parentId": ids.get(loom.nodes[id].parent),
            "collapsed": id in loom.sight.folded,
            "unread": id in loom.sight.unread,
            "bookmarked": loom.marks.get(id, Marks()).bookmark,
        }  # fmt: skip
    document = {
        "hoisted": [], "searchTerm": "", "generating": None, **document,
        "current": ids.get(loom.head) or next(iter(ids.values())), "nodes": nodes,
    }  # fmt: skip
    return json_text(document, indent=2) + "\n"


def _plain(text: str) -> dict[str, Any]:
    return {
        "text": text, "parentId": None, "collapsed": False, "unread": False, "bookmarked": False,
        "searchResultState": None,
    }  # fmt: skip
