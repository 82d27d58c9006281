"""Whatever lies in the folder in which llterm is started, nothing of it is run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llterm
from llterm import child_processes

PACKAGE = Path(llterm.__file__).parent
STRANGE = ("ctypes", "json", "re", "threading", "typer", "llama_cpp", "llterm")
"""Modules that a stranger's folder may hold, too."""
BARE = ("child_processes.py", "backends/template_process.py")
"""What may begin an interpreter: with -P, and with -I -S."""


def begun() -> list[str]:
    """The modules that the package begins as processes by `child_processes.command`."""
    commands = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "child_processes.command":
                within = ".".join(path.relative_to(PACKAGE.parent).parent.parts)
                commands.append(
                    ast.unparse(node.args[0]).replace("{__package__}", within).strip("f'")
                )
    return commands


@pytest.mark.parametrize("module", begun())
def test_no_module_of_the_working_directory_is_run(module: str, tmp_path: Path) -> None:
    for name in STRANGE:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    # Without arguments, and with nobody at the other end of stdin, each of them ends at once.
    subprocess.run(
        child_processes.command(module, "--version"), cwd=tmp_path, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert not (tmp_path / "ran").exists()


def test_only_there_an_interpreter_is_begun() -> None:
    assert len(begun()) >= 4
    lists = (ast.List, ast.Tuple)
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).as_posix() in BARE:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, lists) or "sys.executable" not in map(
                ast.unparse, node.elts
            ), f"{path}:{node.lineno}"


def test_without_the_option_it_would_be(tmp_path: Path) -> None:
    """The folder is one that does run something."""
    (tmp_path / "ctypes.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    command = [one for one in child_processes.command("ctypes") if one != "-P"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (tmp_path / "ran").exists()
    assert command[0] == sys.executable
