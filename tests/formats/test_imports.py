"""Files of other programs become looms with the right tree, text, probabilities and marks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from llterm.core.loom_tree import PERSON, Marks
from llterm.errors import UsageError
from llterm.session.document import Document
from tests.helpers import foreign_files
from tests.helpers.imported_loom import Loomed


@pytest.mark.parametrize("format", foreign_files.ALL)
def test_every_format_is_found_by_what_the_file_holds(tmp_path: Path, format: str) -> None:
    made = Loomed(foreign_files.ALL[format], tmp_path)
    assert made.told.format == format
    assert made.document.text
    assert made.document.undo_label is None
    made.document.edit(0, 0, "it can be written on: ")
    made.document.undo()
    made.document.close()


def test_logitloom(tmp_path: Path) -> None:
    made = Loomed(foreign_files.LOGITLOOM, tmp_path)
    assert made.tree() == [
        ("The fox was", [
            (" red and \n", []),
            (" old—", [(".", []), (" he", [])]),
        ]),
    ]  # fmt: skip
    assert made.tokens(" red and \n") == [(b" red", -0.5), (b" and", -0.25), (b" \n", -1.5)]
    assert made.tokens(" old—")[1:] == [(b"\xe2\x80", -2.0), (b"\x94", -0.125)]
    assert made.alternatives(" red and \n")[0] == {b" red": -0.5, b" old": -1.25}
    assert made.author(" old—") == "some-base-model"
    assert made.author("The fox was") == PERSON


def test_a_chat_of_logitloom_begins_with_its_prefill(tmp_path: Path) -> None:
    settings = {"kind": "chat", "systemPrompt": "Be brief.", "prompt": "Hi", "prefill": "Well,"}
    made = Loomed({**foreign_files.LOGITLOOM, "modelSettings": settings}, tmp_path)
    assert made.tree()[0][0] == "Well,"
    assert "prompt" in made.told.notes[0]


def test_pyloom(tmp_path: Path) -> None:
    made = Loomed(foreign_files.PYLOOM, tmp_path)
    assert made.tree() == [
        ("Once upon a time", [(" a fox", [(" ran.", [])]), (" an owl", [])]),
    ]
    assert made.document.text == "Once upon a time a fox"
    assert made.tokens(" a fox") == [(b" a", -0.5), (b" fox", -3.5)]
    assert made.alternatives(" a fox") == [{b" a": -0.5, b" the": -1.25}, {}]
    assert made.tokens(" an owl") == [(b" an owl", None)]
    assert made.author(" an owl") == "curie:2020-05-03"
    assert made.author(" ran.") == "a model"
    assert made.marks("Once upon a time") == Marks(bookmark=True, tags=("canonical",))
    assert made.loom.sight.folded == {made.id(" a fox")}
    assert made.loom.sight.unread == {made.id(" an owl")}
    assert made.loom.pieces[made.loom.nodes[made.id(" a fox")].piece].created > 1.6e9


def test_pyloom_simple(tmp_path: Path) -> None:
    made = Loomed(foreign_files.PYLOOM_SIMPLE, tmp_path)
    assert made.told.format == "pyloom"
    assert made.tree() == [("Once", [(" more", []), (" less", [])])]


def test_loomsidian(tmp_path: Path) -> None:
    made = Loomed(foreign_files.LOOMSIDIAN, tmp_path)
    assert made.tree() == [("The fox", [(" ran", []), (" sat", [])])]
    assert made.document.text == "The fox sat"
    assert made.marks("The fox") == Marks(bookmark=True)
    assert made.loom.sight.folded == {made.id(" ran")}
    assert made.loom.sight.unread == {made.id(" sat")}
    assert (made.author(" ran"), made.author(" sat")) == (PERSON, "davinci")


def test_a_whole_vault_of_loomsidian_leaves_its_keys_behind(tmp_path: Path) -> None:
    vault = {
        "settings": {
            "modelPresets": [{"name": "x", "apiKey": "sk-secret-1", "provider": "openai"}]
        },
        "state": {"a.md": foreign_files.LOOMSIDIAN, "b.md": foreign_files.LOOMSIDIAN},
    }
    made = Loomed(vault, tmp_path)
    assert [text for text, _ in made.tree()] == ["The fox", "The fox"]
    notes = {one.note for one in made.loom.marks.values()}
    assert {"a.md", "b.md"} <= notes
    made.document.close()
    assert b"sk-secret-1" not in (tmp_path / "made.loom").read_bytes()


def test_mikupad_without_its_keys(tmp_path: Path) -> None:
    made = Loomed(foreign_files.MIKUPAD, tmp_path)
    assert made.tree() == [("Once", [(" upon a", [(" day", [(", he", [])])])])]
    assert made.tokens(" upon a") == [(b" upon", math.log(0.5)), (b" a", math.log(0.75))]
    assert made.alternatives(" upon a")[0][b" there"] == pytest.approx(math.log(0.25), abs=1e-4)
    assert made.tokens(" day") == [(b" day", None)]
    assert (made.author("Once"), made.author(" day")) == (PERSON, "some-model")
    assert made.document.prefix == "He is a fox."
    made.document.close()
    data = (tmp_path / "made.loom").read_bytes()
    assert foreign_files.MIKUPAD_KEY.encode() not in data
    assert b"192.168.1.7" not in data


def test_bonsai_with_whole_texts_keeps_each_nodes_own(tmp_path: Path) -> None:
    made = Loomed(foreign_files.BONSAI, tmp_path)
    assert made.tree() == [("Seed", [(" alpha", []), (" beta", [])])]
    assert made.tokens(" alpha") == [(b" al", -0.5), (b"pha", -0.25)]
    assert made.marks(" alpha") == Marks(bookmark=True, rating=4)
    assert made.loom.sight.folded == {made.id(" beta")}
    assert "several parents" in made.told.notes[0]


def test_bonsai_with_own_texts(tmp_path: Path) -> None:
    nodes = [{"id": 1, "parentIds": [], "text": "Seed"}, {"id": 2, "parentIds": [1], "text": " a"}]
    assert Loomed({"nodes": nodes}, tmp_path).tree() == [("Seed", [(" a", [])])]


def test_exoloom(tmp_path: Path) -> None:
    made = Loomed(foreign_files.EXOLOOM, tmp_path)
    assert made.tree() == [("The fox", [(" sat", []), (" ran", [])])]
    assert made.marks(" ran") == Marks(bookmark=True)
    assert made.marks(" sat") == Marks(tags=("pruned",))
    assert made.marks("The fox") == Marks(note="Foxes\na test")
    assert (made.author(" ran"), made.author(" sat")) == ("model-a", "a model")


def test_miniloom_counts_as_javascript_does(tmp_path: Path) -> None:
    made = Loomed(foreign_files.MINILOOM, tmp_path)
    assert made.tree() == [("The 🦊 ran", [(" away.", [])]), ("The 🦊 sat", [])]
    assert made.document.text == "The 🦊 ran away."
    assert made.marks(" away.") == Marks(rating=5, note="Away")
    assert made.marks("The 🦊 sat").rating == 1
    assert made.loom.sight.unread == {made.id(" away.")}
    assert "rewrite" in made.told.notes[0]


def test_basemode_loom(tmp_path: Path) -> None:
    made = Loomed(foreign_files.BASEMODE, tmp_path)
    assert made.tree() == [("Seed", [(" alpha", []), (" beta", [])])]
    assert made.document.text == "Seed alpha"
    assert made.document.prefix == "A fable."
    assert made.marks(" alpha") == Marks(bookmark=True, rating=3)


def test_beamwriter(tmp_path: Path) -> None:
    made = Loomed(foreign_files.BEAMWRITER, tmp_path)
    assert made.tree() == [("Once", [(" upon a time.", [(" He ran.", [])])])]
    assert made.document.prefix == "Tell of a fox."


def test_beamwriter_of_before(tmp_path: Path) -> None:
    made = Loomed(foreign_files.BEAMWRITER_OLD, tmp_path)
    assert made.told.format == "beamwriter"
    assert made.document.text == "Once upon a time."


def test_a_text_is_a_story_byte_for_byte(tmp_path: Path) -> None:
    data = b"Once\r\n\xff upon \xe2\x80"
    made = Loomed(data, tmp_path)
    assert made.told.format == "text"
    assert made.document.bytes_before(99) == data


def test_a_story_of_a_node_a_token_is_read_however_long(tmp_path: Path) -> None:
    """Nested deeper than Python usually goes."""
    node: dict[str, Any] = {"text": " end", "children": []}
    for _ in range(3000):
        node = {"text": " on", "children": [node]}
    data = b'{"text": " on", "children": [' * 3000 + b'{"text": " end", "children": []}'
    made = Loomed(data + b"]}" * 3000, tmp_path)
    assert made.document.text == " on" * 3000 + " end"


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        (b'{"root": {"text": "a", "children": [}}', "Line 1, column 37"),
        (b'{"story": ["\xff"]}', "Byte 12 is not UTF-8"),
        ({"root": {"id": "r", "text": "a", "children": [{"text": 7, "children": []}]}},
         "root.children[0].text is 7, not a text"),
        ({"root": {"id": "r", "text": "a", "children": [{"text": "b"}]}},
         "root.children[0] has no children"),
        ({**foreign_files.LOGITLOOM, "roots": [{"text": "a", "logprob": "x", "children": []}]},
         "roots[0].logprob is 'x', not a number"),
        ({"current": "a", "nodes": {"a": {"text": "x", "parentId": "b"},
                                    "b": {"text": "y", "parentId": "a"}}},
         "2 nodes are each other's parents"),
        ({"loomTree": {"nodeStore": {"1": {"parent": None, "patch": [
            {"diffs": [[0, "no"]], "start2": 0}]}}}},
         "loomTree.nodeStore.1.patch[0] does not fit"),
        ({"loomTree": {"nodeStore": {"1": {"parent": "9", "patch": ""}}}}, "names no node"),
        ({"loomType": "Exoloom", "schemaVersion": 2}, "schemaVersion is 2, not 1"),
        ({"nodes": [{"parent_id": None, "text": "x"}]}, "nodes[0] has no id"),
        ({"prompt": "{", "endpointAPI": "0"}, "prompt is no JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, shape: Any, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        Loomed(shape, tmp_path)
    assert place in caught.value.cause
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_is_unknown_or_another_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in no format"):
        Loomed({"what": "is this"}, tmp_path)
    with pytest.raises(UsageError) as caught:
        Loomed(foreign_files.PYLOOM, tmp_path, "bonsai")
    assert "bonsai has nodes, one of them with parentIds" in caught.value.cause
    assert "--from pyloom" in caught.value.hint


def test_nodes_whose_parent_is_missing_are_kept(tmp_path: Path) -> None:
    nodes = {"a": {"text": "x", "parentId": None}, "b": {"text": "y", "parentId": "gone"}}
    made = Loomed({"current": "a", "nodes": nodes}, tmp_path)
    assert made.tree() == [("x", []), ("y", [])]
    assert "not in the file" in made.told.notes[0]


def test_an_import_overwrites_nothing(tmp_path: Path) -> None:
    Document.create(tmp_path / "made.loom", b"mine").close()
    with pytest.raises(UsageError, match="exists already"):
        Loomed(foreign_files.PYLOOM, tmp_path)
    document = Document.open(tmp_path / "made.loom")
    assert document.text == "mine"
    document.close()
