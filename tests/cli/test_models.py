"""`llterm models …` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from llterm.backends.registry import MODELS
from tests.helpers.program import run


def test_quantise_use_and_remove(tmp_path: Path) -> None:
    made = run(tmp_path, "models", "quantize", "fable", "q4_k_m")
    path = tmp_path / "data/models/fable-q4_K_M.gguf"
    assert made.out == f"{path}\n"
    assert "llterm weave -m fable-q4_K_M" in made.err
    assert run(tmp_path, "models", "quantize", "fable", "q4_k_m").code == 2
    woven = run(tmp_path, "suggest", "-m", "fable-q4_K_M", "--prompt", "The fox", "--depth", "2")
    assert woven.code == 0
    assert run(tmp_path, "models", "remove", "fable-q4_K_M").code == 2
    assert path.exists()
    assert run(tmp_path, "models", "remove", "fable-q4_K_M", "--yes").code == 0
    assert not path.exists()
    assert run(tmp_path, "suggest", "-m", "fable-q4_K_M", "--prompt", "The fox").code == 4


def test_a_wider_type_is_said_to_grow_before_and_after(tmp_path: Path) -> None:
    small = tmp_path / "small.gguf"
    small.write_bytes((MODELS / "fable-q8_0.gguf").read_bytes())
    made = run(tmp_path, "models", "quantize", str(small), "f16", "--again")
    assert made.code == 0
    before, *_, after, use = made.err.splitlines()
    assert "it will grow" in before
    assert "It grew" in after
    assert use.startswith("Use it")
    assert "grow" not in run(tmp_path, "models", "quantize", "fable", "q8_0").err


def test_info_names_a_model_as_everything_else_does(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes((MODELS / "fable-f16.gguf").read_bytes())
    shown = run(tmp_path, "models", "info", str(file)).out.splitlines()
    info = json.loads(run(tmp_path, "models", "info", str(file), "--format", "json").out)
    woven = json.loads(
        run(tmp_path, "suggest", "-m", str(file), "--prompt", "A", "--format", "json").out
    )
    assert shown[0].split() == ["name", "mine"]
    assert shown[1].split()[0] == "title"
    assert info["name"] == woven["model"] == "mine"
    assert info["title"] not in ("", "mine")


def test_only_llterms_own_files_are_removed_unasked(tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes((MODELS / "fable-q8_0.gguf").read_bytes())
    refused = run(tmp_path, "models", "remove", "mine.gguf", "--yes")
    assert refused.code == 2
    assert "--outside" in refused.err
    assert mine.exists()
    link = tmp_path / "data/models/link.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    assert run(tmp_path, "models", "remove", "link", "--yes").code == 2
    assert mine.exists()
    assert run(tmp_path, "models", "remove", "mine.gguf", "--yes", "--outside").code == 0
    assert not mine.exists()
    blob = tmp_path / ".ollama/models/blobs" / f"sha256-{'b' * 64}"
    manifest = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/tiny/1b"
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'b' * 64}"}
    for path, data in ((blob, b"GGUF"), (manifest, json.dumps({"layers": [layer]}).encode())):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    shared = run(tmp_path, "models", "remove", "tiny:1b", "--yes", "--outside")
    assert shared.code == 2
    assert "ollama rm" in shared.err
    assert blob.exists()
    for bundled in ("fable", "scripted"):
        assert run(tmp_path, "models", "remove", bundled, "--yes", "--outside").code == 2


def test_the_list_and_info_as_json(tmp_path: Path) -> None:
    listed = json.loads(run(tmp_path, "models", "list", "--format", "json").out)
    assert listed["version"] == 1
    rows = {row["name"]: row for row in listed["models"]}
    assert rows["fable"]["default"]
    assert rows["fable"]["quantisation"] == "f16"
    assert rows["fable"]["size"] == (MODELS / "fable-f16.gguf").stat().st_size
    assert rows["scripted"]["path"] is None
    info = json.loads(run(tmp_path, "models", "info", "fable", "--format", "json").out)
    assert (info["vocabulary"], info["context"], info["predicts_text"]) == (4096, 2048, True)
    assert info["chat_template"] is None


def test_chats(tmp_path: Path) -> None:
    asked = ("--prompt", "Tell me of a fox", "--system", "Be kind", "--depth", "2")
    ran = run(tmp_path, "suggest", *asked, "--format", "json")
    printed = json.loads(ran.out)
    assert printed["chat"] == {"system": "Be kind", "message": "Tell me of a fox", "earlier": []}
    assert printed["prompt"] == ""
    assert printed["suggestions"]
    assert "the plain format was used" in ran.err
    ran = run(tmp_path, "suggest", "-", *asked, "--format", "json", stdin=b"The fox")
    assert json.loads(ran.out)["prompt"] == "The fox"
    assert run(tmp_path, "suggest", "--chat").code == 2
    assert run(tmp_path, "weave", "--chat", "--prompt", "Hello").code == 0


def test_names_of_files_are_inert(tmp_path: Path) -> None:
    evil = tmp_path / "data/models/a\x1b[31mb\n.gguf"
    evil.parent.mkdir(parents=True)
    evil.write_bytes(b"GGUF\x1b]0;x\x07")
    for format in ("text", "json"):
        ran = run(tmp_path, "models", "list", "--format", format)
        assert ran.code == 0
        assert "\x1b" not in ran.out + ran.err
    assert "a␛[31mb⏎.gguf" in run(tmp_path, "models", "list").out
