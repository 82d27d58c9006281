"""The fastest of llama.cpp's kernels for a model on this machine, and how far they are off.

They are tried in another process first, for some end the program on some machines; what came out is
remembered by file and machine. The child times one batch after a story with each of them, side by
side, and has a fixed text scored by the fastest and by the exact ones.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path as FilePath
from typing import Any

from llterm import paths
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.gguf_header import check_gguf
from llterm.backends.llamacpp.gpu_placement import gpus_here, placed
from llterm.backends.llamacpp.kernel_switches import EXACT, KernelSwitches
from llterm.backends.llamacpp.llama_vocabulary import LlamaVocabulary
from llterm.backends.llamacpp.loader import LlamaSettings, load
from llterm.backends.llamacpp.memory_estimate import check_room
from llterm.backends.llamacpp.model_runner import ModelRunner
from llterm.backends.llamacpp.trial_process import begin_trial, mark_of, run_trial
from llterm.core.json_text import json_text
from llterm.core.kernels import KernelDrift, Kernels
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path, Tail
from llterm.errors import LltermError, ModelError
from llterm.json_file import keep_json, read_json

PLAIN, REPACKED = KernelSwitches(exact=False), KernelSwitches(exact=False, repack=True)
CANDIDATES = (PLAIN, REPACKED, replace(PLAIN, flash=True), replace(REPACKED, flash=True))
"""The first is the fastest where no other is faster by more than chance."""
MARGIN = 0.93
"""Share of the time of those before that a candidate may take, to be worth its drift."""
MOST = 256
"""Trials that are remembered."""
STORY, ROWS, ROUNDS = 512, 32, 12
"""Tokens before the batch that is timed, its rows, and how often, where there is time for that; the
least time counts."""
LEAST = 3
"""Rounds of a slow model."""
SCORED = 64
"""Tokens of the text that tells the drift, and of a slow model's story. Flash attention is not
tried for such: weights are nearly all that it does."""
PATIENCE = 2.0
"""Seconds for the evaluation of the story, for a candidate's rounds after the third, and for the
rows of the text one by one."""
TEXT = (
    "The lighthouse keeper's daughter had never seen the city, though on clear nights its glow lay "
    "along the horizon like a second, smaller dawn. In March 1911 a stranger came up the path with "
    "a letter; he asked for water, counted the steps (there were 212), and said that the light "
    'would be put out before the summer ended. "Who would do that?" she asked him. He only '
    "laughed, and looked at the sea. "
)
_MOST_BYTES = 1 << 20
_TRIED_WITH = ("gpu_layers", "gpus", "split_mode", "main_gpu", "kv_type", "flash_attention")
"""Settings that may choose other kernels."""
_PROCESSOR = ("model name", "flags", "features", "cpu implementer", "cpu part")
"""Lines of /proc/cpuinfo that tell one kind of processor from another."""
Trial = Mapping[str, Any]
"""What a trial found, as JSON has it: switches and drift, or a trouble."""


async def with_fast_kernels(path: FilePath, settings: LlamaSettings) -> LlamaSettings:
    """The settings with the fastest kernels for this file here; with the exact ones and a trouble
    that says why, where fast ones cannot be had.

    The first time takes some seconds, and a copy of the weights. Cancelling ends the trial.
    """
    trial = _remembered_trial(path, settings)
    if trial is None:
        try:
            check_room(check_gguf(path), replace(settings, switches=REPACKED))
            mark = _mark(path, settings)
        except ModelError as error:
            return _exact(settings, f"{error.title}: {error.cause.rstrip('.')}")
        except OSError:
            return settings  # Opening it says why.
        trial = await _tried(path, settings, mark)
    return _applied(settings, trial)


def remembered_kernels(path: FilePath, settings: LlamaSettings) -> Kernels | None:
    """What fast kernels are for this file, where they were tried; None where they were not."""
    trial = _remembered_trial(path, settings)
    return None if trial is None else _applied(settings, trial).kernels


async def _tried(path: FilePath, settings: LlamaSettings, mark: list[object]) -> Trial:
    """The trial in a child, remembered unless somebody else ended it."""
    asked = {name: getattr(settings, name) for name in _TRIED_WITH}
    end = await run_trial(__name__, str(mark[0]), json_text(asked))
    trial = _valid(end.output) if end.code == 0 else None
    if trial is None:
        trial = {"trouble": f"a trial of them in another process ended {end.told}"}
    if not end.killed:
        keep_json(paths.kernels_file(), [*_remembered(), (mark, trial)][-MOST:])
    return trial


def _applied(settings: LlamaSettings, trial: Trial) -> LlamaSettings:
    if trouble := trial.get("trouble"):
        return _exact(settings, str(trouble))
    switches = KernelSwitches(exact=False, repack=trial["repack"], flash=trial["flash"])
    drift = KernelDrift(trial["tokens"], trial["mean"], trial["worst"])
    return replace(settings, switches=switches, kernels=Kernels("fast", drift, switches.words))


def _exact(settings: LlamaSettings, trouble: str) -> LlamaSettings:
    return replace(settings, switches=EXACT, kernels=Kernels(trouble=trouble))


def _mark(path: FilePath, settings: LlamaSettings) -> list[object]:
    """What tells this file, these settings and this machine. Raises OSError."""
    values = [getattr(settings, name) for name in _TRIED_WITH]
    # As JSON gives it back.
    values = [list(value) if isinstance(value, tuple) else value for value in values]
    return [*mark_of(path), *values, _machine()]


def _machine() -> str:
    """What kind of processor this is: a home folder may be seen by several machines."""
    try:
        lines = FilePath("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    marks = sorted({line for line in lines if line.lower().startswith(_PROCESSOR)})
    return blake2b("\n".join([platform.machine(), *marks]).encode(), digest_size=8).hexdigest()


def _remembered_trial(path: FilePath, settings: LlamaSettings) -> Trial | None:
    """What an earlier trial of this file found; None where there was none."""
    try:
        mark = _mark(path, settings)
    except OSError:
        return None
    return next((trial for known, trial in _remembered() if known == mark), None)


def _remembered() -> list[tuple[list[object], Trial]]:
    """Marks and what the trials of them found, the last one last; what is none is left out."""
    try:
        rows = read_json(paths.kernels_file(), _MOST_BYTES)
        pairs = [(mark, _valid_trial(trial)) for mark, trial in rows]
    except (OSError, ValueError, TypeError):
        return []
    return [(mark, trial) for mark, trial in pairs if trial is not None]


def _valid(text: str) -> Trial | None:
    try:
        return _valid_trial(json.loads(text))
    except ValueError:
        return None


def _valid_trial(trial: object) -> Trial | None:
    """Something that a trial may have found; None where it is something else."""
    if not isinstance(trial, dict):
        return None
    if isinstance(trial.get("trouble"), str):
        return trial
    kinds: Mapping[str, Any] = {"repack": bool, "flash": bool, "tokens": int, "mean": (int, float),
             "worst": (int, float)}  # fmt: skip
    return trial if all(isinstance(trial.get(key), kind) for key, kind in kinds.items()) else None


# --- the child


def main() -> None:
    """The child: try the file that is the first argument, under the settings of the second."""
    begin_trial()
    try:
        path, asked = FilePath(sys.argv[1]), json.loads(sys.argv[2])
        asked["gpus"] = tuple(asked["gpus"])
        settings = LlamaSettings(context=STORY + ROWS, **asked)
        settings = placed(check_gguf(path), settings, gpus_here())
        sys.stdout.write(json_text(_measured(path, settings)))
    except LltermError as error:
        sys.stdout.write(json_text({"trouble": f"{error.title}. {error.cause}".strip(". ")}))


def _measured(path: FilePath, settings: LlamaSettings) -> dict[str, object]:
    """The fastest switches and their drift, as JSON has them."""
    with ExitStack() as opened:
        exact = opened.enter_context(_opened(path, settings))
        text = exact.tokens[: SCORED + 1]
        begin = time.perf_counter()
        logprobs = exact.scored(text)
        quick = (time.perf_counter() - begin) * STORY / len(text) < PATIENCE
        story = exact.tokens if quick else text
        rivals = {
            switches: opened.enter_context(_opened(path, replace(settings, switches=switches)))
            for switches in CANDIDATES
            if not switches.flash or (quick and settings.flash_attention == "auto")
        }
        fastest = _fastest(rivals, story)
        drift = _drift(rivals[fastest], text, logprobs)
    return {"repack": fastest.repack, "flash": fastest.flash, **asdict(drift)}


def _fastest(rivals: Mapping[KernelSwitches, _Rival], story: Tail) -> KernelSwitches:
    """Each in turn, several times: what else this machine does slows all of them alike."""
    least = dict.fromkeys(rivals, float("inf"))
    begin = time.perf_counter()
    for number in range(ROUNDS):
        if number >= LEAST and time.perf_counter() - begin > PATIENCE * len(rivals):
            break
        for switches, rival in rivals.items():
            least[switches] = min(least[switches], rival.seconds(story, number))
    fastest = PLAIN
    for switches in rivals:
        if least[switches] < MARGIN * least[fastest]:
            fastest = switches
    return fastest


@dataclass(slots=True)
class _Rival:
    """A model opened with some switches."""

    runner: ModelRunner
    vocabulary: LlamaVocabulary
    clock: Callable[[], float]

    @property
    def tokens(self) -> Tail:
        text = self.vocabulary.encode(TEXT.encode())
        whole = self.vocabulary.prefix + text * (STORY // max(len(text), 1) + 1)
        return whole[:STORY]

    def scored(self, tokens: Tail) -> list[float]:
        """ln p of the tokens from the second on, in one batch."""
        parts = [
            part for burst in filter(None, self.runner.score(tokens, 1, 1)) for part in burst()
        ]
        return [logprob for part in parts for logprob in part.logprobs.tolist()]

    def walked(self, tokens: Tail) -> Iterator[float]:
        """ln p of the tokens from the second on, each in a batch of its own; of as many as there is
        time for."""
        begin = time.perf_counter()
        for end, following in enumerate(tokens[1:], 1):
            if time.perf_counter() - begin > PATIENCE:
                return
            query = Query(Path(Anchor(tokens[:end])), full=True)
            (fact,) = self._facts([query])
            row = fact.distribution.full
            assert row is not None
            yield float(row[following])

    def seconds(self, story: Tail, number: int) -> float:
        """What a batch of rows after the story takes; the story is there from the first time on."""
        anchor = Anchor(story)
        self._facts([Query(Path(anchor))])
        first = number * ROWS
        tails = [(id % self.vocabulary.size,) for id in range(first, first + ROWS)]
        begin = self.clock()
        self._facts([Query(Path(anchor, tail), keep=1) for tail in tails])
        return self.clock() - begin

    def _facts(self, queries: list[Query]) -> list[Fact]:
        answers = [answer for burst in filter(None, self.runner.ask(queries)) for answer in burst()]
        return [answer for answer in answers if isinstance(answer, Fact)]


@contextmanager
def _opened(path: FilePath, settings: LlamaSettings) -> Iterator[_Rival]:
    loaded = load(path, settings, lambda _: True)
    vocabulary = LlamaVocabulary(library(), loaded.model, ())
    runner = ModelRunner(loaded, vocabulary.size, path.stem)
    # What a GPU does is no time of the processor's.
    clock = time.perf_counter if settings.layers else time.process_time
    try:
        yield _Rival(runner, vocabulary, clock)
    finally:
        runner.free()


def _drift(rival: _Rival, tokens: Tail, expected: list[float]) -> KernelDrift:
    """Of the tokens' ln p, in one batch and one by one, against those of exact kernels."""
    off = [
        abs(own - exact)
        for logprobs in (rival.scored(tokens), rival.walked(tokens))
        for own, exact in zip(logprobs, expected, strict=False)
    ]
    return KernelDrift(len(expected), sum(off) / max(len(off), 1), max(off, default=0.0))
