"""Which source counts, and where a value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.config import Config, load_config
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLTERM_CONFIG_DIR", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    (tmp_path / "project" / "deep").mkdir(parents=True)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def load(home: Path, flags: dict[str, object] | None = None, **environment: str) -> Config:
    return load_config(flags, environment=environment, folder=home / "project" / "deep")


def test_without_anything_the_defaults_hold(home: Path) -> None:
    config = load(home)
    assert config.weave == WeaveSettings()
    assert config.model == "fable"
    assert not config.files
    assert not config.origins


def test_flag_over_variable_over_project_over_user_over_kept_choice(home: Path) -> None:
    write(home / "user/llterm.toml", "[weave]\ndepth = 2\nbeams = 2\ncutoff = 0.2\nbudget = 2\n")
    write(home / "project/llterm.toml", "[weave]\ndepth = 3\nbeams = 3\ncutoff = 0.3\n")
    config = load_config(
        {"weave.depth": 5, "weave.beams": None},
        environment={"LLTERM_WEAVE_DEPTH": "4", "LLTERM_WEAVE_BEAMS": "4"},
        folder=home / "project/deep",
        state={f"weave.{name}": 1 for name in ("depth", "beams", "budget", "split_limit")},
    )
    rules = config.weave
    assert (rules.depth, rules.beams, rules.cutoff) == (5, 4, 0.3)
    assert (rules.budget, rules.split_limit) == (2, 1)
    assert {name: str(origin) for name, origin in config.origins.items()} == {
        "weave.depth": "flag --depth",
        "weave.beams": "environment LLTERM_WEAVE_BEAMS",
        "weave.cutoff": f"file {home}/project/llterm.toml:4",
        "weave.budget": f"file {home}/user/llterm.toml:5",
        "weave.split_limit": "state",
    }
    assert [path.parent.name for path in config.files] == ["user", "project"]


def test_a_typed_default_still_counts_more_than_the_file(home: Path) -> None:
    write(home / "user/llterm.toml", "[weave]\ndepth = 2\n")
    assert load(home, {"weave.depth": 12}).weave.depth == 12


def test_a_named_file_replaces_both(home: Path) -> None:
    write(home / "user/llterm.toml", "[weave]\ndepth = 2\n")
    write(home / "project/llterm.toml", "[weave]\nbeams = 3\n")
    own = write(home / "own.toml", "[ui]\ntheme = 'x'\n")
    config = load_config(file=own, environment={}, folder=home / "project")
    assert config.weave == WeaveSettings()
    assert config.ui.theme == "x"
    assert config.files == (own,)


def test_hyphens_are_as_good_as_underscores(home: Path) -> None:
    write(home / "user/llterm.toml", "[weave]\nsplit-limit = 7\nauto-stop = false\nstop = ['!']\n")
    rules = load(home).weave
    assert (rules.split_limit, rules.auto_stop, rules.stops) == (7, False, ("!",))


def test_a_models_path_lies_beside_its_file(home: Path) -> None:
    write(home / "project/llterm.toml", "[models.mine]\npath = 'm/a.gguf'\nthreads = 3\n")
    model = load(home).models["mine"]
    assert model.path == home / "project" / "m" / "a.gguf"
    assert (model.threads, model.context, model.batch) == (3, None, 512)


def test_a_bundled_model_takes_settings_without_a_path(home: Path) -> None:
    write(home / "user/llterm.toml", "[models.fable]\ncontext = 256\n")
    assert load(home).models["fable"].context == 256


@pytest.mark.parametrize("quotes", ['"weave.stop" = "f6"', 'weave.stop = ["f6"]'])
def test_keys_with_and_without_quotes(home: Path, quotes: str) -> None:
    text = '[keys]\n"weave.grow" = "alt+9,ctrl+o"\n"app.jump" = "f20"\n' + quotes
    write(home / "user/llterm.toml", text)
    assert load(home).keys["weave.stop"] == "f6"


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("LLTERM_WEAVE_DEPHT", "3", "LLTERM_WEAVE_DEPTH"),
        ("LLTERM_WEAVE_DEPTH", "many", "1 to 500"),
        ("LLTERM_WEAVE_HEAL", "perhaps", "yes or no"),
        ("LLTERM_UI_COLOR", "purple", "truecolor"),
    ],
)
def test_wrong_variables_are_named(home: Path, name: str, text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environment={name: text}, folder=home)
    assert name in caught.value.title
    assert hint in caught.value.hint


def test_foreign_variables_are_none_of_its_business(home: Path) -> None:
    assert load(home, LLTERM_BUILD_NUMBER="17").weave == WeaveSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weave.depth", 0),
        ("weave.depth", 501),
        ("weave.beams", 10**9),
        ("weave.beams", -1),
        ("weave.cutoff", 2.0),
        ("weave.cutoff", float("nan")),
        ("weave.multiplier", float("inf")),
        ("weave.multiplier", 0.0),
        ("weave.split_limit", -1),
        ("weave.budget", 0),
        ("weave.stop", [""]),
    ],
)
def test_absurd_settings_are_refused(home: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home, {name: value})
    assert caught.value.title.startswith("Wrong value for --")
    assert caught.value.hint


def test_a_kept_choice_that_no_longer_fits_is_passed_over(home: Path) -> None:
    config = load_config(
        environment={}, folder=home, state={"weave.depth": 10**6, "gone.setting": 1}
    )
    assert config.weave == WeaveSettings()
    assert len(config.notices) == 2
