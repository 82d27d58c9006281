"""What comes along when a part of llterm is imported in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"textual", "rich", "typer", "llama_cpp", "httpx", "httpx2", "huggingface_hub", "jinja2",
         "starlette", "uvicorn", "msgspec"}  # fmt: skip


def loaded(program: str) -> set[str]:
    """Top-level modules after this program."""
    code = f"{program}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.__stdout__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    [
        "core.weave_state", "core.display_text", "core.loom_tree", "backends.llamacpp",
        "backends.scripted", "backends.remote",
        "backends.registry", "backends.inventory", "backends.pull", "reports.models_text",
        "engine.weave",
        "store.file", "session.session", "session.document",
        "errors", "config", "paths", "keymap", "terminal", "supervise", "state",
        "formats.exports", "formats.imports", "formats.file_formats", "session.looms",
        "jobs.runner", "jobs.loom_story", "jobs.suggest", "jobs.sample", "reports.suggest_json",
        "engine.mixture", "engine.compare", "jobs.mix", "jobs.compare",
    ],
)  # fmt: skip
def test_no_layer_below_the_faces_brings_anything_heavy(module: str) -> None:
    assert not loaded(f"import llterm.{module}") & HEAVY


@pytest.mark.parametrize("module", ["cli.export_import", "cli.doctor_loom"])
def test_what_needs_no_model_brings_the_parser_only(module: str) -> None:
    assert not loaded(f"import llterm.{module}") & (HEAVY - {"typer"})


@pytest.mark.parametrize("module", ["errors", "config", "paths", "keymap", "terminal", "supervise"])
def test_the_leaves_do_without_numpy(module: str) -> None:
    assert "numpy" not in loaded(f"import llterm.{module}")


def test_help_needs_the_parser_only() -> None:
    program = (
        "import sys\nsys.argv = ['llterm', '--help']\n"
        "from llterm.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code"
    )
    modules = loaded(program)
    assert "typer" in modules
    assert not modules & (HEAVY - {"typer"} | {"numpy", "sqlite3", "asyncio", "platformdirs"})
