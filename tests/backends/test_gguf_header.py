"""GGUF files that are missing, broken, or no text models: each a titled error, never a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llterm.backends.llamacpp import inspect_gguf, open_llama
from llterm.errors import ModelError
from tests.helpers.tiny_models import tiny_encoder, tiny_llama


def _garbled(data: bytes) -> bytes:
    return data[:24] + b"\xff" * 200 + data[224:]


WRONG: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "none.gguf",
    "folder": lambda folder: folder,
    "empty": lambda folder: _written(folder, b""),
    "text": lambda folder: _written(folder, b"Once upon a time"),
    "pickle": lambda folder: _written(folder, b"\x80\x04\x95" + b"x" * 100),
    "header only": lambda folder: _written(folder, _tiny(folder)[:40]),
    "cut in the header": lambda folder: _written(folder, _tiny(folder)[:3000]),
    "cut in the weights": lambda folder: _written(folder, _tiny(folder)[:-50_000]),
    "garbled": lambda folder: _written(folder, _garbled(_tiny(folder))),
    "old version": lambda folder: _written(folder, b"GGUF" + (1).to_bytes(4, "little") * 4),
    "huge counts": lambda folder: _written(
        folder, b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16
    ),
    "encoder": lambda folder: tiny_encoder(folder / "bert.gguf"),
}


def _tiny(folder: Path) -> bytes:
    return tiny_llama(folder / "sound.gguf").read_bytes()


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "wrong.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_file_is_a_titled_error(tmp_path: Path, kind: str) -> None:
    path = WRONG[kind](tmp_path)
    with pytest.raises(ModelError) as caught:
        await open_llama(path)
    assert caught.value.title
    assert caught.value.hint


async def test_an_unknown_architecture_is_refused_by_llama_cpp_and_said(tmp_path: Path) -> None:
    data = tiny_llama(tmp_path / "a.gguf").read_bytes()
    path = _written(tmp_path, data.replace(b"llama", b"lxama"))
    with pytest.raises(ModelError, match="could not be loaded"):
        await open_llama(path)


def test_the_header_tells_what_it_is(tmp_path: Path) -> None:
    info = inspect_gguf(tiny_llama(tmp_path / "a.gguf", context=300))
    assert (info.name, info.architecture, info.quantisation) == ("tiny-llama", "llama", "f32")
    assert (info.context, info.layers, info.embedding, info.text) == (300, 2, 64, True)
    assert info.vocabulary == 257 + 12
    assert info.parameters > 50_000


async def test_progress_is_told_and_loading_can_be_given_up(tmp_path: Path) -> None:
    shares: list[float] = []
    backend = await open_llama(tiny_llama(tmp_path / "a.gguf"), progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    await backend.close()
