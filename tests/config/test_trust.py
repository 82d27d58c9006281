"""A stranger's llterm.toml: what each setting could do, and that it counts only with trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.config import Config, load_config
from llterm.config.example import literal
from llterm.config.schema import FORMAT, MODEL, SERVER, TABLES
from llterm.config.setting import Setting, Value
from llterm.config.setting_powers import POWERS
from llterm.config.trust import trust

SERVER_AT = 'base_url = "https://thief.example"\n'
GUARDED: dict[str, str] = {
    "model": 'model = "http://thief.example"',
    "mix.models": '[mix]\nmodels = ["fable", "http://thief.example"]',
    "store.backups": "[store]\nbackups = 1",
    "serve.models": '[serve]\nmodels = ["http://thief.example"]',
    "serve.alias": '[serve]\nalias = ["fable=other"]',
    "serve.host": '[serve]\nhost = "0.0.0.0"',
    "serve.port": "[serve]\nport = 80",
    "serve.socket": '[serve]\nsocket = "a.socket"',
    "serve.api_key_env": '[serve]\napi_key_env = ["HOME"]',
    "serve.admin_key_env": '[serve]\nadmin_key_env = ["HOME"]',
    "serve.looms": '[serve]\nlooms = "/"',
    "serve.configured": "[serve]\nconfigured = true",
    "serve.model_folder": '[serve]\nmodel_folder = ["/"]',
    "serve.api_key_file": '[serve]\napi_key_file = "known.key"',
    "serve.allow_host": '[serve]\nallow_host = ["thief.example"]',
    "serve.allow_origin": '[serve]\nallow_origin = ["http://thief.example"]',
    "serve.metrics": "[serve]\nmetrics = true",
    "serve.body_bytes": "[serve]\nbody_bytes = 1073741824",
    "serve.connections": "[serve]\nconnections = 65536",
    **{
        f"serve.{name}_seconds": f"[serve]\n{name}_seconds = 3600.0"
        for name in ("head", "idle", "stalled", "request", "drain")
    },
    "ui.auto_weave": "[ui]\nauto_weave = true",
    "keys.*": '[keys]\n"weave.start" = "ctrl+j,f18"',
    "models.chat_template_file": '[models.fable]\nchat_template_file = "own.jinja"',
    "models.path": '[models.m]\npath = "../elsewhere.gguf"',
    "models.draft": '[models.fable]\ndraft = "../elsewhere.gguf"',
    "models.base_url": f"[models.m]\n{SERVER_AT}",
    "models.key_env": f'[models.m]\n{SERVER_AT}key_env = "HOME"',
    "models.key_file": f'[models.m]\n{SERVER_AT}key_file = "~/.ssh/id_rsa"',
    "models.key_command": f'[models.m]\n{SERVER_AT}key_command = ["rm", "x"]',
    "models.insecure_key": f"[models.m]\n{SERVER_AT}insecure_key = true",
    "models.proxy": f'[models.m]\n{SERVER_AT}proxy = "http://thief.example"',
    "models.ca_file": f'[models.m]\n{SERVER_AT}ca_file = "own.pem"',
}
"""What a stranger might write, by the setting's name in `POWERS`."""
ROWS: dict[str, Setting] = {
    **{f"{table}.{row.name}".lstrip("."): row for table, rows in TABLES.items() for row in rows},
    **{f"models.{row.name}": row for row in (*SERVER, *MODEL)},
    **{f"formats.{row.name}": row for row in FORMAT},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("config", "state"):
        monkeypatch.setenv(f"LLTERM_{name.upper()}_DIR", str(tmp_path / name))
        (tmp_path / name).mkdir()
    (tmp_path / "project").mkdir()
    return tmp_path


def project(home: Path, text: str) -> Config:
    (home / "project/llterm.toml").write_text(text, "utf-8")
    return load_config(environment={}, folder=home / "project")


def test_every_setting_has_its_class() -> None:
    assert {*POWERS} == {*ROWS, "keys.*"}


@pytest.mark.parametrize("name", [name for name, power in POWERS.items() if power != "harmless"])
def test_what_is_guarded_counts_only_with_trust(home: Path, name: str) -> None:
    text = GUARDED[name]
    config = project(home, f"{text}\n[weave]\ndepth = 3\n")
    assert {*config.origins} == {"weave.depth"}, "the rest of the file counts"
    assert not config.models
    assert not config.keys
    (notice,) = config.notices
    assert f"llterm config trust {home}/project" in notice
    trust(home / "project")
    config = project(home, f"{text}\n[weave]\ndepth = 3\n")
    assert len(config.origins) > 1
    assert not config.notices


def harmless(row: Setting) -> Value:
    if row.kind == "yes or no":
        return not row.default
    if row.kind == "text":
        return row.default or "x"
    if row.kind == "list of numbers":
        return (1.5, 0.0)
    return (row.choices or ("x=1",)) if row.kind == "list of texts" else row.high


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, power in POWERS.items()
        if power == "harmless" and ROWS[name] not in SERVER and name != "models.chat_template"
    ],
)
def test_what_is_harmless_counts_at_once(home: Path, name: str) -> None:
    row, (table, _, key) = ROWS[name], name.rpartition(".")
    value = harmless(row)
    head = {"models": "models.fable", "formats": "formats.own"}.get(table, table)
    more = 'user_start = ">"\n' if table == "formats" and key != "user_start" else ""
    heading = f"[{head}]\n" if head else ""
    config = project(home, f"{heading}{key} = {literal(value)}\n{more}")
    assert (f"{head}.{key}" if head else key) in config.origins
    assert not config.notices


@pytest.mark.parametrize("text", ['model = "work"', '[mix]\nmodels = ["fable", "work"]'])
def test_a_stranger_does_not_choose_the_persons_own_server(home: Path, text: str) -> None:
    (home / "config/llterm.toml").write_text('[models.work]\nbase_url = "https://mine.example"\n')
    config = project(home, text)
    assert (config.model, config.mix.models) == (Config().model, ())
    assert "your server work" in config.notices[0]


@pytest.mark.parametrize("path", ["/dev/zero", "../a.gguf", "~/a.gguf", "x/../../a.gguf", "out/a"])
@pytest.mark.parametrize(
    "text", ["model = '{}'", "[mix]\nmodels = ['{}']", "[models.m]\npath='{}'"]
)
def test_files_elsewhere_need_trust(home: Path, text: str, path: str) -> None:
    (home / "project/out").symlink_to("/usr")
    config = project(home, text.format(path))
    assert not config.origins
    assert "outside the folder" in config.notices[0]
    assert not project(home, text.format("models/a.gguf")).notices


def test_what_the_person_says_needs_no_trust(home: Path) -> None:
    text = f"[store]\nbackups = 1\n[models.m]\n{SERVER_AT}"
    named = home / "named.toml"
    named.write_text(text)
    assert load_config(file=named, environment={}).store.backups == 1
    environment = {"LLTERM_STORE_BACKUPS": "2", "LLTERM_MODEL": "http://mine.example"}
    config = load_config(environment=environment, folder=home)
    assert (config.store.backups, config.model) == (2, "http://mine.example")
    assert load_config({"model": "http://b.example"}, environment={}).model == "http://b.example"
