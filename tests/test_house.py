"""How the house is built, held where a tool can hold it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(path: Path) -> Iterator[str]:
    """The modules of the tests that this file imports, or takes names from."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_what_tests_share_lies_in_the_helpers() -> None:
    """No test module or conftest is imported by another."""
    wrong = [
        (str(path.relative_to(TESTS)), module)
        for path in TESTS.rglob("*.py")
        for module in imported(path)
        if module.startswith("tests.")
        and (module.rpartition(".")[2].startswith("test_") or module.endswith(".conftest"))
    ]
    assert not wrong
