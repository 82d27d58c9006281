"""What llterm writes as JSON is JSON, whoever reads it."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llterm
from llterm.core.json_text import json_text
from tests.helpers.strict_json import strictly

PACKAGE = Path(llterm.__file__).parent
WRITERS = (
    PACKAGE / "core" / "json_text.py",
    # A process of its own that imports nothing of llterm; it answers with texts alone.
    PACKAGE / "backends" / "template_child.py",
)
WRITING = {"dump", "dumps", "JSONEncoder"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("ascii", [True, False])
@given(value=ANYTHING)
def test_anything_becomes_json(ascii: bool, value: Any) -> None:
    text = json_text(value, ascii=ascii)
    found = strictly(text)
    assert text.isascii() or not ascii
    if found != value:
        again = json.loads(json.dumps(value), parse_constant=lambda _: None)
        assert json.dumps(found) == json.dumps(_mended(again))


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return "".join("�" if "\ud800" <= one <= "\udfff" else one for one in value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    return value


def test_what_no_json_can_say_is_null_and_bytes_that_are_kept_come_back() -> None:
    assert json_text([math.nan, -math.inf, 1e300, 10**5000]) == "[null, null, 1e+300, null]"
    assert json_text({"\ud83d": "a\udcff😀"}, ascii=False) == '{"�": "a�😀"}'
    assert json.loads(json_text(["\udcff", math.nan], bytes_kept=True)) == ["\udcff", None]


def _writes(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="json"), attr=name):
            return name in WRITING
        case ast.ImportFrom(module="json", names=names):
            return any(one.name in WRITING for one in names)
        case ast.Import(names=names):
            return any(one.name == "json" and one.asname for one in names)
    return False


def test_nothing_else_in_the_package_writes_json() -> None:
    """`core.json_text` alone does; a reader of the whole package finds any other."""
    writers = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path in WRITERS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if _writes(node):
                writers.append(f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}")
    assert writers == []
