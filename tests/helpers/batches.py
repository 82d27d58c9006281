"""Batches: requests in files, whole runs in this process, and the real program killed in one."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llterm.config import Config
from llterm.core.batch_row import BatchInput
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.formats.request_lines import RequestLines
from llterm.formats.row_lines import RowFile
from llterm.jobs.batch import BatchOptions, BatchResult, Show, batch
from llterm.jobs.batch_answers import RowAnswers
from llterm.jobs.batch_models import SlotOptions
from llterm.jobs.batch_output import BatchFiles
from llterm.jobs.request import Request
from llterm.reports.batch_json import result_line
from llterm.serve.batch_bodies import BodyAnswers
from llterm.serve.request_rules import RequestRules
from tests.helpers.program import start

BEGINNINGS = ("The old woman opened the", "Every evening the cat", "The maker went to the river")
_POLL = 0.002


def requests(count: int, tokens: int = 8) -> list[dict[str, Any]]:
    """Requests by completions, some of which begin alike."""
    return [
        {
            "custom_id": f"row {number}",
            "body": {
                "prompt": f"{BEGINNINGS[number % 3]} {number}",
                "max_tokens": tokens,
            },
        }
        for number in range(count)
    ]


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON, an object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def results(path: Path) -> dict[str, dict[str, Any]]:
    """A file's results by id, without ids and times of answers; each id is there once."""
    by_id: dict[str, dict[str, Any]] = {}
    for line in path.read_text("utf-8").splitlines():
        result = json.loads(line)
        if response := result.get("response"):
            for name in ("id", "created"):
                response["body"].pop(name, None)
        assert result["custom_id"] not in by_id
        by_id[result["custom_id"]] = result
    return by_id


def texts(path: Path) -> dict[str, str]:
    """The first text of each result by id."""
    choices = {
        name: result["response"]["body"]["choices"][0] for name, result in results(path).items()
    }
    return {
        name: choice["text"] if "text" in choice else choice["message"]["content"]
        for name, choice in choices.items()
    }


async def run_batch(
    source: Path,
    output: Path,
    *,
    model: str = "scripted",
    parallel: int = 4,
    rows: BatchInput | None = None,
    show: Show = lambda _: None,
    **options: Any,
) -> BatchResult:
    """A batch of a file's requests, or of these rows, in this process."""

    def answering(generator: Generator, backend: Backend, parallel: int) -> RowAnswers:
        return BodyAnswers(generator, backend, RequestRules(), parallel)

    given = replace(
        BatchOptions(BatchFiles(output), seed=7, slots=SlotOptions(parallel, context=256)),
        **options,
    )
    request = Request(Config(), (model,))
    with source.open("rb") as file:
        read = rows or RequestLines(RowFile(file, source.name))
        return await batch(request, read, given, answering, result_line, show=show)


def count_lines(path: Path) -> int:
    """Whole lines of a file that is being written."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_run(home: Path, arguments: Sequence[str], output: Path, chance: random.Random) -> bool:
    """The program, killed when it has written some more lines, at any moment until the next.
    Returns whether it was: it may have come to its end before."""
    process = start(home, "batch", *arguments)
    after = count_lines(output) + chance.randint(0, 6)
    begun = count_lines(output)
    while process.poll() is None and count_lines(output) <= max(after, begun):
        time.sleep(_POLL)
    if process.poll() is None:
        time.sleep(chance.uniform(0.0, 0.03))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL
