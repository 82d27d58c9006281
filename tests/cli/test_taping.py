"""Which model --record and --replay are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.cli.taping import taped
from llterm.config import Config, ModelConfig
from llterm.config.server import ServerSettings
from llterm.errors import UsageError

OWN = ServerSettings(("http://127.0.0.1:1",), timeout=7)
CONFIG = Config(model="own", models={"own": ModelConfig(context=99, server=OWN)})
HEAD = '{"llterm_cassette": 1, "dialect": "vllm", "model": "big", "parallel": 4}\n'


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "fable"
    path.write_text(HEAD)
    return path.rename(tmp_path / "fable.cassette")


def server_of(config: Config) -> ServerSettings:
    server = config.models[config.model].server
    assert server is not None
    return server


def test_without_flags_nothing_changes() -> None:
    assert taped(CONFIG, None, None, None) is CONFIG


def test_the_model_in_use_is_recorded(tmp_path: Path) -> None:
    config = taped(CONFIG, None, tmp_path / "new", None)
    assert config.model == "own"
    assert server_of(config) == ServerSettings(OWN.base_url, timeout=7, record=tmp_path / "new")
    assert config.models["own"].context == 99


def test_a_replay_needs_no_configuration(cassette: Path) -> None:
    config = taped(Config(), None, None, cassette)
    assert config.model == "fable.cassette", "not the bundled model"
    assert server_of(config) == ServerSettings((), "vllm", "big", 4, replay=cassette)


def test_a_configured_model_is_replayed_with_its_own_settings(cassette: Path) -> None:
    config = taped(CONFIG, "own", None, cassette)
    assert server_of(config) == ServerSettings(OWN.base_url, timeout=7, replay=cassette)


@pytest.mark.parametrize("name", ["fable", "scripted"])
def test_a_model_in_process_is_neither(cassette: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is not a model on a server"):
        taped(CONFIG, name, None, cassette)
    with pytest.raises(UsageError, match=f"{name} is not a model on a server"):
        taped(Config(model=name), name, cassette.with_name("new"), None)


def test_both_are_refused(cassette: Path) -> None:
    with pytest.raises(UsageError, match="cannot be together"):
        taped(CONFIG, None, cassette.with_name("new"), cassette)
