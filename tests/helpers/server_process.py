"""A real llama.cpp server that can be killed and comes back at its address."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.helpers.bundled_model import BUNDLED

SERVE = """
import ast, sys, time
import xllamacpp as xlc
p = xlc.CommonParams()
p.model.path = sys.argv[1]
p.hostnames = ["127.0.0.1"]; p.port = int(sys.argv[2])
p.n_parallel = 2; p.n_ctx = 1024; p.ui = False; p.warmup = False
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
for path, value in ast.literal_eval(sys.argv[3]).items():
    *parents, name = path.split(".")
    holder = p
    for parent in parents: holder = getattr(holder, parent)
    if name == "pooling_type":
        value = getattr(xlc.llama_pooling_type, f"LLAMA_POOLING_TYPE_{value.upper()}")
    setattr(holder, name, value)
server = xlc.Server(p)
print(server.listening_address, flush=True)
while True: time.sleep(1)
"""


class Process:
    """A real llama.cpp server, on the same port each time."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        """`settings`: xllamacpp's parameters by their paths, such as `sampling.seed`;
        `pooling_type` by its name."""
        self._settings = repr(dict(settings or {}))
        self.address = ""
        self._running: subprocess.Popen[str] | None = None

    def start(self) -> None:
        port = self.address.rpartition(":")[2] or "0"
        self._running = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(BUNDLED), port, self._settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._running.stdout is not None
        lines = (line for line in self._running.stdout if line.startswith("http"))
        self.address = next(lines).strip()

    def again(self) -> None:
        """End it, and start it anew."""
        self.kill()
        self.start()

    def kill(self) -> None:
        assert self._running is not None
        self._running.kill()
        self._running.wait()
        assert self._running.stdout is not None
        self._running.stdout.close()
