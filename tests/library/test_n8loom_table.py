"""docs/library.md gives every member of N8Loom's Heddle and Loom its counterpart here."""

from __future__ import annotations

import re
from pathlib import Path

import llterm

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text("utf-8")
MEMBERS = re.findall(
    r"\w+",
    """model tokenizer text tokens frag children parent terminal clip trim to_leaf add_child
    add_text_child remove_child get_prefix_cache make_children make_child_stream ramify
    get_prefix_text get_prefix_tokens get_display_text display_text crown apply_all_children
    at_all_leaves apply_at_leaves get_all_children get_all_leaves count_children count_leaves
    __repr__ user_prompt chat_template_used Heddle Loom""",
)
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.split("### N8Loom's names")[1], re.MULTILINE)[2:]


def test_every_member_has_a_counterpart() -> None:
    theirs = " ".join(left for left, _ in ROWS)
    assert not [name for name in MEMBERS if not re.search(rf"(?<!\w){name}(?!\w)", theirs)]


def test_every_counterpart_is_there() -> None:
    """What each does is tried in test_library_looms.py."""
    faces = {"node": llterm.Node, "loom": llterm.Loom, "model": llterm.Model}
    named = {
        (face, name)
        for _, right in ROWS
        for face, name in re.findall(r"(?<!\.)\b(node|loom|model)\.(\w+)", right)
    }
    assert len(named) > 30
    assert not [(face, name) for face, name in named if not hasattr(faces[face], name)]
