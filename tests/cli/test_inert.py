"""Nothing that strangers named reaches the terminal as anything but text."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command_lines import furnish, least, text_parameters
from tests.helpers.inert_output import HOSTILE, walk
from tests.helpers.mutated_models import gguf_header


def test_what_is_typed_comes_back_inert(tmp_path: Path) -> None:
    furnish(tmp_path)
    one_each = dict(text_parameters()).items()
    lines = [least(command, **{name: HOSTILE}) for command, name in one_each]
    lines += [["suggest", f"--{HOSTILE}"], [HOSTILE], ["config", HOSTILE]]
    walk(tmp_path, lines)


def test_what_files_say_comes_out_inert(tmp_path: Path) -> None:
    furnish(tmp_path)
    model = gguf_header(general__architecture="llama", general__name="x\x1b]52;c;aGk=\x07")
    names = [f"{HOSTILE}{suffix}" for suffix in (".gguf", ".loom", ".txt", ".json", ".toml")]
    (tmp_path / names[0]).write_bytes(model)
    (tmp_path / names[1]).write_bytes((tmp_path / "a.loom").read_bytes())
    (tmp_path / names[2]).write_text("Once upon a time \x1b]52;c;aGk=\x07\x9b31m\u202e")
    (tmp_path / names[3]).write_text('{"format": "\\u001b]52;", "\\u009b\\ud800": 1}')
    (tmp_path / names[4]).write_text('model = "\\u001b]52;c"\n"\\u202e" = 1')
    (tmp_path / "data" / "models").mkdir(parents=True)
    (tmp_path / "data" / "models" / names[0]).write_bytes(model)
    gguf, loom, text, json, toml = names
    walk(tmp_path, [
        ["models", "list"], ["models", "info", gguf], ["models", "info", gguf, "--format", "json"],
        ["doctor", gguf], ["doctor", "-m", gguf], ["doctor", loom], ["suggest", "-m", gguf, text],
        *(["suggest", "-m", "scripted", text, "--format", one] for one in ("text", "tree", "json")),
        ["sample", "-m", "scripted", text, "--tokens", "2"], ["score", "-m", "scripted", text],
        ["score", "-m", "scripted", text, "--format", "html"], ["suggest", "-m", "scripted", loom],
        ["mix", "-m", "scripted", "-m", "scripted", text, "--tokens", "2"],
        ["export", loom, "-o", HOSTILE], ["export", loom], ["import", text], ["import", json],
        ["config", "check", "--config", toml], ["config", "show", "--config", toml],
        ["config", "path", "--config", toml], ["weave", "-m", "scripted", loom],
        ["models", "remove", gguf, "--yes", "--outside"],
    ])  # fmt: skip
