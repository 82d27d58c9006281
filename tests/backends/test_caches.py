"""GGUF files in the folders of other programs: found, named, and left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.backends.caches import find_files
from llterm.backends.inventory import list_models
from llterm.backends.llamacpp.memory_estimate import fit
from llterm.backends.registry import find_model, known_models
from llterm.config import Config
from llterm.errors import ModelError
from tests.helpers.program import folders
from tests.helpers.tiny_models import tiny_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf").read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in folders(tmp_path).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME",
                 "LLAMA_CACHE", "OLLAMA_MODELS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def hugging_face(home: Path, data: bytes, name: str = "m-Q4_0.gguf") -> Path:
    """A file as Hugging Face's library keeps it: a link into the blobs."""
    base = home / ".cache/huggingface/hub/models--some--repo-GGUF"
    blob = put(base / "blobs" / ("a" * 64), data)
    link = base / "snapshots" / ("c" * 40) / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    return link


def ollama(home: Path, data: bytes, manifest: object = None) -> Path:
    """A model as Ollama keeps it: a blob that a manifest speaks of."""
    digest = "b" * 64
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "1" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + digest},
    ]
    written = {"layers": layers} if manifest is None else manifest
    base = home / ".ollama/models"
    put(base / "manifests/registry.ollama.ai/library/tiny/1b", json.dumps(written).encode())
    return put(base / "blobs" / f"sha256-{digest}", data)


def test_every_usual_place_is_searched(home: Path, model: bytes) -> None:
    files = {
        "m-Q4_0": ("Hugging Face", hugging_face(home, model)),
        "s-F16": ("LM Studio", put(home / ".lmstudio/models/a/b/s-F16.gguf", model)),
        "tiny:1b": ("Ollama", ollama(home, model)),
        "c_c-Q8_0": ("llama.cpp", put(home / ".cache/llama.cpp/c_c-Q8_0.gguf", model)),
        "own-q2_K": ("llterm", put(home / "data/models/own-q2_K.gguf", model)),
    }
    found = {one.name: (one.origin, one.path) for one in find_files()}
    assert found == files
    assert [one.name for one in known_models(Config())][3:] == [
        "own-q2_K", "m-Q4_0", "s-F16", "tiny:1b", "c_c-Q8_0",
    ]  # fmt: skip
    for name, (origin, path) in files.items():
        known = find_model(name, Config())
        assert (known.path, known.origin) == (path, origin)
    assert find_model("some/repo-GGUF:Q4_0", Config()).path == files["m-Q4_0"][1]


def test_folders_that_variables_name(home: Path, model: bytes) -> None:
    own = {
        "HF_HOME": str(home / "hf"),
        "LLAMA_CACHE": str(home / "lc"),
        "OLLAMA_MODELS": str(home / ".ollama/models"),
    }
    put(home / "hf/hub/models--a--b/snapshots/1/x.gguf", model)
    put(home / "lc/y.gguf", model)
    ollama(home, model)
    assert [one.name for one in find_files(own, home)] == ["x", "tiny:1b", "y"]
    put(home / ".lmstudio-home-pointer", str(home / "studio").encode())
    put(home / "studio/models/z.gguf", model)
    assert "z" in {one.name for one in find_files({}, home)}


def test_one_name_for_several_files_is_told(home: Path, model: bytes) -> None:
    first = put(home / ".lmstudio/models/a/one/same.gguf", model)
    second = put(home / ".lmstudio/models/a/two/same.gguf", model)
    with pytest.raises(ModelError, match="same means 2 models") as raised:
        find_model("same", Config())
    assert "a/one/same" in raised.value.hint
    assert find_model("a/one/same", Config()).path == first
    hugging_face(home, model, "other.gguf").rename(
        put(home / ".cache/huggingface/hub/models--a--two/snapshots/1/same.gguf", b"")
    )
    names = [one.name for one in known_models(Config())]
    assert len(names) == len(set(names))
    assert find_model("lm-studio:a/two/same", Config()).path == second
    for one in known_models(Config())[3:]:
        assert find_model(one.name, Config()).path == one.path


def test_a_name_of_ours_is_never_taken_by_a_file(home: Path, model: bytes) -> None:
    put(home / ".lmstudio/models/a/b/fable.gguf", model)
    assert find_model("fable", Config()).kind == "bundled"
    assert find_model("a/b/fable", Config()).kind == "found"
    assert [one.name for one in known_models(Config())][-1] == "a/b/fable"


def test_companions_parts_and_wrecks_are_no_models(home: Path, model: bytes) -> None:
    folder = home / ".lmstudio/models/a/b"
    parts = ("m-00001-of-00002", "m-00002-of-00002", "lone-00001-of-00003", "late-00002-of-00002")
    for name in (*parts, "mmproj-m", "x.gguf.part"):
        put(folder / (name if name.endswith(".part") else f"{name}.gguf"), model)
    (folder / "nowhere.gguf").symlink_to(home / "gone")
    (found,) = find_files()
    assert (found.name, found.size) == ("m", 2 * len(model))
    outside = {"mediaType": "x.image.model", "digest": "../.."}
    wrecks: tuple[object, ...] = ([], {"layers": 3}, {"layers": [outside]})
    for broken in wrecks:
        ollama(home, model, broken)
        assert len(find_files()) == 1


def test_the_list_looks_into_the_files(home: Path, model: bytes) -> None:
    put(home / "data/models/tiny-q4_0.gguf", model)
    put(home / "data/models/broken.gguf", b"GGUF")
    put(home / "data/models/page.gguf", b"<html>")
    rows = {one.known.name: one for one in list_models(Config())}
    tiny = rows["tiny-q4_0"]
    assert (tiny.size, tiny.quantisation, tiny.architecture) == (len(model), "f32", "llama")
    assert tiny.context == 512
    assert tiny.needs > tiny.size
    assert tiny.fit == "fits"
    assert "damaged" in rows["broken"].problem
    assert "not a GGUF" in rows["page"].problem


def test_memory() -> None:
    assert fit(10, 100) == "fits"
    assert fit(90, 100) == "tight"
    assert fit(101, 100) == "too large"
    assert fit(10, 0) == "unknown"
