"""How tokens are drawn, from file, variable, flag and kept choices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llterm import state
from llterm.cli.settings import show
from llterm.config import Config, load_config
from llterm.config.sampling_values import (
    CHAIN,
    changed,
    make_preset,
    preset_values,
    value_of,
)
from llterm.config.schema import SAMPLING
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.errors import ConfigError

MINE = """
[sampling]
preset = "mine"
top_k = 5
seed = 3
ban = ["suddenly"]
bias = [" cat=-2.5", "#7=1"]

[presets.mine]
temperature = 1.2
min_p = 0.1
order = ["min_p", "temperature"]
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    return tmp_path


def load(home: Path, text: str = "", **more: object) -> Config:
    path = home / "one.toml"
    path.write_text(text, "utf-8")
    environment = {"environment": {}} | more
    return load_config(file=path, **environment)  # type: ignore[arg-type]


def test_by_default_it_is_balanced(home: Path) -> None:
    assert load(home).sampling == Sampling() == Sampling(PRESETS["balanced"], "balanced")


def test_a_preset_of_ones_own_carries_its_order_and_can_be_changed(home: Path) -> None:
    config = load(home, MINE)
    mine = SamplerSettings(temperature=1.2, min_p=0.1, order=("min_p", "temperature"))
    assert config.presets["mine"] == mine
    assert config.sampling == Sampling(
        replace(mine, top_k=5, seed=3, order=("top_k", *mine.order)),
        None,
        Bans(phrases=("suddenly",)),
        ((" cat", -2.5), ("#7", 1.0)),
    )


def test_a_preset_chosen_later_takes_no_knobs_from_before(home: Path) -> None:
    """`--preset greedy` is greedy, whatever the file says; what is no knob of it stays."""
    config = load(home, MINE, flags={"sampling.preset": "greedy"})
    assert config.sampling.settings == replace(PRESETS["greedy"], seed=3)
    assert config.sampling.preset == "greedy"
    assert config.sampling.bans.phrases == ("suddenly",)
    both = load(home, MINE, flags={"sampling.preset": "greedy", "sampling.top_p": 0.5})
    assert both.sampling.settings == replace(PRESETS["greedy"], seed=3, top_p=0.5)


def test_a_knob_set_later_changes_the_preset_from_before(home: Path) -> None:
    config = load(home, MINE, environment={"LLTERM_SAMPLING_TEMPERATURE": "0.4"})
    assert (config.sampling.settings.temperature, config.sampling.settings.min_p) == (0.4, 0.1)
    ordered = load(home, environment={"LLTERM_SAMPLING_ORDER": "top_k, temperature"})
    assert ordered.sampling.settings.order == ("top_k", "temperature")


def test_an_unknown_preset_is_named_with_the_nearest(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home, flags={"sampling.preset": "balancd"})
    assert "--preset" in caught.value.cause
    assert "balanced?" in caught.value.cause


def test_a_preset_saved_in_the_app_comes_back(home: Path) -> None:
    presets = {"dry-run": SamplerSettings(dry_multiplier=0.8, order=("dry", "top_k"))}
    state.keep({"presets.dry-run": preset_values(presets["dry-run"])})
    kept = state.read_state()
    config = load_config(environment={}, state=kept.values, folder=home)
    assert config.presets["dry-run"] == presets["dry-run"]
    assert not kept.notice
    assert not config.notices
    state.keep({"presets.dry-run": None})
    assert "presets.dry-run" not in state.read_state().values


def test_every_setting_can_be_told_and_set(home: Path) -> None:
    for row in SAMPLING[1:]:
        value = value_of(Sampling(), row.name)
        if value is not None:
            assert row.check(value) == value
        assert changed(Sampling(), row.name, value, PRESETS) == Sampling()


def test_presets_are_told_as_they_are_read() -> None:
    for settings in PRESETS.values():
        assert make_preset(preset_values(settings)) == settings
    assert set(CHAIN) <= {row.name for row in SAMPLING}


def test_what_is_shown_is_read_again(home: Path) -> None:
    config = load(home, MINE)
    again = load(home, show(config, origin=False))
    assert (again.sampling, again.presets) == (config.sampling, config.presets)


def test_a_knob_of_a_stage_that_does_not_run_switches_it_on(home: Path) -> None:
    """`--top-k 40` means something under every preset."""
    order = ("penalties", "temperature", "top_p")
    assert Sampling().settings.order == order
    cut = load(home, flags={"sampling.top_k": 40}).sampling.settings
    assert (cut.top_k, cut.order) == (40, ("penalties", "top_k", "temperature", "top_p"))
    both = load(home, flags={"sampling.min_p": 0.1, "sampling.order": ["temperature"]})
    assert both.sampling.settings.order == ("temperature",)
    assert load(home, flags={"sampling.top_k": 0}).sampling == Sampling()
