"""Numbers, bars and rows as they are shown."""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len

from llterm.core.beams import Step
from llterm.core.suggestion_tree import Branch, Suggestion, View
from llterm.session.status import Figures
from llterm.ui.weave.suggestion_pane import flatten, label, locate
from llterm.ui.weave.weave_view import result_pieces
from llterm.ui.widgets.key_bar import key_name
from llterm.ui.widgets.text_fit import crop, fit_pieces, wrap


def test_the_line_under_the_tree_says_what_is_certain() -> None:
    figures = Figures(seconds=0.4)
    one = Suggestion((1,), (), b" a", -1.0, "stop")
    part = View(suggestions=(one,) * 18, coverage=(0.57,), settled=11, bound=0.0012)
    done = result_pieces(figures, replace(part, done=True), weaving=False, stale="", key="^J")
    assert " · ".join(done) == "18 suggestions · 57% at depth 1 · 0.4s"
    open_ = result_pieces(figures, part, weaving=False, stale="", key="^J")
    assert open_[:3] == ["18 suggestions", "^J goes on", "11 settled, rest ≤0.12%"]
    spent = result_pieces(figures, replace(part, spent=True), weaving=False, stale="", key="^J")
    assert "budget used up" in spent[1]
    assert (
        "stale" in result_pieces(figures, part, weaving=False, stale="the story moved", key="^J")[0]
    )
    assert fit_pieces(done, 34) == "18 suggestions · 57% at depth 1"
    assert fit_pieces(done, 10) == "18 sugges…", "what is cut is seen to be"


def test_a_ghost_wraps_and_loses_nothing() -> None:
    text = " and then she went into the wood.\n\nIt was dark; supercalifragilistic"
    for first in range(21):
        for width in (2, 7, 20):
            lines = wrap(text, min(first, width), width)
            assert "".join(lines) == text.replace("\n", "")
            assert cell_len(lines[0].rstrip()) <= min(first, width)
            assert all(cell_len(line.rstrip()) <= width for line in lines)


def test_wide_characters_are_cut_by_cells() -> None:
    assert cell_len(crop("日本語の話", 5)) <= 5
    assert crop("日本語", 6) == "日本語"
    assert crop("abc", 0) == ""


def test_a_label_is_inert_and_never_markup() -> None:
    hostile = "\x1b[31m[red]x[/]\u202e\x9b".encode()
    text, special = label(Branch((1,), (), hostile, 0.5, -1.0))
    assert not special
    assert "[red]x[/]" in text
    assert not set("\x1b\u202e\x9b") & set(text)
    assert label(Branch((1,), (), b" a\n", 0.5, -1.0))[0] == "␣a⏎"
    end = Step(0, b"<|end|>", -1.0, 1, special=True)
    assert label(Branch((0,), (end,), b"", 0.5, -1.0, finish="end")) == ("<|end|>", True)


def test_a_character_that_a_fork_goes_through_stands_whole_after_it() -> None:
    fox, frog = (Branch((1, n), (), bytes((0xA6, n)) + b" x", 0.5, -1.0) for n in (0x8A, 0x8E))
    root = Branch((1,), (), b" \xf0\x9f", 0.5, -1.0, (fox, frog))
    rows = flatten([root], set())
    assert [label(row.branch, row.before)[0] for row in rows] == ["␣⟨f0 9f⟩", "🦊 x", "🦎 x"]
    under = flatten([fox], set(), b"The \xf0\x9f")
    assert label(under[0].branch, under[0].before)[0] == "🦊 x"
    assert label(fox)[0] == "⟨a6 8a⟩ x"


def _tree(wide: int, deep: int, tail: tuple[int, ...] = ()) -> tuple[Branch, ...]:
    return tuple(
        Branch((*tail, n), (), b"x", 0.5, -1.0, _tree(wide, deep - 1, (*tail, n)) if deep else ())
        for n in range(wide)
    )


def test_rows_fold_and_a_branch_is_found_again() -> None:
    branches = _tree(3, 2)
    rows = flatten(branches, set())
    assert len(rows) == 39
    assert len(flatten(branches, {(0,)})) == 39 - 12
    assert rows[locate(rows, (1, 2))].tail == (1, 2)
    folded = flatten(branches, {(1,)})
    assert folded[locate(folded, (1, 2, 0))].tail == (1,), "folded away: the row above it"
    assert locate([], (1,)) == -1
    assert locate(rows, None) == 0
    for row in rows:
        assert row.parent < 0 or row.tail[:-1] == rows[row.parent].tail


def test_keys_are_named_as_people_write_them() -> None:
    names = {"ctrl+j": "^J", "f3": "F3", "tab": "⇥", "alt+down": "Alt+↓", "f": "f", "+": "+"}
    assert {key: key_name(key) for key in names} == names
