"""GGUF files that are on this machine already: llterm's own folder, and what other programs keep.

Looks where Hugging Face's library, LM Studio, Ollama and llama.cpp put their downloads, at names
and sizes only; nothing there is opened or changed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from llterm import paths
from llterm.json_file import read_json
from llterm.regular_file import read_file

Environment = Mapping[str, str]
AnyPath = TypeVar("AnyPath", bound=PurePath)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
ASIDE = ("mmproj", "imatrix")
"""Companions of a model that are no model themselves."""
_QUANTISATION = re.compile(r"(?:^|[-._])((?:UD-)?(?:I?Q\d|T?Q1)_\w+|BF16|F16|F32|MXFP4\w*)$", re.I)
_POINTER = 1 << 12
_MANIFEST = 1 << 20
"""No sound manifest of Ollama's is longer."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on disk."""

    name: str
    """Its file's stem; with Ollama `model:tag`."""
    owner: str
    """`owner/repository`, where that can be told; empty otherwise."""
    path: Path
    """What llama.cpp opens: the first of several parts."""
    origin: str
    size: int
    """Bytes, of all parts."""

    @property
    def reference(self) -> str:
        """`owner/repository:quantisation`, as `models pull` takes it; empty where it has none."""
        quantisation = quantisation_of(self.name)
        return f"{self.owner}:{quantisation}" if self.owner and quantisation else ""


def find_files(
    environment: Environment | None = None, home: Path | None = None
) -> list[LocalModel]:
    """Every model found, llterm's own first; a file that two ways lead to is listed once."""
    environment = os.environ if environment is None else environment
    home = home or Path.home()
    models: dict[Path, LocalModel] = {}
    for model in (
        *_tree(paths.models_dir(), "llterm"),
        *_hugging_face(environment, home),
        *_tree(_lm_studio(home), "LM Studio"),
        *_ollama(environment, home),
        *_flat(_llama_cpp(environment, home), "llama.cpp"),
    ):
        models.setdefault(model.path.resolve(), model)
    return list(models.values())


def files_in(folder: Path) -> list[LocalModel]:
    """Every model in a folder that a person named, and in the folders below it."""
    return [model for path in _gguf(folder) for model in _found(path, "", str(folder))]


def unfinished() -> list[Path]:
    """Part files of stopped pulls in llterm's own folder; the same pull goes on from one."""
    return sorted(paths.models_dir().rglob("*.part"))


def quantisation_of(name: str) -> str:
    """The quantisation that a file's name says, such as `Q4_K_M`; empty where it says none."""
    match = _QUANTISATION.search(_SHARD.sub("", name))
    return match.group(1) if match else ""


def parts_of(path: AnyPath) -> list[AnyPath]:
    """All parts of a model that is split over several files; itself where it is one file."""
    match = _SHARD.search(path.stem)
    if match is None:
        return [path]
    stem, count = path.stem[: match.start()], match.group(2)
    return [
        path.with_name(f"{stem}-{number:05}-of-{count}{path.suffix}")
        for number in range(1, int(count) + 1)
    ]


def size_of(path: Path) -> int:
    """Bytes of a model's file, all its parts together. Raises OSError."""
    return sum(part.stat().st_size for part in parts_of(path))


def model_name(path: PurePath) -> str:
    """The name of the model in this file, without the number of its part."""
    return _SHARD.sub("", path.stem)


def _tree(folder: Path, origin: str) -> Iterator[LocalModel]:
    """Files below `folder/owner/repository`, or right in it."""
    for path in _gguf(folder):
        inside = path.relative_to(folder).parts
        yield from _found(path, "/".join(inside[:2]) if len(inside) > 2 else "", origin)


def _flat(folder: Path, origin: str) -> Iterator[LocalModel]:
    for path in _gguf(folder):
        yield from _found(path, "", origin)


def _hugging_face(environment: Environment, home: Path) -> Iterator[LocalModel]:
    """`models--owner--repository/snapshots/commit/…`, links into a folder of blobs."""
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    base = Path(environment.get("HF_HOME") or cache / "huggingface").expanduser()
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    for folder in _folders(Path(hub).expanduser() if hub else base / "hub"):
        kind, _, owner = folder.name.partition("--")
        if kind == "models":
            for snapshot in sorted(_folders(folder / "snapshots"), key=_age):
                for path in _gguf(snapshot):
                    yield from _found(path, owner.replace("--", "/"), "Hugging Face")


def _lm_studio(home: Path) -> Path:
    """Its folder of models; a file in the home folder names another place for it."""
    try:
        base = Path(os.fsdecode(read_file(home / ".lmstudio-home-pointer", _POINTER).strip()))
    except OSError:
        base = home / ".lmstudio"
    older = home / ".cache" / "lm-studio" / "models"
    return older if _folders(older) and not _folders(base / "models") else base / "models"


def _llama_cpp(environment: Environment, home: Path) -> Path:
    if own := environment.get("LLAMA_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "llama.cpp"
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "llama.cpp"


def _ollama(environment: Environment, home: Path) -> Iterator[LocalModel]:
    """`manifests/registry/namespace/model/tag` names the blob that is the model."""
    own = environment.get("OLLAMA_MODELS")
    bases = [Path(own).expanduser()] if own else [
        home / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"),
    ]  # fmt: skip
    for base in bases:
        for path in _files(base / "manifests"):
            *space, model, tag = path.relative_to(base / "manifests").parts
            digest = model_layer(path)
            blob = base / "blobs" / digest.replace(":", "-")
            if digest and space and (size := _size(blob)):
                owner = "/".join(space[1:]) if space[1:] != ["library"] else ""
                name = f"{owner}/{model}:{tag}" if owner else f"{model}:{tag}"
                yield LocalModel(name, "", blob, "Ollama", size)


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none, or it may not be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def model_layer(manifest: Path) -> str:
    """The digest of the model's own layer; empty where this is no manifest."""
    try:
        layers = read_json(manifest, _MANIFEST)["layers"]
        digest = next(
            str(layer["digest"])
            for layer in layers
            if str(layer["mediaType"]).endswith(".image.model")
        )
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return ""
    return digest if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else ""


def _found(path: Path, owner: str, origin: str) -> Iterator[LocalModel]:
    """The model that begins in this file; nothing for later parts and for companions."""
    if any(word in path.name.lower() for word in ASIDE):
        return
    parts = parts_of(path)
    try:
        if parts[0] == path:
            yield LocalModel(
                model_name(path), owner, path, origin, sum(one.stat().st_size for one in parts)
            )
    except OSError:
        return  # A part is missing, or a link leads nowhere: it cannot be opened.


def _gguf(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if path.suffix.lower() == ".gguf")


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in the order of their names; folders that cannot be read are empty."""
    for base, folders, names in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(base, name) for name in sorted(names) if not name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _age(path: Path) -> float:
    """Newest first."""
    return -path.stat().st_mtime
