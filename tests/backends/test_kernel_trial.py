"""Fast kernels are chosen by flag or file, tried in another process, and never end llterm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from llterm import paths
from llterm.backends.inventory import describe_model
from llterm.backends.llamacpp import kernel_trial
from llterm.backends.registry import open_model
from llterm.config import Config, ModelConfig
from llterm.core.kernels import KernelDrift, Kernels
from llterm.core.query import Backend, TokenScore
from llterm.engine.kernel_notes import kernel_notes
from llterm.engine.mixture import Mix
from llterm.jobs.comparison_plan import ALONE
from llterm.store.saved_weave import name_of
from tests.helpers.kernel_trials import trials_end, trials_find

FAST = {"kernels": "fast"}
BOUND = 0.01
"""How far ln p of the bundled model may be off by fast kernels."""
STORY = b"Once upon a time there was a little fox who lived at the edge of a dark forest."


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path / "state"))


async def logprobs(backend: Backend) -> list[float]:
    """Of the story's tokens, by a row each."""
    tokens = backend.vocabulary.prefix + await backend.vocabulary.tokenize(STORY)
    scores: list[TokenScore] = [score async for score in backend.score(tokens)]
    return [score.logprob for score in scores]


async def kernels_of(config: Config, overrides: Mapping[str, object] | None = None) -> Kernels:
    backend = await open_model("fable", config, overrides)
    await backend.close()
    assert backend.capabilities.kernels is not None
    return backend.capabilities.kernels


async def test_fast_ones_are_near_and_say_how_near(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = await open_model("fable", Config())
    fast = await open_model("fable", Config(), FAST)
    trials_end(monkeypatch)
    again = await open_model("fable", Config(), FAST)
    try:
        kernels = fast.capabilities.kernels
        assert kernels is not None
        assert kernels.kind == "fast"
        assert kernels.drift is not None
        assert kernels.drift.mean <= kernels.drift.worst < BOUND
        assert kernels == again.capabilities.kernels
        own, other = await logprobs(exact), await logprobs(fast)
        assert max(abs(a - b) for a, b in zip(own, other, strict=True)) < BOUND
        (note,) = kernel_notes(fast)
        assert "fast kernels" in note
        assert f"{kernels.drift.worst:.2g} at worst, over 64 tokens" in note
        assert not list(kernel_notes(exact))
    finally:
        for backend in (exact, fast, again):
            await backend.close()


async def test_a_flag_beats_the_file_and_a_trial_alone_chooses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials_find(monkeypatch)
    config = Config(models={"fable": ModelConfig(kernels="fast")})
    told = Kernels("fast", KernelDrift(64, 0.001, 0.002), "no doubled rows")
    assert await kernels_of(config) == told
    assert await kernels_of(config, {"kernels": "exact"}) == Kernels()
    assert await kernels_of(Config()) == Kernels()
    assert await kernels_of(Config(), FAST) == told


async def test_only_exact_ones_wait_for_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    trials_find(monkeypatch)
    config = Config(models={"fable": ModelConfig(kv_type="q8_0")})
    exact, fast = await open_model("fable", config), await open_model("fable", config, FAST)
    assert (exact.capabilities.anchored, fast.capabilities.anchored) == (True, False)
    await exact.close()
    await fast.close()


async def test_ones_that_end_the_program_leave_the_exact_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials_end(monkeypatch)
    exact = await open_model("fable", Config())
    fallen = await open_model("fable", Config(), FAST)
    try:
        assert fallen.capabilities.kernel_kind == "exact"
        (note,) = kernel_notes(fallen)
        assert "exact kernels are used" in note
        assert "SIGABRT" in note
        assert await logprobs(exact) == await logprobs(fallen)
    finally:
        await exact.close()
        await fallen.close()
    trials_find(monkeypatch)
    assert (await kernels_of(Config(), FAST)).trouble, "it is not tried again"


async def test_a_trial_that_somebody_else_ended_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials_end(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "SIGKILL" in (await kernels_of(Config(), FAST)).trouble
    trials_find(monkeypatch)
    assert (await kernels_of(Config(), FAST)).kind == "fast"


@pytest.mark.parametrize("said", ["", "[]", '{"repack": 1}', '{"trouble": 7}', "{"])
async def test_what_is_no_finding_is_a_trouble(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    trials_end(monkeypatch, f"print({said!r})")
    kernels = await kernels_of(Config(), FAST)
    assert (kernels.kind, bool(kernels.trouble)) == ("exact", True)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    trials_find(monkeypatch)
    monkeypatch.setattr(kernel_trial, "MOST", 1)
    await kernels_of(Config(), FAST)
    await kernels_of(Config(models={"fable": ModelConfig(kv_type="f32")}), FAST)
    assert len(json.loads(paths.kernels_file().read_text("utf-8"))) == 1


async def test_a_copy_of_the_weights_that_has_no_room_leaves_the_exact_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials_find(monkeypatch)
    monkeypatch.setattr("llterm.backends.llamacpp.memory_estimate.available", lambda: 50 << 20)
    assert "not enough memory" in (await kernels_of(Config(), FAST)).trouble
    monkeypatch.setattr("llterm.backends.llamacpp.memory_estimate.available", lambda: 70 << 20)
    assert (await kernels_of(Config(), FAST)).kind == "fast"


async def test_figures_of_fast_ones_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    trials_find(monkeypatch)
    exact = await open_model("fable", Config())
    fast = await open_model("fable", Config(), FAST)
    assert name_of(exact) == "fable"
    assert name_of(fast) == "fable (fable by fast kernels, no doubled rows)"
    assert name_of(Mix([exact], ALONE)) != name_of(mixed := Mix([fast], ALONE))
    assert mixed.capabilities.kernel_kind == "fast"
    await exact.close()
    await fast.close()


def test_what_is_known_of_a_model_says_them_and_tries_them_when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials_find(monkeypatch)
    assert describe_model("fable", Config()).fast is None
    tried = describe_model("fable", Config(), "fast").fast
    assert tried is not None
    assert tried.drift == KernelDrift(64, 0.001, 0.002)
    assert describe_model("fable", Config()).fast == tried
