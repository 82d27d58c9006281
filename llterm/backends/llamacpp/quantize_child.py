"""The child process that quantises.

llama.cpp's quantiser cannot be stopped and may crash; in a process of its own both are harmless.
Writes `done total` a tensor to stdout, and llama.cpp's complaints to stderr.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

from llterm.child_processes import end_with_the_parent

_STEP = re.compile(r"\[ *(\d+)/ *(\d+)\]")
_ERROR = 4


def main() -> int:
    """Source, target, file type, threads, and whether quantised tensors may be quantised again."""
    source, target, kind, threads, again = sys.argv[1:]
    end_with_the_parent()
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
