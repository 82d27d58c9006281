"""Files in llterm's own folder of models: how large, where a new one goes, which may be removed."""

from __future__ import annotations

from pathlib import Path

from llterm import paths
from llterm.backends.caches import find_files, model_name, parts_of, quantisation_of
from llterm.backends.registry import KnownModel, named, taken_names
from llterm.config import Config
from llterm.errors import LltermError, ModelError, UsageError, reason

_SHARED = {"Ollama": "ollama rm", "Hugging Face": "hf cache rm"}
"""Programs that keep a model in more than its file."""


def typed_name(path: Path, config: Config) -> str:
    """What goes after `-m` for the model in this file."""
    names = named(find_files(), taken_names(config))
    return next((name for name, file in names.items() if file.path == path), str(path))


def quantized_path(known: KnownModel, kind: str) -> Path:
    """Where this model goes in another quantisation: its name without the one that it has now."""
    assert known.path is not None
    name = known.name if known.kind == "bundled" else model_name(known.path)
    name = "".join(filter(str.isprintable, name))
    quantisation = quantisation_of(name)
    if quantisation:
        name = name.removesuffix(quantisation).rstrip("-._") or name
    return paths.models_dir() / f"{name}-{kind}.gguf"


def removable_files(name: str, known: KnownModel, *, outside: bool) -> list[Path]:
    """The files of a model that the person calls `name`, where llterm may delete them.

    `outside`: also where they are not in llterm's own folder. Raises UsageError for what is not
    llterm's to delete, ModelError where there is no file.
    """
    if known.path is None or known.kind == "bundled":
        why = "It has no file." if known.kind == "configured" else "It comes with llterm."
        raise UsageError(f"{name} is not to be removed", why, "")
    files = [path for path in parts_of(known.path) if path.exists()]
    if not files:
        raise ModelError(f"There is no file {known.path}", "", "Nothing was removed.")
    if known.origin in _SHARED:
        raise UsageError(
            f"{name} is kept by {known.origin}",
            "Its file is one of several that belong together there.",
            f"Remove it with its own program: {_SHARED[known.origin]}.",
        )
    own = paths.models_dir().resolve()
    if not outside and not all(own in path.resolve().parents for path in files):
        whose = f"kept by {known.origin}" if known.origin else "a file of yours"
        raise UsageError(
            f"{name} is not llterm's own",
            f"{files[0]} is {whose}.",
            "Remove it there, or say that you mean it with --outside.",
        )
    return files


def remove_files(files: list[Path]) -> None:
    """Delete the parts of one model, and folders of llterm's own that are empty then.

    Raises LltermError.
    """
    try:
        for path in files:
            path.unlink()
    except OSError as error:
        raise LltermError(
            f"{path} could not be removed", f"{reason(error)}.", "Check the permissions."
        ) from error
    folder, own = files[0].parent.resolve(), paths.models_dir().resolve()
    while own in folder.parents and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
