"""One place writes what commands say, one opens what a person names, one counts things in words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from llterm import __file__ as package
from llterm.cli.error_report import guarded
from llterm.errors import LltermError, UsageError
from llterm.number_format import count_of

SOURCES = sorted(Path(package).parent.rglob("*.py"))
CHILDREN = ("backends/gradients_child.py", "backends/llamacpp/kernel_trial.py",
            "backends/llamacpp/quantize.py", "backends/template_child.py")  # fmt: skip
"""Processes of their own, whose stdout is for llterm alone."""
WRITERS = ("output.py", "supervise.py", "ui/llterm_app.py", *CHILDREN)
READERS = (
    "regular_file.py",
    "backends/llamacpp/kernel_trial.py",
    "backends/llamacpp/memory_estimate.py",
    "ui/external_editor.py",
    "backends/gradients_child.py",
    "usable_cores.py",
    "serve/pages/browser_page.py",
)
"""Also what reads the system's own files, llterm's own, and a file that it has just written."""


def calls(spared: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Place and text of every call in the package, some modules spared."""
    for path in SOURCES:
        name = path.relative_to(Path(package).parent).as_posix()
        if name not in spared:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{name}:{node.lineno}", ast.unparse(node)


def found(pattern: str, spared: tuple[str, ...]) -> list[str]:
    return [f"{at} {text[:60]}" for at, text in calls(spared) if re.match(pattern, text)]


def test_nothing_else_writes_to_the_standard_streams() -> None:
    pattern = r"(print|typer\.echo|typer\.secho)\(|sys\.std(out|err)(\.buffer)?\.write\w*\("
    assert not found(pattern, WRITERS)


def test_nothing_else_opens_what_a_person_names() -> None:
    pattern = r"""[\w.()/ "'-]+\.(read_text\([^)]*\)|read_bytes\(\)|open\('rb'\))$"""
    # What formats and dialects call so reads what is in memory already.
    in_memory = re.compile(r"read_text\(data|backends/remote/\w+(/\w+)?\.py:\d+ [\w.]*read_text")
    assert not [one for one in found(pattern, READERS) if not in_memory.search(one)]


def test_things_are_counted_in_one_place() -> None:
    by_hand = re.compile(r"""\{'s' ?\*|\{'' if [^}]* == 1 else 's'|\{"s" ?\*""")
    bare = re.compile(r"(?<!')\{[^{}!]*?(:,)?\} (words|nodes|places|suggestions)\b")
    for path in SOURCES:
        text = path.read_text("utf-8")
        assert not by_hand.search(text), path
        assert not [one for one in bare.finditer(text) if "FEWEST" not in one.group()], path


def test_one_is_no_plural() -> None:
    assert [count_of(n, "node") for n in (0, 1, 2, 1000)] == [
        "0 nodes", "1 node", "2 nodes", "1,000 nodes"
    ]  # fmt: skip
    assert count_of(2, "branch", "branches") == "2 branches"


@pytest.mark.parametrize(
    ("said", "shown"),
    [("It ends..", "It ends."), ("Why?.", "Why?"), ("And so on….", "And so on…"),
     ("And so on....", "And so on...."), ("It ends.", "It ends."), ("cd ..", "cd ..")],
)  # fmt: skip
def test_a_sentence_ends_once(said: str, shown: str) -> None:
    error = UsageError("A title", said, said)
    assert (error.cause, error.hint) == (shown, shown)


def test_a_fault_of_its_own_is_told_and_its_place_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert guarded(lambda: {"here": 1}["gone"]) == LltermError.exit_code
    shown = capsys.readouterr().err
    assert shown.startswith("llterm: This is a fault of llterm's own\n")
    assert "KeyError: 'gone'." in shown
    assert "Traceback" not in shown
    assert "KeyError" in caplog.text
    assert "guarded" in caplog.text
    assert guarded(lambda: len((tmp_path / "gone").read_bytes())) == LltermError.exit_code
    assert "gone cannot be used\n  No such file or directory.\n" in capsys.readouterr().err
