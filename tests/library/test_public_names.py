"""What `import llterm` gives, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import llterm
from llterm.config.schema import SAMPLING, WEAVE
from llterm.library.async_loom import AsyncLoom, AsyncNode
from llterm.library.async_model import AsyncModel
from llterm.library.call_settings import SamplerKnobs, WeaveKnobs
from llterm.library.loom import Loom, Node
from llterm.library.model import Model


def test_every_public_name_is_there_and_is_known_to_type_checkers() -> None:
    tree = ast.parse(Path(llterm.__file__).read_text("utf-8"))
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llterm.")
        for alias in node.names
    }
    assert typed == {*llterm.__all__}
    assert {*llterm.__all__} <= {*dir(llterm)}
    for name in llterm.__all__:
        assert getattr(llterm, name).__doc__


def test_import_llterm_loads_next_to_nothing() -> None:
    code = "import sys\nbefore = {*sys.modules}\nimport llterm\nprint({*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = ast.literal_eval(done.stdout)
    assert {name for name in brought if name.startswith("llterm")} == {"llterm"}
    assert not {name.partition(".")[0] for name in brought} & {
        "numpy", "textual", "rich", "llama_cpp", "httpx2", "asyncio", "typer"
    }  # fmt: skip


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(llterm, "nonsense")


def test_every_sampler_and_weave_setting_can_be_given_by_name() -> None:
    assert {row.name for row in SAMPLING} == {*SamplerKnobs.__annotations__}
    assert {row.name for row in WEAVE} == {*WeaveKnobs.__annotations__}


def test_the_async_face_has_every_name_of_the_sync_one() -> None:
    for plain, awaited in ((Model, AsyncModel), (Loom, AsyncLoom), (Node, AsyncNode)):
        names = {name for name in dir(plain) if not name.startswith("_")}
        assert names - {*dir(awaited)} <= {"close", "ramify", "at_leaves"}, plain
