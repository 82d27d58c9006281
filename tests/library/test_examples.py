"""Every script in examples/ does on the bundled model what it says."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import examples
import llterm
from tests.helpers.served_program import serving

FOLDER = Path(examples.__file__).parent
SMALL: Mapping[str, Mapping[str, Any]] = {
    "reflection": {"tokens": 24},
    "leaf_pipeline": {"tokens": 12},
    "synthetic_data": {"count": 3},
}
"""What each is called with, where its own numbers take long."""
CHECKS: Mapping[str, Callable[[Any], object]] = {
    "reflection": lambda answers: (
        len(answers) >= 8 and all(answer.startswith("I will solve") for answer in answers)
    ),
    "leaf_pipeline": lambda nodes: 0 < len(nodes) <= 5,
    "tree_of_thought": lambda story: story.startswith("The fox wanted"),
    "synthetic_data": lambda rows: (
        {row["animal"] for row in rows} <= {"fox", "hen", "wolf", "goose"}
    ),
    "classification": lambda verdicts: len(verdicts) == 4,
    "quant_comparison": lambda figures: 0 < figures["kld"] < 0.01,
    "attribution": lambda answer: answer.strongest(1)[0].text == " fox",
    "distributions": lambda places: len(places) == 8,
    "async_streams": lambda told: told[0].startswith("The sea") and len(told[1]) == 3,
    "server_client": lambda texts: texts[0] == texts[1],
}
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def test_each_is_checked() -> None:
    assert set(NAMES) == CHECKS.keys()
    assert len(NAMES) >= 10


@pytest.mark.parametrize("name", [name for name in NAMES if name != "server_client"])
def test_it_runs_on_the_bundled_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = importlib.import_module(f"examples.{name}")
    result = script.main(**SMALL.get(name, {}))
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    assert CHECKS[name](result)
    assert capsys.readouterr().out


def test_a_server_answers_both_clients_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("examples.server_client")
    with serving(tmp_path, "--model", "fable", "--port", "0") as served:
        assert CHECKS["server_client"](script.main(served.address))
        with llterm.open(served.address) as model:
            (one,) = model.suggest("The fox", depth=2, beams=1, heal=False)
            assert one.p > 0
            loom = model.loom("The fox")
            assert len(loom.root.grow(2, tokens=2, heal=False)) == 2
    assert json.dumps(capsys.readouterr().out)
