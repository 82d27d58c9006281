"""What is chosen in the app for one story is in force in no other one, and in no command."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm import paths, state
from llterm.cli.settings import load, load_app
from llterm.config.schema import TABLES, Config
from llterm.config.setting import Setting
from llterm.constraints.spec import choices, constraint_text
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import Sampling
from llterm.session.document import Document
from llterm.store.stored_settings import sampling_text
from tests.helpers.full_config import everything
from tests.helpers.program import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_state(text: str) -> None:
    paths.made(paths.state_dir())
    paths.state_file().write_text(text)


def rest_of(config: Config) -> dict[str, object]:
    """A configuration less what is the person's in whichever loom: how the app looks, presets."""
    names = set(Config.__dataclass_fields__) - {"ui", "presets", "origins"}
    return {name: getattr(config, name) for name in names}


def test_no_setting_in_the_state_file_reaches_a_command_and_only_the_persons_the_app() -> None:
    before = load()
    write_state(everything().replace("models/NAME.gguf", "a.gguf"))
    every = state.read_state()
    given = {name.rpartition(".")[0] for name in (*every.values, *every.former)}
    assert {*TABLES, "presets"} <= given
    assert load() == before
    app = load_app()
    assert rest_of(app) == rest_of(before)
    assert {name.partition(".")[0] for name in app.origins} <= {"ui"}
    assert app.presets != before.presets


@pytest.mark.parametrize(
    ("table", "row"), [(table, row) for table, rows in TABLES.items() for row in rows]
)
def test_what_belongs_to_a_loom_is_never_kept_for_all(table: str, row: Setting) -> None:
    name = f"{table}.{row.name}".lstrip(".")
    if table in state.PERSONAL:
        state.keep({name: "x"})
        assert name in state.read_state().values
    else:
        with pytest.raises(ValueError, match="belongs to a loom"):
            state.keep({name: "x"})


def test_a_loom_brings_what_is_its_own_and_stderr_says_so(home: Path) -> None:
    document = Document.create(home / "a.loom", b"The old lamp")
    bans = Bans(newline=True, phrases=("river",))
    document.set_sampling(sampling_text(Sampling(bans=bans)))
    document.set_prefix("A tale of a cat.")
    document.set_constraint(constraint_text(choices([" went out", " is red"])))
    document.close()
    suggested = run(home, "suggest", "a.loom", "--format", "text")
    assert suggested.code == 0, suggested.err
    assert "went out" in suggested.out
    assert "2 bans (a.loom) · choice (a.loom)" in suggested.err
    assert "memory " in suggested.err
    other = run(home, "suggest", "a.loom", "--choice", " was blue", "--prefix", "")
    assert "was blue" in other.out
    assert "went out" not in other.out
    assert "choice (flag)" in other.err
    assert "memory" not in other.err
    mixed = run(home, "mix", "a.loom", "-m", "fable", "-m", "fable-q8_0", "--tokens", "9")
    assert mixed.out.startswith(("The old lamp went out\n", "The old lamp is red\n"))
    assert "2 bans (a.loom)" in mixed.err
    assert "choice (a.loom)" in mixed.err
    assert run(home, "sample", "a.loom", "--seed", "1").out.strip() in ("went out", "is red")
    scored = run(home, "score", "a.loom")
    assert "In force: memory (a.loom)" in scored.err
    assert scored.out != run(home, "score", "--prompt", "The old lamp").out
