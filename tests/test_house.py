"""How the house is built, held where a tool can hold it."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path

import llterm
from llterm.config.schema import setting

TESTS = Path(__file__).parent
PACKAGE = Path(llterm.__file__).parent
TRADE = frozenset(
    {"binding", "healing", "mixing", "recording", "sampling", "scoring", "setting", "spelling"}
)
"""Words in -ing that are what the field calls the thing."""
COMMANDS = {"cli", "jobs", "engine", "reports"}
"""Folders in which a file bears the name of the command that it is a part of."""


@cache
def trees() -> Mapping[str, ast.Module]:
    """Every module of the package by its dotted name."""
    return {
        name_of(path, PACKAGE): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")
    }


def name_of(path: Path, root: Path) -> str:
    """A module's dotted name, from the root's own on."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module, modules: Collection[str]) -> set[str]:
    """Those of the modules that this file imports anywhere, or takes names from."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in modules else node.module)
    return names & {*modules}


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            first = stack.index(node)
            if len(stack) - first > 1:
                components.append(sorted(stack[first:]))
            del stack[first:]

    for node in graph:
        if node not in index:
            visit(node)
    return components


def test_no_modules_import_each_other_in_a_circle() -> None:
    """For types neither: whoever reads a module has read what it is made of before."""
    graph = {name: imported(tree, trees().keys()) - {name} for name, tree in trees().items()}
    assert not circles(graph)


def test_a_circle_would_be_found() -> None:
    graph = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": [], "e": ["d"]}
    assert circles(graph) == [["a", "b", "c"]]


def test_a_public_class_has_a_name_of_its_own() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


def test_a_file_has_a_name_of_its_own() -> None:
    """But for the parts of one command: what it takes, does, computes and shows."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        if not path.name.startswith("__"):
            folders[path.name].add(path.parent.relative_to(PACKAGE).as_posix())
    assert not {
        name: where for name, where in folders.items() if len(where) > 1 and not where <= COMMANDS
    }


def test_a_module_is_named_by_a_noun_and_not_as_one_of_pythons_own() -> None:
    leaves = {name: name.rpartition(".")[2] for name in trees()}
    assert not [name for name, leaf in leaves.items() if leaf in sys.stdlib_module_names]
    assert not [
        name for name, leaf in leaves.items()
        if leaf.endswith("ing") and leaf.rpartition("_")[2] not in TRADE
    ]  # fmt: skip


def is_setting(name: str) -> bool:
    try:
        return bool(setting(name))
    except KeyError:
        return False


def test_modules_that_docstrings_name_are_there() -> None:
    """`core.tokens`, `store.late_reads.LateReads`: who greps one lands somewhere."""
    folders = "|".join(sorted({name.split(".")[1] for name in trees() if name.count(".") > 1}))
    named = re.compile(rf"`({folders})\.([a-z_.]+)[.A-Za-z_]*`")
    gone = [
        f"{path.name}: {match[0]}"
        for path in PACKAGE.rglob("*.py")
        for match in named.finditer(path.read_text("utf-8"))
        if not is_setting(match[0].strip("`"))
        and not any(f"llterm.{match[1]}.{match[2]}.".startswith(f"{name}.") for name in trees()
                    if name.count(".") > 1)
    ]  # fmt: skip
    assert not gone


def test_files_and_folders_that_docstrings_name_are_there() -> None:
    """`story_editor.py` beside the file, `core/comparison/packed_rows.py`, `ui/weave/`."""
    named = re.compile(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`")
    gone = [
        f"{path.name}: {match[1]}"
        for path in PACKAGE.rglob("*.py")
        for match in named.finditer(path.read_text("utf-8"))
        if not any((folder / match[1]).exists() for folder in (PACKAGE, path.parent))
    ]
    assert not gone


def test_what_tests_share_lies_in_the_helpers() -> None:
    """No test module or conftest is imported by another."""
    tests = {name_of(path, TESTS): path for path in TESTS.rglob("*.py")}
    for path in tests.values():
        modules = imported(ast.parse(path.read_text("utf-8")), tests.keys())
        leaves = {module.rpartition(".")[2] for module in modules}
        assert not [leaf for leaf in leaves if leaf.startswith("test_") or leaf == "conftest"], path


def test_coroutines_are_run_from_one_place() -> None:
    """asyncio's own ways write out the `repr` of the whole result (`llterm/event_loop.py`)."""
    ways = {"run", "Runner", "run_until_complete", "new_event_loop"}
    places = set()
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ways
                and ast.unparse(node.value) in {"asyncio", "loop"}
            ):
                places.add(name)
            if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
                places.update(name for alias in node.names if alias.name in ways)
    # The library's loop runs for as long as a model is open, and no task of it has a long result.
    assert places == {"llterm.event_loop", "llterm.library.loop_thread"}
