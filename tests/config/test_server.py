"""Models on servers: what their settings may be, and whose file may say where a key goes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import typer

from llterm.backends.registry import find_model
from llterm.cli.app import app
from llterm.config import Config, load_config
from llterm.config.example import example
from llterm.config.schema import SERVER
from llterm.config.server_settings import is_loopback, is_near, keeps_secrets
from llterm.config.trust import distrust, is_trusted, trust
from llterm.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("config", "state"):
        monkeypatch.setenv(f"LLTERM_{name.upper()}_DIR", str(tmp_path / name))
        (tmp_path / name).mkdir()
    (tmp_path / "project" / "deep").mkdir(parents=True)
    return tmp_path


def read(home: Path, text: str) -> Config:
    path = home / "some.toml"
    path.write_text(text, "utf-8")
    return load_config(file=path, environment={})


def project(home: Path, text: str) -> Config:
    (home / "project/llterm.toml").write_text(text, "utf-8")
    return load_config(environment={}, folder=home / "project/deep")


def test_a_server_with_everything(home: Path) -> None:
    config = read(
        home,
        '[models.work]\nbase_url = ["https://a.example", "https://b.example/v1"]\n'
        'dialect = "vllm"\nmodel = "big"\nparallel = 8\nkey_file = "keys/work"\ntimeout = 60\n'
        'proxy = "http://proxy.example:3128"\nprice_prompt = 0.5\ncontext = 4096\n',
    )
    model = config.models["work"]
    assert (model.path, model.context) == (None, 4096)
    server = model.server
    assert server is not None
    assert server.base_url == ("https://a.example", "https://b.example/v1")
    assert (server.dialect, server.model, server.parallel) == ("vllm", "big", 8)
    assert (server.timeout, server.connect_timeout, server.price_prompt) == (60.0, 5.0, 0.5)
    assert server.key_file == home / "keys/work"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('base_url = "host:8080"', 2, "http://"),
        ('base_url = "ftp://host"', 2, "http://"),
        ('base_url = "http://"', 2, "no host"),
        ('base_url = "http://h:99999"', 2, "base_url"),
        ('base_url = "http://ex ample"', 2, "no host"),
        ('base_url = "https://me:secret@host"', 2, "key_env"),
        ('base_url = "https://host/v1?key=secret"', 2, "key_env"),
        ("base_url = []", 2, "names none"),
        ('base_url = ["http://a", "http://a/"]', 2, "twice"),
        ('base_url = ["http://a", 3]', 2, "text"),
        ('base_url = "http://a"\npath = "a.gguf"', 3, "does not go with base_url"),
        ('path = "a.gguf"\nkey_env = "K"', 3, "needs a base_url"),
        ('base_url = "http://a"\nthreads = 2', 3, "does not go with base_url"),
        ('base_url = "https://a"\nkey_env = "A"\nkey_file = "b"', 4, "Keep one"),
        ('base_url = "https://a"\ndialect = "klingon"', 3, "vllm"),
        ('base_url = "https://a"\napi_key = "secret"', 3, "api_key"),
        ('base_url = "https://a"\nproxy = "http://me:secret@p"', 3, "proxy"),
        ('base_url = "https://a"\ntimeout = 0', 3, "above 0"),
        ('base_url = "https://a"\nkey_env = "sk-secret-1"', 3, "variable"),
        ("dialect = 'vllm'", 2, "needs a base_url"),
        ("context = 100", 1, "no path and no base_url"),
    ],
)
def test_a_mistake_names_its_line_and_shows_no_secret(
    home: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(home, f"[models.m]\n{text}\n")
    assert words in str(caught.value)
    assert f"some.toml, line {line}" in str(caught.value) or f"some.toml:{line}" in str(
        caught.value
    )
    assert "secret" not in str(caught.value)


def test_a_key_over_plain_http_to_another_machine_needs_a_clear_yes(home: Path) -> None:
    text = '[models.m]\nkey_env = "K"\nbase_url = ["http://127.0.0.1:1", "http://10.0.0.7:8080"]\n'
    with pytest.raises(ConfigError, match=r"10\.0\.0\.7"):
        read(home, text)
    assert read(home, text + "insecure_key = true\n").models["m"].server


def test_which_addresses_are_near() -> None:
    loopback = [
        "http://localhost:1/v1",
        "http://127.8.0.1",
        "http://[::1]:80",
        "http://a.LocalHost.",
    ]
    near = ["http://192.168.1.5", "http://10.1.2.3:8080"]
    far = ["http://8.8.8.8", "http://localhost.example.org", "http://127.0.0.1.example", "http://w"]
    assert all(is_loopback(url) and is_near(url) and keeps_secrets(url) for url in loopback)
    assert all(is_near(url) and not is_loopback(url) for url in near)
    assert not any(is_near(url) or keeps_secrets(url) for url in far)
    assert keeps_secrets("https://8.8.8.8")


@pytest.mark.parametrize("setting", ['key_env = "K"', 'proxy = "http://p"', "insecure_key = true"])
def test_a_strangers_project_cannot_say_where_keys_go(home: Path, setting: str) -> None:
    mine = '[models.work]\nbase_url = "https://mine.example"\nkey_env = "MY_KEY"\n'
    (home / "config/llterm.toml").write_text(mine, "utf-8")
    text = f'[weave]\ndepth = 3\n[models.work]\nbase_url = "https://thief.example"\n{setting}\n'
    config = project(home, text)
    server = config.models["work"].server
    assert server is not None
    assert (server.base_url, server.key_env) == (("https://mine.example",), "MY_KEY")
    assert config.weave.depth == 3, "the rest of the file counts"
    (notice,) = config.notices
    assert "[models.work]" in notice
    assert "base_url" in notice
    assert f"llterm config trust {home}/project" in notice


@pytest.mark.parametrize("address", ["http://thief.example", "HTTPS://thief.example/v1"])
def test_a_strangers_project_cannot_choose_an_address_as_the_model(
    home: Path, address: str
) -> None:
    config = project(home, f'model = "{address}"\n')
    assert config.model == Config().model
    assert "model in" in config.notices[0]
    trust(home / "project")
    assert project(home, f'model = "{address}"\n').model == address


def test_a_folder_is_trusted_until_that_is_taken_back(home: Path) -> None:
    text = '[models.team]\nbase_url = "https://team.example"\nkey_env = "TEAM_KEY"\n'
    assert "team" not in project(home, text).models
    folder = home / "project"
    trust(folder)
    trust(home / "other")
    assert project(home, text).models["team"].server
    assert not project(home, text).notices
    assert not is_trusted(folder / "deep")
    distrust(folder)
    assert "team" not in project(home, text).models
    assert is_trusted(home / "other")


def test_a_model_in_a_file_needs_no_trust(home: Path) -> None:
    config = project(home, '[models.own]\npath = "own.gguf"\n')
    assert config.models["own"].path == home / "project/own.gguf"
    assert not config.notices


def test_every_setting_of_a_server_stands_in_the_example_and_is_valid(home: Path) -> None:
    block = example().partition("# [models.OTHER]\n")[2].partition("\n\n")[0]
    lines = [line.removeprefix("# ") for line in block.splitlines()]
    settings = [line for line in lines if line.partition(" = ")[0] in {row.name for row in SERVER}]
    assert [next(iter(tomllib.loads(line))) for line in settings] == [row.name for row in SERVER]
    sources = ("key_file", "key_command")
    kept = [line for line in settings if not line.startswith(sources)]
    assert read(home, "[models.other]\n" + "\n".join(kept)).models["other"].server


def test_the_limit_of_requests_a_flag_before_a_variable_before_files(home: Path) -> None:
    """Whatever names the server, and of each what is said most closely."""
    path = home / "some.toml"
    path.write_text(
        'parallel = 5\n[models.own]\nbase_url = "https://a.example"\nparallel = 8\n'
        '[models.plain]\nbase_url = "https://b.example"\n'
    )

    def limits(flags: dict[str, object], **environment: str) -> list[int | None]:
        config = load_config(flags, path, environment=environment)
        names = ("own", "plain", "https://c.example")
        found = [find_model(name, config).settings.server for name in names]
        return [server.parallel if server else None for server in found]

    assert limits({}) == [8, 5, 5]
    assert limits({}, LLTERM_PARALLEL="3") == [3, 3, 3]
    assert limits({"parallel": 2}, LLTERM_PARALLEL="3") == [2, 2, 2]
    assert limits({"parallel": None}, LLTERM_PARALLEL="") == [8, 5, 5]
    with pytest.raises(ConfigError):
        limits({}, LLTERM_PARALLEL="0")


def test_every_command_that_opens_a_server_takes_the_limit() -> None:
    """A command that names the model that it opens for its answers."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    flags = {
        name: {flag for one in command.params for flag in one.opts}
        for name, command in group.commands.items()
    }
    opening = {name for name, known in flags.items() if "--model" in known}
    assert opening >= {"weave", "suggest", "sample", "mix", "score", "doctor"}
    assert {name for name in opening if "--parallel" not in flags[name]} == set()
