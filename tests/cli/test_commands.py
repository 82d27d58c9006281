"""The commands that are no search: what they print, and that they leave things alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.server import server
from llterm.config.example import example
from llterm.session.stories import STORIES
from llterm.version import __version__
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program import run


def test_version_and_help(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").out == f"llterm {__version__}\n"
    ran = run(tmp_path, "--help")
    assert ran.code == 0
    for command in ("weave", "suggest", "models", "config", "keys", "doctor"):
        assert f"\n  {command} " in ran.out
    assert not any(tmp_path.iterdir())


def test_config_init_writes_the_example_once(tmp_path: Path) -> None:
    ran = run(tmp_path, "config", "init")
    path = tmp_path / "config" / "llterm.toml"
    assert str(path) in ran.out
    assert path.read_text("utf-8") == example()
    path.write_text("[weave]\ndepth = 3\n")
    assert run(tmp_path, "config", "init").code == 2
    assert path.read_text("utf-8") == "[weave]\ndepth = 3\n"


def test_config_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "llterm.toml").write_text("[weave]\ndepth = 3\n[models.my]\npath = 'a.gguf'\n")
    ran = run(tmp_path, "config", "show", "--origin", LLTERM_WEAVE_BEAMS="4")
    lines = {line.partition(" ")[0]: line for line in ran.out.splitlines()}
    assert lines["depth"].endswith(f"# file {tmp_path}/llterm.toml:2")
    assert lines["beams"].endswith("# environment LLTERM_WEAVE_BEAMS")
    assert lines["cutoff"].endswith("# default")
    assert lines["path"].endswith("llterm.toml:4")
    assert run(tmp_path, "config", "path").out.splitlines()[-1] == f"{tmp_path}/llterm.toml"


def test_what_config_show_prints_is_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(run(tmp_path, "config", "show").out)
    assert run(tmp_path, "config", "check", "--config", "own.toml").code == 0


def test_models(tmp_path: Path) -> None:
    (tmp_path / "llterm.toml").write_text("[models.mine]\npath = 'gone.gguf'\n")
    ran = run(tmp_path, "models", "list")
    assert ran.code == 0
    names = [line.split()[0] for line in ran.out.splitlines()]
    assert names == ["fable", "fable-q8_0", "mine", "scripted"]
    info = run(tmp_path, "models", "info", "fable").out
    assert "f16" in info
    assert "llama" in info


def test_doctor(tmp_path: Path) -> None:
    ran = run(tmp_path, "doctor")
    assert ran.code == 0
    for word in ("version", "TERM", "colours", "looms", "opens in", "answers"):
        assert word in ran.out
    broken = run(tmp_path, "doctor", "-m", "gone.gguf")
    assert broken.code == 4
    assert "gone.gguf" in broken.out


def test_doctor_looks_at_a_loom(tmp_path: Path) -> None:
    from llterm.session.document import Document

    Document.create(tmp_path / "a.loom", b"three little words").close()
    assert "sound; a story of 3 words" in run(tmp_path, "doctor", "a.loom").out


@pytest.mark.server
def test_doctor_tells_of_a_server_row_by_row(tmp_path: Path) -> None:
    with server(BUNDLED, 1) as (host, port):
        url = f"http://{host}:{port}"
        (tmp_path / "llterm.toml").write_text(f'[models.near]\nbase_url = "{url}"\n')
        for named in ((url,), ("-m", "near", "--config", "llterm.toml")):
            ran = run(tmp_path, "doctor", *named)
            assert ran.code == 0, ran.err
            rows = dict(line.split("  ", 1) for line in ran.out.splitlines())
            values = {label.strip(): value.strip() for label, value in rows.items()}
            assert values["dialect"] == "llama"
            assert values["token ids"] == "in and out"
            assert values["vocabulary"] == "all 4,096 tokens"
            assert values["answers"].startswith("yes, with 64 candidates")
            assert values["cache is used"].startswith("yes")


def test_a_server_that_is_not_there_is_no_fault_of_the_installation(tmp_path: Path) -> None:
    ran = run(tmp_path, "doctor", "http://127.0.0.1:9")
    assert ran.code == 3
    assert "No connection to http://127.0.0.1:9" in ran.err


def test_weave_without_a_terminal_does_one_weave(tmp_path: Path) -> None:
    ran = run(tmp_path, "weave")
    assert ran.code == 0
    assert STORIES[0].title in ran.err
    assert "fable: " in ran.err
    assert "because the input is not a terminal" in ran.err
    assert len(ran.out.splitlines()) >= 3
    assert run(tmp_path).out == ran.out


def test_weave_without_a_terminal_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Every evening the cat")
    ran = run(tmp_path, "weave", "a.txt", "-m", "scripted")
    assert ran.code == 0
    assert "a.txt" in ran.err
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["a.txt"]


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    ran = run(
        tmp_path, _LLTERM_COMPLETE="complete_bash", COMP_WORDS="llterm ", COMP_CWORD="1"
    )  # fmt: skip
    assert "suggest" in ran.out.split()


def test_a_broken_file_of_the_apps_choices_is_nothing_to_a_command(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.toml").write_text("[")
    ran = run(tmp_path, "config", "show")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "state" / "state.toml").read_text() == "["
