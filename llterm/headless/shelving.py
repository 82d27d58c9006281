"""`llterm models pull`, `quantize` and `remove`: what changes llterm's own folder of models."""

from __future__ import annotations

import sys
from pathlib import Path

from llterm import paths
from llterm.backends.caches import find_files, model_name, parts_of, quantisation_of
from llterm.backends.hub import choose_model, read_reference, remote_models
from llterm.backends.inventory import size_text
from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.llamacpp.quantize import expected_size, file_type, quantize
from llterm.backends.pull import here_already, pull
from llterm.backends.registry import Known, find_model, named, taken_names
from llterm.config import Config
from llterm.errors import Interrupted, LltermError, ModelError, UsageError, reason
from llterm.output import say, say_drawn
from llterm.progress_line import ProgressLine

_SHARED = {"Ollama": "ollama rm", "Hugging Face": "hf cache rm"}
"""Programs that keep a model in more than its file."""


def pull_model(text: str, config: Config) -> Path:
    """Fetch a model from the hub; where it lies then. Raises LltermError, Interrupted on ctrl+c."""
    model = choose_model(read_reference(text), remote_models(read_reference(text).repository))
    there = here_already(model)
    if there is not None:
        say(f"{model.reference} is on this machine already.")
        _say_name(there, config)
        return there
    say(f"Pulling {model.reference}: {size_text(model.size)}")
    line = ProgressLine()
    here = 0

    def tell(done: int, total: int) -> None:
        nonlocal here
        here = done
        line.say(f"{done / max(total, 1):.0%} of {size_text(total)}")

    try:
        path = pull(model, tell)
    except KeyboardInterrupt:
        raise Interrupted(
            "The pull was stopped",
            f"{size_text(here)} of {size_text(model.size)} are here.",
            "The same command goes on from there.",
        ) from None
    finally:
        line.clear()
    _say_name(path, config)
    return path


def quantise_model(
    name: str,
    kind: str,
    config: Config,
    *,
    output: Path | None,
    again: bool,
    threads: int | None,
) -> Path:
    """Write a model in another quantisation; where it lies.

    Raises LltermError, Interrupted on ctrl+c.
    """
    kind = file_type(kind)
    known = find_model(name, config)
    if known.path is None:
        raise UsageError(f"{name} has no file", "", "It cannot be quantised.")
    target = output or paths.models_dir() / f"{_base_name(known)}-{kind}.gguf"
    if target.is_dir():
        raise UsageError(f"{target} is a folder", "", "Name the file to write.")
    info = inspect_gguf(known.path)
    before = _size(known.path)
    if not target.exists() and expected_size(info, kind) > before:
        say(
            f"{kind} is wider than what the file has ({info.quantisation}): it will grow, and gain "
            "nothing, for what was rounded away does not come back."
        )
    line = ProgressLine()
    try:
        quantize(
            known.path,
            target,
            kind,
            again=again,
            threads=threads,
            progress=lambda share: line.say(f"Quantising to {kind}: {share:.0%}"),
        )
    except KeyboardInterrupt:
        raise Interrupted("Quantising was stopped", "Nothing was written.") from None
    finally:
        line.clear()
    after = _size(target)
    grown = " It grew: the file before is the smaller one." if after > before else ""
    say(f"{size_text(before)} became {size_text(after)}.{grown}")
    _say_name(target, config)
    return target


def remove_model(name: str, config: Config, *, yes: bool, outside: bool) -> None:
    """Delete a model's files, after a yes. Raises UsageError for what is not llterm's to delete."""
    known = find_model(name, config)
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
        raise UsageError(
            f"{name} is not llterm's own",
            f"{files[0]} is {_whose(known)}.",
            "Remove it there, or say that you mean it with --outside.",
        )
    size = sum(path.stat().st_size for path in files)
    what = "\n".join(f"  {path}" for path in files)
    say(f"To be removed ({size_text(size)}):\n{what}")
    if not yes and not _confirmed():
        raise LltermError("Nothing was removed", "", "")
    try:
        for path in files:
            path.unlink()
    except OSError as error:
        raise LltermError(
            f"{path} could not be removed", f"{reason(error)}.", "Check the permissions."
        ) from error
    _tidy(files[0].parent, own)
    say("Removed.")


def _size(path: Path) -> int:
    """Bytes of a model's file, all its parts together."""
    return sum(part.stat().st_size for part in parts_of(path))


def _base_name(known: Known) -> str:
    """The model's name without the quantisation that its file has now."""
    assert known.path is not None
    name = known.name if known.kind == "bundled" else model_name(known.path)
    name = "".join(filter(str.isprintable, name))
    quantisation = quantisation_of(name)
    return name.removesuffix(quantisation).rstrip("-._") or name if quantisation else name


def _whose(known: Known) -> str:
    return f"kept by {known.origin}" if known.origin else "a file of yours"


def _confirmed() -> bool:
    """A yes from the person. Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("Nobody can be asked here", "", "Say --yes to remove without a question.")
    say_drawn("Remove? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tidy(folder: Path, top: Path) -> None:
    """Remove folders that are empty now, up to llterm's own."""
    folder = folder.resolve()
    while folder != top and top in folder.parents and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _say_name(path: Path, config: Config) -> None:
    """How the model is called from now on."""
    names = named(find_files(), taken_names(config))
    name = next((name for name, one in names.items() if one.path == path), str(path))
    say(f"Use it: llterm weave -m {name}")
