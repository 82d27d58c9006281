"""Writes a model in another quantisation: llama.cpp's quantiser in a child process.

llama.cpp's quantiser cannot be stopped and may crash; the child can be stopped at any moment, and a
crash of it is only an error. What it writes is a part file until it is whole.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from llterm import child_processes, paths
from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.gguf_header import FILE_TYPES, ModelInfo, inspect_gguf
from llterm.errors import LltermError, ModelError, UsageError
from llterm.whole_file import put

BITS = {"bf16": 16.0, "f16": 16.0, "q8_0": 8.5, "q6_K": 6.6, "q5_K_M": 5.7, "q5_K_S": 5.6,
        "q5_1": 6.0, "q5_0": 5.6, "q4_K_M": 4.9, "q4_K_S": 4.6, "q4_1": 5.0, "q4_0": 4.6,
        "q3_K_L": 4.3, "q3_K_M": 4.0, "q3_K_S": 3.5, "q2_K": 3.2}  # fmt: skip
"""What can be made, and bits a weight, about, best first. Others need a matrix of importances."""
_WHOLE = ("f32", "f16", "bf16")
_STEP = re.compile(r"\[ *(\d+)/ *(\d+)\]")
_ERROR = 4
Progress = Callable[[float], None]


def file_type(name: str) -> str:
    """The quantisation that was typed, as llterm writes it. Raises UsageError."""
    known = {type_name.lower(): type_name for type_name in BITS}
    kind = known.get(name.lower())
    if kind is None:
        near = get_close_matches(name.lower(), known, 1, 0.6)
        hint = f"Did you mean {known[near[0]]}?" if near else ""
        raise UsageError(
            f"There is no quantisation {name}", f"It is one of {', '.join(BITS)}.", hint
        )
    return kind


def expected_size(info: ModelInfo, kind: str) -> int:
    """Bytes of the file that this model will be, about."""
    return int(info.parameters * BITS[kind] / 8)


def quantize(
    source: Path,
    target: Path,
    kind: str,
    *,
    again: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `target`, whole or not at all; ctrl+c stops it. `progress` is told the share done.

    With `again` a model that is quantised already may be, at a loss twice. Raises UsageError where
    the target exists, ModelError where the source cannot be quantised, LltermError without room.
    """
    info = inspect_gguf(source)
    _check(info, target, kind, again=again)
    paths.made(target.parent)
    _check_room(info, target, kind)
    part = target.with_name(f"{target.name}.part")
    try:
        code = next(number for number, name in FILE_TYPES.items() if name == kind)
        count = thread_budget.thread_count(threads)
        flag = "yes" if again else "no"
        _run(source, (str(source), str(part), str(code), str(count), flag), progress)
        put(part, target)
    except FileExistsError:
        raise UsageError(f"{target.name} exists already", "It was made meanwhile.", "") from None
    finally:
        part.unlink(missing_ok=True)


def _check(info: ModelInfo, target: Path, kind: str, *, again: bool) -> None:
    if target.exists():
        raise UsageError(
            f"{target.name} exists already",
            f"{target} is never overwritten.",
            "Name another file with --output, or remove this one first.",
        )
    if info.quantisation not in _WHOLE and not again:
        raise UsageError(
            f"{info.path.name} is quantised already",
            f"It is {info.quantisation}: rounding it once more to {kind} loses more than either.",
            "Start from the f16 or bf16 file, or take the loss with --again.",
        )


def _check_room(info: ModelInfo, target: Path, kind: str) -> None:
    wanted = expected_size(info, kind)
    free = shutil.disk_usage(target.parent).free
    if wanted > free:
        raise LltermError(
            f"There is no room for {target.name}",
            f"It will have about {wanted / 1e9:,.1f} GB; {free / 1e9:,.1f} GB are free"
            f" in {target.parent}.",
            "Make room, or name a file on another disk with --output.",
        )


def _run(source: Path, asked: tuple[str, ...], progress: Progress | None) -> None:
    """Run the child with these arguments of its `main`."""
    command = child_processes.command(__name__, *asked)
    with tempfile.TemporaryFile() as complaints:
        # A session of its own: ctrl+c comes to the parent alone, which ends the child.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )
        with child:
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    done, total = map(int, line.split())
                    if progress is not None:
                        progress(done / max(total, 1))
                status = child.wait()
            except BaseException:
                child.kill()
                raise
        if status:
            complaints.seek(0)
            raise _failed(source, status, complaints.read().decode("utf-8", "replace"))


def _failed(source: Path, status: int, complaints: str) -> ModelError:
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    if status < 0:
        cause = f"llama.cpp's quantiser crashed (signal {-status})."
    else:
        cause = f"llama.cpp says: {lines[-1]}" if lines else "llama.cpp gave no reason."
    return ModelError(
        f"{source.name} could not be quantised",
        cause,
        "See that the disk has room and the file is whole: `llterm models info` reads it.",
    )


def main() -> int:
    """The child. Its arguments: source, target, file type, threads, whether to quantise again.

    Writes `done total` a tensor to stdout, and llama.cpp's complaints to stderr.
    """
    source, target, kind, threads, again = sys.argv[1:]
    child_processes.end_with_the_parent()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import llama_cpp

    def tell(level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace")
        if step := _STEP.search(line):
            sys.stdout.write(f"{step[1]} {step[2]}\n")
            sys.stdout.flush()
        elif level == _ERROR:
            sys.stderr.write(line)

    callback = llama_cpp.llama_log_callback(tell)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = int(kind)
    params.nthread = int(threads)
    params.allow_requantize = again == "yes"
    return int(
        llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(params)
        )
    )
