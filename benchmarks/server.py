"""A real llama.cpp server (xllamacpp) in a process of its own, and LLooM's way of asking it."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llterm.core.weave_settings import WeaveSettings

_SERVE = """
import sys, time
import xllamacpp as xlc
p = xlc.CommonParams()
p.model.path = sys.argv[1]
p.hostnames = ["127.0.0.1"]; p.port = 0
p.n_parallel, cells, p.n_threads_http = map(int, sys.argv[3:6])
p.n_ctx = p.n_parallel * cells
p.kv_unified = sys.argv[6] == "unified"
p.ui = False; p.warmup = True; p.cache_ram_mib = 0
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[2])
s = xlc.Server(p)
print(s.listening_address, flush=True)
while True: time.sleep(1)
"""


@contextmanager
def server(model: Path, threads: int) -> Iterator[tuple[str, int]]:
    """Host and port of a server of this model, with four slots; ended afterwards."""
    with server_process(model, threads, slots=4, cells=2048) as (address, _):
        yield address


@contextmanager
def server_process(
    model: Path, threads: int, *, slots: int, cells: int, http: int = -1, unified: bool = False
) -> Iterator[tuple[tuple[str, int], int]]:
    """Host and port, and the process's id. `cells`: for each slot; `unified`: they share them.
    `http`: threads that answer, each one stream at a time; -1: its default."""
    how = "unified" if unified else "streams"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(model), *map(str, (threads, slots, cells, http)), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http"))
        host, port = address.strip().removeprefix("http://").split(":")
        yield (host, int(port)), process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class LLooM:
    """LLooM's search as it documents it: level by level, one request a token, four at a time."""

    def __init__(self, host: str, port: int, parallel: int = 4) -> None:
        self._address = (host, port)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(parallel)
        self.requests = 0

    def suggest(self, story: str, rules: WeaveSettings) -> list[tuple[str, float]]:
        """Suggestions with their joint logprobs."""
        live: list[tuple[str, float]] = [("", 0.0)]
        done: list[tuple[str, float]] = []
        for depth in range(rules.depth):
            answers = self._pool.map(self._candidates, [story + text for text, _ in live])
            following: list[tuple[str, float]] = []
            waiting = len(live)
            for (text, logprob), candidates in zip(live, answers, strict=True):
                full = len(done) + waiting >= rules.beams
                for rank, (piece, p) in enumerate(candidates[: rules.split_limit]):
                    added = math.log(max(p, 1e-30))
                    if rank and added < rules.least(depth):
                        break
                    beam = (text + piece, logprob + added)
                    (done if full or depth == rules.depth - 1 else following).append(beam)
                waiting -= 1
            live = following
        return done

    def _candidates(self, prompt: str) -> list[tuple[str, float]]:
        body = {"prompt": prompt, "cache_prompt": True, "temperature": 1.0, "n_predict": 1,
                "top_k": 10, "top_p": 1.0, "n_probs": 10, "samplers": []}  # fmt: skip
        packed = json.dumps(body)
        try:
            answer = self._asked(packed)
        except ConnectionError:
            # The server hangs up on a connection that was idle for some seconds.
            self._local.connection = None
            answer = self._asked(packed)
        self.requests += 1
        top = answer["completion_probabilities"][0]["top_logprobs"]
        return [(one["token"], math.exp(one["logprob"])) for one in top]

    def _asked(self, body: str) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection(*self._address)
        connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
