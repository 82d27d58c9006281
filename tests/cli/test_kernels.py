"""Fast kernels, by flag or file: what commands say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.backends.inventory import describe_model
from llterm.config import Config
from tests.helpers.json_schema import faults, schema
from tests.helpers.kernel_trials import trials_find
from tests.helpers.program import run

WORDS = "no doubled rows; ln p is off by 0.001 on average and 0.002 at worst, over 64 tokens"


def test_what_comes_of_fast_kernels_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path / "state"))
    trials_find(monkeypatch)
    describe_model("fable", Config(), "fast")
    (tmp_path / "llterm.toml").write_text('[models.fable]\nkernels = "fast"\n')
    made = run(tmp_path, "suggest", "--prompt", "Once", "--depth", "2", "--format", "json")
    assert f"fable: fast kernels: {WORDS}" in made.err
    printed, root = json.loads(made.out), schema("suggest")
    assert printed["kernels"] == "fast"
    assert not faults(printed, root, root)
    checked = run(tmp_path, "doctor", "--kernels", "exact").out
    rows = {line[2:20].strip(): line[20:] for line in checked.splitlines()}
    assert rows["kernels"] == "exact"
    assert rows["fast kernels"] == WORDS
