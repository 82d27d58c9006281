"""The process that differentiates: started when it is first asked, ended when it is closed.

PyTorch takes seconds to load and hundreds of megabytes; none of that happens in the app's process.
Questions and answers are lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from llterm import child_processes
from llterm.core.attribution import Attribution, Question
from llterm.core.attribution_methods import AttributionSettings
from llterm.core.json_text import json_text
from llterm.errors import CapabilityMissing, LltermError

log = logging.getLogger(__name__)

PACKAGES = ("accelerate", "gguf", "torch", "transformers")
_LINE = 1 << 24
"""Most bytes of an answer."""


class GradientProcess:
    """One model, loaded by transformers; answers a question at a time."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self.process: Process | None = None
        self._said: asyncio.Task[str] | None = None

    async def ask(
        self, question: Question, how: AttributionSettings, progress: Callable[[float], None]
    ) -> Attribution:
        """The gradients of the target's logprob by the embeddings of the text's own tokens.

        Cancelling ends the process. Raises CapabilityMissing without the extra, and where
        transformers cannot read the model.
        """
        check_installed()
        asked = {
            "tokens": question.tokens,
            "first": question.head,
            "target": question.target,
            "method": how.method,
        }
        try:
            answer = await self._exchange(asked, progress)
        except asyncio.CancelledError:
            await self.close()
            raise
        if "error" in answer:
            await self.close()
            raise CapabilityMissing(*answer["error"])
        values = np.array(answer["values"], np.float64)
        if not np.isfinite(values).all():
            raise LltermError(
                "The model gives no gradients",
                "They are not numbers (NaN or infinite).",
                "Attention and leaving tokens out work without them.",
            )
        return Attribution(
            how,
            question.head,
            values,
            logprob=answer["logprob"],
            gap=answer.get("gap"),
            steps=answer.get("steps", 0),
        )

    async def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await self._ended(process)

    async def _exchange(self, asked: Any, progress: Callable[[float], None]) -> Any:
        process = self.process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(ConnectionError):
            process.stdin.write(json_text(asked).encode() + b"\n")
            await process.stdin.drain()
        while line := await process.stdout.readline():
            answer = json.loads(line)
            if "progress" not in answer:
                return answer
            progress(answer["progress"])
        self.process = None
        said = await self._ended(process)
        raise LltermError(
            "The gradients could not be computed",
            said or "Its process ended without a word; memory may have been too small.",
            f"{self._weights.name} needs four bytes a parameter, and as much again to work in.",
        )

    async def _ended(self, process: Process) -> str:
        """Wait for its end; the last line that it said."""
        await process.wait()
        return await self._said if self._said is not None else ""

    async def _start(self) -> Process:
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}
        self.process = await asyncio.create_subprocess_exec(
            *child_processes.command(
                f"{__package__}.gradients_child", str(self._weights.resolve())
            ),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LINE,
            env={**os.environ, **offline},
        )
        self._said = asyncio.create_task(_last_line(self.process))
        return self.process


async def _last_line(process: Process) -> str:
    """Put what it says into the log; its last line."""
    last = ""
    assert process.stderr is not None
    async for line in process.stderr:
        if text := line.decode("utf-8", "replace").strip():
            log.debug("%s", text)
            last = text
    return last


def check_installed() -> None:
    """Raises CapabilityMissing where the extra is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        pip = (
            f"{sys.executable} -m pip" if find_spec("pip") else f"uv pip --python {sys.executable}"
        )
        raise CapabilityMissing(
            "Gradients need an extra that is not installed",
            f"llterm[gradients] brings {', '.join(PACKAGES)}; missing: {', '.join(missing)}.",
            f"{pip} install {' '.join(PACKAGES)}",
        )
