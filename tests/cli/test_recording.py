"""Which model --record and --replay are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.cli.recording import with_recording, with_recordings
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.errors import ModelError, UsageError

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
    assert with_recording(CONFIG, None, None, None) is CONFIG


def test_the_model_in_use_is_recorded(tmp_path: Path) -> None:
    config = with_recording(CONFIG, None, tmp_path / "new", None)
    assert config.model == "own"
    assert server_of(config) == ServerSettings(OWN.base_url, timeout=7, record=tmp_path / "new")
    assert config.models["own"].context == 99


def test_a_replay_needs_no_configuration(cassette: Path) -> None:
    config = with_recording(Config(), None, None, cassette)
    assert config.model == "fable.cassette", "not the bundled model"
    assert server_of(config) == ServerSettings((), "vllm", "big", 4, replay=cassette)


def test_a_configured_model_is_replayed_with_its_own_settings(cassette: Path) -> None:
    config = with_recording(CONFIG, "own", None, cassette)
    assert server_of(config) == ServerSettings(OWN.base_url, timeout=7, replay=cassette)


@pytest.mark.parametrize("name", ["fable", "scripted"])
def test_a_model_in_process_is_neither(cassette: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is not a model on a server"):
        with_recording(CONFIG, name, None, cassette)
    with pytest.raises(UsageError, match=f"{name} is not a model on a server"):
        with_recording(Config(model=name), name, cassette.with_name("new"), None)


def test_both_are_refused(cassette: Path) -> None:
    with pytest.raises(UsageError, match="cannot be together"):
        with_recording(CONFIG, None, cassette.with_name("new"), cassette)


def test_of_several_models_each_server_has_a_file(cassette: Path) -> None:
    other = ServerSettings(("http://127.0.0.1:2",))
    config = Config(models={**CONFIG.models, "other": ModelConfig(server=other)})
    files = [cassette.with_name("one"), cassette.with_name("two")]
    models = with_recordings(config, ["other", "fable", "own"], files, ()).models
    assert models["other"].server == ServerSettings(other.base_url, record=files[0])
    assert models["own"].server == ServerSettings(OWN.base_url, timeout=7, record=files[1])
    assert "fable" not in models
    assert with_recordings(config, ["other", "own"], (), ()) is config


def test_a_name_that_is_no_model_is_a_recorded_one(cassette: Path) -> None:
    found = with_recordings(Config(), ["fable", "near"], (), [cassette])
    assert found.models["near"].server == ServerSettings((), "vllm", "big", 4, replay=cassette)
    with pytest.raises(ModelError, match="near"):
        with_recordings(Config(), ["fable", "near"], [cassette.with_name("new")], ())


@pytest.mark.parametrize(("models", "count", "words"), [
    (["fable", "own"], 2, "2 times for 1 models"),
    (["fable", "scripted"], 1, "1 times for 0 models"),
    (["own", "own"], 2, "cannot be one"),
])  # fmt: skip
def test_files_and_servers_must_match(
    tmp_path: Path, models: list[str], count: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        with_recordings(CONFIG, models, [tmp_path / str(n) for n in range(count)], ())
