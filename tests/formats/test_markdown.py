"""Markdown shows a story as it is: its lines, its paragraphs, and every sign in them."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from llterm.formats.exports import ExportOptions
from llterm.formats.plain_text import markdown_prose
from llterm.session.document import Document
from tests.helpers.exports import export

SIGNS = st.text("ab1. \t\n*_#-+=>`<&;[]()!\\~|$:/", max_size=60)


def rendered(text: str) -> list[list[str]]:
    """The lines of every paragraph, as a reader shows them. Fails where there is anything else."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    paragraphs = []
    for token in reader.parse(text):
        assert token.type in ("paragraph_open", "paragraph_close", "inline"), token
        if token.type == "inline":
            paragraphs.append(_lines(token.children or []))
    return paragraphs


def _lines(tokens: list[Token]) -> list[str]:
    lines = [""]
    for token in tokens:
        assert token.type in ("text", "text_special", "hardbreak"), token
        if token.type == "hardbreak":
            lines.append("")
        else:
            lines[-1] += token.content
    return lines


def meant(text: str) -> list[list[str]]:
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            indent = re.match(r"[ \t]*", line)
            assert indent is not None
            wide = len(indent[0].expandtabs(4))
            paragraphs[-1].append("\N{NO-BREAK SPACE}" * wide + line.strip())
        else:
            paragraphs.append([])
    return [one for one in paragraphs if one]


@settings(max_examples=300)
@given(SIGNS)
@example("“Who?”\n“I.”\n\nThey slept.")
@example("1) a\n2. b\n- c\n---\nd\n===\n    e\n> f\n# g")
@example("a | b\n--- | ---\n1 | 2")
def test_what_is_written_is_what_is_read(text: str) -> None:
    assert rendered(markdown_prose(text)) == meant(text)


def test_dialogue_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "tale.loom"
    Document.scratch("“Who?”\r\n“I.”\n\n* * *\n".encode()).copy_to(path)
    found = export(path, "markdown", ExportOptions()).decode()
    assert found == "# tale\n\n“Who?”  \n“I.”\n\n\\* \\* \\*\n"
