"""Files in which llterm remembers something may hold anything: it is as if there were none."""

from __future__ import annotations

import ast
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import llterm
from llterm import paths, served_addresses
from llterm.backends import caches
from llterm.backends.llamacpp import kernel_trial, model_trial
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.backends.remote import server_memory
from llterm.jobs.batch_output import BatchFiles, begun_run
from llterm.json_file import keep_json, read_json
from llterm.session import loom_models, looms
from tests.helpers.bundled_model import BUNDLED

MOST = 1 << 20
_FINGERPRINT = "0123456789abcdef"
BROKEN = (b"", b"\xff{", b"[1", b"[" * 200_000, b"[" * 500 + b"]" * 500, b"9" * 5_000, b" " * MOST)


def _deleted(path: Path) -> object:
    trash = paths.data_dir() / "trash"
    trash.mkdir(parents=True, exist_ok=True)
    (trash / "a.loom").touch()
    path.rename(trash / "a.json")
    try:
        return looms.deleted()
    finally:
        (trash / "a.loom").unlink()
        (trash / "a.json").unlink()


def _recent(path: Path) -> object:
    keep_json(paths.state_dir() / "recent.json", [])
    path.rename(paths.state_dir() / "recent.json")
    return looms.recent_looms()


def _chosen(path: Path) -> object:
    keep_json(paths.state_dir() / "loom-models.json", {})
    path.rename(paths.state_dir() / "loom-models.json")
    return loom_models.chosen_model(Path("a.loom"))


def _tried(path: Path) -> object:
    keep_json(paths.tried_file(), [])
    path.rename(paths.tried_file())
    return model_trial.remembered()


def _kernels(path: Path) -> object:
    keep_json(paths.kernels_file(), [])
    path.rename(paths.kernels_file())
    return kernel_trial.remembered_kernels(BUNDLED, LlamaSettings())


def _served(path: Path) -> object:
    with served_addresses.announced("http://127.0.0.1:1", []):
        (note,) = (paths.state_dir() / "served").glob("*.json")
        note.write_bytes(path.read_bytes())
        return served_addresses.served_at(BUNDLED)


def _vocabulary(path: Path) -> object:
    server_memory.remember_vocabulary(_FINGERPRINT, {})
    path.rename(paths.state_dir() / "servers" / f"vocabulary-{_FINGERPRINT}.json")
    return server_memory.recall_vocabulary(_FINGERPRINT)


def _batch(path: Path) -> object:
    files = BatchFiles(path.with_name("out.jsonl"))
    files.results.touch()
    path.rename(files.header)
    return begun_run(files)


READERS: dict[str, Callable[[Path], object]] = {
    "served_addresses.py _read": _served,
    "jobs/batch_output.py begun_run": _batch,
    "session/loom_models.py _read": _chosen,
    "session/looms.py deleted": _deleted,
    "session/looms.py recent_looms": _recent,
    "backends/llamacpp/model_trial.py remembered": _tried,
    "backends/llamacpp/kernel_trial.py _remembered": _kernels,
    "backends/remote/server_memory.py recall": server_memory.recall,
    "backends/remote/server_memory.py recall_vocabulary": _vocabulary,
    "backends/caches.py model_layer": caches.model_layer,
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: repr(broken[:4]))
def test_what_is_broken_raises_what_its_readers_expect(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "a.json").write_bytes(broken)
    with pytest.raises((OSError, ValueError)):
        read_json(tmp_path / "a.json", MOST // 2)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("broken", [*BROKEN, b"7", b"{}"], ids=lambda broken: repr(broken[:4]))
def test_a_broken_file_is_as_good_as_none(reader: str, broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(broken)
    assert not READERS[reader](tmp_path / "file")


def test_every_reader_of_such_files_is_walked_here() -> None:
    package = Path(llterm.__file__).parent
    readers = set()
    for path in package.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            called = [one.func for one in ast.walk(function) if isinstance(one, ast.Call)]
            names = {one.id for one in called if isinstance(one, ast.Name)}
            loads = any(isinstance(one, ast.Attribute) and one.attr == "loads" for one in called)
            if "read_json" in names:
                readers.add(f"{path.relative_to(package)} {function.name}")
            assert not (loads and "read_file" in names), f"{path}: {function.name}"
    assert readers == set(READERS)


def test_what_is_kept_comes_back_and_is_the_persons_alone(tmp_path: Path) -> None:
    file = tmp_path / "below" / "a.json"
    assert keep_json(file, ["\udcff", 1])
    assert read_json(file, MOST) == ["\udcff", 1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    file.mkdir()
    assert not keep_json(file, [])
