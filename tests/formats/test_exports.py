"""Exports for people: text, Markdown, page, graph, picture, pairs. Nothing runs in them."""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from resvg_py import svg_to_bytes

from llterm.core.loom_tree import ROOT
from llterm.errors import LltermError
from llterm.formats import png
from llterm.formats.export_source import read_source
from llterm.formats.exports import ExportOptions, caveat
from llterm.formats.file_formats import EXPORTS
from llterm.formats.svg import MOST_BOXES
from llterm.session.document import Document
from tests.helpers.document_edits import model_run
from tests.helpers.exports import export

NASTY = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>\x1b[31m\u202e]]>--> \\"


def saved(document: Document, folder: Path) -> Path:
    path = folder / "a tale.loom"
    document.copy_to(path)
    return path


def written(document: Document, folder: Path, format: str, **taste: Any) -> str:
    return export(saved(document, folder), format, ExportOptions(**taste)).decode()


@pytest.fixture
def document() -> Document:
    """The red fox ran | sat — with one more beginning."""
    document = Document.scratch(b"The red")
    run = replace(
        model_run(b" fo", b"x"), logprobs=(-0.5, -3.0), rejected=((b" owl", -1.0), (b" hen", -2.0))
    )
    document.accept(run, 7)
    fox = document.loom.head
    document.accept(model_run(b" ran", b"."), len(document.text))
    document.branches.plant(fox, [model_run(b" sat")])
    document.branches.read(*document.loom.sight.unread)
    document.branches.child(ROOT, "A blue")
    return document


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.tips: list[str] = []
        self.open: list[str] = []
        self.text = self.story = ""
        self.feed(text)
        assert self.open == ["html"] or self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        self.tips += [value or "" for name, value in attrs if name == "data-p"]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "main" in self.open and "summary" not in self.open:
            self.text += data
            self.story += "" if "details" in self.open else data


def test_text_is_the_story_byte_for_byte(tmp_path: Path) -> None:
    data = b"Once\r\n\xff\xe2\x80 upon"
    assert export(saved(Document.scratch(data), tmp_path), "text", ExportOptions()) == data


def test_text_of_every_branch_is_an_outline(document: Document, tmp_path: Path) -> None:
    document.branches.fold(document.loom.path()[1].id)
    assert written(document, tmp_path, "text", every=True).splitlines() == [
        "The red fox", "  ␣ran.", "  ␣sat", "A blue",
    ]  # fmt: skip


def test_markdown_has_a_title_and_shows_branches_letter_by_letter(
    document: Document, tmp_path: Path
) -> None:
    document.branches.child(ROOT, "*bold* <b>")
    page = written(document, tmp_path, "markdown", every=True)
    assert page.startswith("# a tale\n\nThe red fox ran.\n")
    assert "\n  - ␣sat\n" in page
    assert r"- \*bold\* \<b\>" in page
    assert "sat" not in export(tmp_path / "a tale.loom", "markdown", ExportOptions()).decode()


def test_the_page_holds_every_branch_and_each_probability(
    document: Document, tmp_path: Path
) -> None:
    page = Page(written(document, tmp_path, "html", every=True))
    assert page.tags["details"] == 2
    assert page.story == "The red fox ran."
    assert page.text == "A blueThe red fox sat ran."
    assert any(tip.startswith("␣fo  60.7%  m") for tip in page.tips)
    assert any("x 13.5%" in tip for tip in page.tips)
    assert (
        "details"
        not in Page(export(tmp_path / "a tale.loom", "html", ExportOptions()).decode()).tags
    )


@pytest.mark.parametrize("format", ["html", "svg", "dot"])
def test_nothing_in_a_text_becomes_markup(tmp_path: Path, format: str) -> None:
    document = Document.scratch(NASTY.encode())
    run = model_run(NASTY.encode(), b"\xff", b"\x00")
    run = replace(run, model=NASTY, alternatives=(((1, NASTY.encode(), -1.0),),) * 3)
    document.accept(run, len(document.text))
    document.branches.child(ROOT, NASTY)
    document.branches.note(ROOT, NASTY)
    path = tmp_path / "<script>alert(1)&.loom"
    document.copy_to(path)
    text = export(path, format, ExportOptions(every=format == "html")).decode()
    assert "\x1b" not in text
    assert "\u202e" not in text
    if format == "html":
        page = Page(text)
        assert set(page.tags) <= {
            "html", "meta", "title", "style", "h1", "header", "br", "span", "main", "i", "details",
            "summary", "div",
        }  # fmt: skip
        assert not {name for name in page.attributes if name.startswith("on")}
        assert "http" not in re.sub(r"http-equiv", "", text)
    if format == "svg":
        tags = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(text).iter()}
        assert tags <= {"svg", "title", "rect", "path", "text", "tspan", "g", "circle"}
    if format == "dot":
        check_dot(text)


def check_dot(text: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Names of nodes and edges. Fails where a line is none of Graphviz's."""
    quoted = r'"(?:[^"\\]|\\.)*"'
    attributes = rf"\[\w+=(?:{quoted}|[\w.]+)(?:, \w+=(?:{quoted}|[\w.]+))*\]"
    lines = text.splitlines()
    assert re.fullmatch(rf"digraph {quoted} {{", lines[0])
    assert lines[-1] == "}"
    nodes, edges = set(), set()
    for line in lines[1:-1]:
        parsed = re.fullmatch(rf"  (\w+)(?: -> (\w+))?(?: {attributes})?;", line)
        assert parsed, line
        if parsed[2]:
            edges.add((parsed[1], parsed[2]))
        else:
            nodes.add(parsed[1])
    return nodes - {"graph", "node", "edge"}, edges


def test_the_graph_has_every_node_and_the_story_in_bold(document: Document, tmp_path: Path) -> None:
    text = written(document, tmp_path, "dot")
    nodes, edges = check_dot(text)
    assert len(nodes) == 6
    assert len(edges) == 5
    assert text.count("penwidth") == 3
    assert '" 3.0%"' in text


def test_equal_texts_at_near_levels_become_one_node(tmp_path: Path) -> None:
    document = Document.scratch(b"The")
    first = document.branches.child(document.loom.head, " fox")
    other = document.branches.child(document.loom.head, " owl")
    for parent in (first, other):
        document.branches.child(parent, " ran")
    path = saved(document, tmp_path)
    assert len(check_dot(export(path, "dot", ExportOptions()).decode())[0]) == 6
    nodes, edges = check_dot(export(path, "dot", ExportOptions(merge=1)).decode())
    assert (len(nodes), len(edges)) == (5, 5)


def test_the_picture_has_a_box_for_each_run(document: Document, tmp_path: Path) -> None:
    document.branches.bookmark(document.loom.path()[0].id)
    root = ElementTree.fromstring(written(document, tmp_path, "svg"))
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["a tale", "The red fox", "␣ran.", "␣sat", "A blue"]
    boxes = [one.attrib for one in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = [(float(b["x"]), float(b["y"]), float(b["height"])) for b in boxes]
    for x, y, tall in places:
        assert 0 <= x < width - 200
        assert 0 <= y < height - tall
    columns: dict[float, list[tuple[float, float]]] = {}
    for x, y, tall in places:
        columns.setdefault(x, []).append((y, y + tall))
    for spans in columns.values():
        spans.sort()
        assert all(one[1] <= two[0] for one, two in pairwise(spans))


def test_words_stay_in_their_boxes(tmp_path: Path) -> None:
    """Capitals and East Asian characters are wider than small letters; no box is taller than its
    share, and an end that is left out is seen."""
    document = Document.scratch(b"")
    for text in ("CHAPTER ONE: IN WHICH NOTHING MUCH HAPPENS", "森" * 200, "e\u0301" * 30, "a b"):
        document.branches.child(ROOT, text)
    root = ElementTree.fromstring(written(document, tmp_path, "svg"))
    groups = root.findall("{*}g")
    found = [[one.text or "" for one in group.findall(".//{*}tspan")] for group in groups]
    assert found == [
        ["CHAPTER ONE: IN", "WHICH NOTHING MUCH", "HAPPENS"],
        ["森" * 13, "森" * 13, "森" * 13 + "…"],
        ["e\u0301" * 27, "e\u0301" * 3],
        ["a b"],
    ]


def decoded(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and packed rows of a PNG of 8 bits a channel."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    parts, at = dict[bytes, bytes](), 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + size : at + 12 + size])
        parts[kind] = parts.get(kind, b"") + body
        at += 12 + size
    width, height, depth = struct.unpack(">IIB", parts[b"IHDR"][:9])
    rows = zlib.decompress(parts[b"IDAT"])
    assert depth == 8
    assert len(rows) % height == 0
    return width, height, rows


def has_fonts() -> bool:
    """Whether this machine can write words; where it cannot, that is all that is to be said."""
    return png.first_font(png.SERIF) is not None


def test_the_png_is_the_picture_with_its_words(document: Document, tmp_path: Path) -> None:
    path = saved(document, tmp_path)
    if not has_fonts():
        with pytest.raises(LltermError, match="no font"):
            export(path, "png", ExportOptions())
        return
    svg = export(path, "svg", ExportOptions()).decode()
    width, height, rows = decoded(export(path, "png", ExportOptions()))
    root = ElementTree.fromstring(svg)
    assert (width, height) == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    wordless = re.sub(r"<text.*?</text>", "", svg)
    assert decoded(svg_to_bytes(svg_string=wordless, zoom=2))[2] != rows
    # Another word at the same place is another picture.
    document.branches.child(ROOT, "A green")
    document.branches.delete(document.loom.children[ROOT][1])
    document.copy_to(tmp_path / "other.loom")
    other = decoded(export(tmp_path / "other.loom", "png", ExportOptions()))
    assert other[:2] == (width, height)
    assert other[2] != rows


@pytest.mark.parametrize("fallback", ["Georgia", "No Such Font"])
def test_a_font_that_another_stands_in_for_is_not_there(fallback: str) -> None:
    """What is chosen writes the picture's words, whatever stands in for a missing font."""
    family = png.first_font((fallback, *png.SERIF))
    words = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20">{}</svg>'
    text = '<text y="15" font-family="Georgia, serif">words</text>'
    if family is not None:
        drawn = [svg_to_bytes(svg_string=words.format(one), serif_family=family)
                 for one in (text, "")]  # fmt: skip
        assert drawn[0] != drawn[1]


def test_characters_that_no_font_has_are_counted(tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain.loom", tmp_path / "odd.loom"
    rare = "\U00016a40\U0001d2e0\U00010e60"  # Mro, Mayan and Rumi: hardly any font has all.
    Document.create(plain, b"A lamp.").close()
    Document.create(odd, f"A lamp {rare} <&>".encode()).close()
    assert caveat(read_source(plain, history=False), "png") == ""
    assert caveat(read_source(odd, history=False), "svg") == ""
    serif = png.first_font(png.SERIF)
    boxes = [png.sample(one, serif) for one in (*rare, png.NOBODYS)] if serif else [b""]
    count = boxes.count(boxes[-1]) - 1
    assert (f"{count} character" in caveat(read_source(odd, history=False), "png")) == bool(count)


def test_a_machine_without_fonts_makes_no_picture_without_words(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "SERIF", ("No Such Font", "Nor This"))
    with pytest.raises(LltermError, match="no font") as caught:
        export(saved(document, tmp_path), "png", ExportOptions())
    assert "Nor This" in caught.value.cause
    assert "svg" in caught.value.hint


def test_a_png_of_a_large_loom_shrinks_and_then_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "MOST_SIDE", 2000)
    # How large it is drawn has nothing to do with which fonts this machine has.
    monkeypatch.setattr(png, "first_font", lambda families: families[0])
    document = Document.scratch(b"The")
    document.branches.plant(document.loom.head, [model_run(b"%d" % n) for n in range(30)])
    path = saved(document, tmp_path)
    width, height, _ = decoded(export(path, "png", ExportOptions()))
    root = ElementTree.fromstring(export(path, "svg", ExportOptions()))
    assert int(root.attrib["height"]) < height <= png.MOST_SIDE < 2 * int(root.attrib["height"])
    assert int(root.attrib["width"]) < width
    document.branches.plant(document.loom.head, [model_run(b"%d" % n) for n in range(30)])
    document.copy_to(tmp_path / "larger.loom")
    with pytest.raises(LltermError, match="too large"):
        export(tmp_path / "larger.loom", "png", ExportOptions())


def fans(*widths: int) -> Document:
    """A story with a fork below every branch of the one before, each so wide."""
    document = Document.scratch(b"The")
    level = [document.loom.head]
    for width in widths:
        texts = [b" and so on" * (1 + 3 * (n % 3)) for n in range(width)]
        level = [
            id
            for above in level
            for id in document.branches.plant(above, [model_run(one) for one in texts])
        ]
    return document


def test_a_png_of_a_large_loom_shows_as_much_as_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "MOST_SIDE", 3000)
    monkeypatch.setattr(png, "first_font", lambda families: families[0])
    path = saved(fans(3, 3, 30), tmp_path)
    assert max(decoded(export(path, "png", ExportOptions()))[:2]) <= png.MOST_SIDE
    source = read_source(path, history=False)
    assert "270 nodes" in caveat(source, "png")
    assert caveat(source, "svg") == ""


def test_no_box_of_a_picture_lies_on_another(tmp_path: Path) -> None:
    document = fans(3, 4)
    # One branch goes on alone: its box is taller than what stands below it.
    for id in document.loom.children[document.loom.head]:
        document.branches.child(id, "Alone")
    root = ElementTree.fromstring(written(document, tmp_path, "svg"))
    boxes = [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
        if "x" in rect.attrib
    ]
    assert len(boxes) == 1 + 3 + 3 * 5
    for x, y, width, height in boxes:
        assert 0 <= x <= float(root.attrib["width"]) - width
        assert 0 <= y <= float(root.attrib["height"]) - height
    for (x, y, _, height), (beside, below, _, room) in combinations(boxes, 2):
        assert x != beside or y + height <= below or below + room <= y


def test_a_picture_of_too_many_counts_what_it_leaves_out(tmp_path: Path) -> None:
    document = Document.scratch(b"The")
    made = document.branches.plant(document.loom.head, [model_run(b"%d" % n) for n in range(40)])
    for id in made:
        document.branches.plant(id, [model_run(b"%d" % n) for n in range(40)])
    text = written(document, tmp_path, "svg")
    assert text.count("<g>") == 41 <= MOST_BOXES
    assert text.count("+40 below") == 40
    source = read_source(tmp_path / "a tale.loom", history=False)
    assert "1,600 nodes" in caveat(source, "svg")


def pairs(document: Document, folder: Path) -> list[tuple[str, str, str, str]]:
    lines = written(document, folder, "jsonl").splitlines()
    return [
        (one["source"], one["prompt"], one["chosen"], one["rejected"])
        for one in map(json.loads, lines)
    ]


def test_pairs_tell_what_was_accepted_against_what(document: Document, tmp_path: Path) -> None:
    assert pairs(document, tmp_path) == [
        ("accept", "The red", " fox", " owl"),
        ("accept", "The red", " fox", " hen"),
        ("story", "The red fox", " ran.", " sat"),
    ]


def test_pairs_follow_ratings_and_leave_out_what_nobody_saw(tmp_path: Path) -> None:
    document = Document.scratch(b"The")
    one, two, three = document.branches.plant(
        document.loom.head, [model_run(b" a"), model_run(b" b"), model_run(b" c")]
    )
    document.choose(one)
    document.branches.rate(one, 2)
    document.branches.rate(two, 5)
    document.branches.read(one, three)
    assert pairs(document, tmp_path) == [
        ("story", "The", " a", " c"),
        ("rating", "The", " b", " a"),
    ]


def test_a_deleted_text_was_not_preferred(document: Document, tmp_path: Path) -> None:
    document.branches.delete(document.loom.path()[1].id)
    assert pairs(document, tmp_path) == []


@pytest.mark.parametrize("format", EXPORTS)
def test_an_empty_loom_is_exported_too(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "first_font", lambda families: families[0])
    export(saved(Document.scratch(), tmp_path), format, ExportOptions())
