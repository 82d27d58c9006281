"""A template's columns are filled as text, and nothing else in it means anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.row_template import RowTemplate
from llterm.errors import UsageError

NAMES = st.text(st.characters(exclude_characters="{}[]!:."), min_size=1, max_size=8)


@given(st.lists(st.tuples(st.text(max_size=5), NAMES), max_size=4), st.text(max_size=5), st.data())
def test_every_column_stands_in_its_place(
    parts: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    names = {name for _, name in parts}
    columns = {name: data.draw(st.text(max_size=5), name) for name in names}

    def text(written: str) -> str:
        return written.replace("{", "{{").replace("}", "}}")

    template = RowTemplate.parse(
        "".join(f"{text(before)}{{{name}}}" for before, name in parts) + text(end)
    )
    assert set(template.columns) == names
    template.check(list(columns))
    wanted = "".join(before + columns[name] for before, name in parts) + end
    assert template.filled(columns) == wanted


def test_what_is_no_text_stands_there_as_json() -> None:
    template = RowTemplate.parse("{a} {b} {c}")
    assert template.filled({"a": 1, "b": ["ü"], "c": None}) == '1 ["ü"] null'


@pytest.mark.parametrize("text", ["{", "}", "{}", "{a:>9}", "{a!r}", "{a"])
def test_other_braces_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="The template cannot be read"):
        RowTemplate.parse(text)


def test_nothing_of_a_value_is_reached_into() -> None:
    template = RowTemplate.parse("{a.__class__}")
    with pytest.raises(UsageError, match=r"no column a\.__class__"):
        template.check(["a"])


def test_a_column_that_is_missing_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError) as missing:
        RowTemplate.parse("{topics}").check(["topic", "age"])
    assert missing.value.hint == "Did you mean topic?"
