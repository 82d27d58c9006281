"""Texts and artifacts in a reply are told the same however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.artifact_parser import TEXT_META, ArtifactParser, Meta

CODE = '<artifact identifier="sort" type="code" title="Quick" language="python">'
PIECES = (
    "<answer>", "</answer>", "<text>", "</text>", CODE, "</artifact>", "<artifact ", "<artifact>",
    'identifier="a"', "<", ">", "</", " ", "\n", "a < b", "é🦊", "<textual>", "<!-- -->",
    '<artifact identifier="x" type="poem" title="y">',
)  # fmt: skip
replies = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def parsed(reply: str, cuts: list[int]) -> list[tuple[Meta, str]]:
    parser = ArtifactParser()
    places = sorted(cut % (len(reply) + 1) for cut in cuts)
    told = [
        part
        for start, end in zip([0, *places], [*places, len(reply)], strict=True)
        for part in parser.add(reply[start:end])
    ]
    parts: list[tuple[Meta, str]] = []
    for meta, text, begins in (*told, *parser.rest()):
        if begins:
            parts.append((meta, ""))
        assert parts[-1][0] == meta
        parts[-1] = meta, parts[-1][1] + text
    return parts


@given(replies, st.lists(st.integers(0, 300), max_size=20))
def test_a_reply_says_the_same_however_it_is_cut(reply: str, cuts: list[int]) -> None:
    whole = parsed(reply, [])
    assert parsed(reply, cuts) == whole
    assert parsed(reply, [*range(len(reply))]) == whole


def test_parts_are_told_by_their_tags() -> None:
    code = {"tag_type": "artifact", "artifact_type": "code", "identifier": "sort",
            "title": "Quick", "language": "python"}  # fmt: skip
    reply = f"<answer>\n<text>Here:</text>\n{CODE}if a < b:\n  <p></artifact>\n</answer>"
    assert parsed(reply, []) == [(TEXT_META, "Here:"), (code, "if a < b:\n  <p>")]
    assert parsed("No tags at all. ", []) == [(TEXT_META, "No tags at all.")]
    assert parsed(f"{CODE}breaks off", []) == [(code, "breaks off")]
    assert parsed("", []) == []
