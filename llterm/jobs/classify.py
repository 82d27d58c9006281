"""Classifies texts: what a model would call each, with the probability of every label."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from llterm.backends.remote.server_usage import ServerUsage, counted
from llterm.core.classification.calibrations import CalibrationKind
from llterm.core.classification.classification_metrics import ClassificationMetrics, measure
from llterm.core.classification.classify_settings import ClassifySettings
from llterm.core.classification.text_rows import TextRow, TextRows, true_places
from llterm.core.classification.verdicts import AskedLabels, LabelJudge, Verdict, verdicts
from llterm.core.kernels import KernelKind
from llterm.core.query import Backend, Cost, OnServers
from llterm.engine.classify import Classifier, Scores, TextRefused
from llterm.errors import LltermError
from llterm.jobs.batch_output import BatchFiles, BatchOutput, opened_output, result_lines
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener, names_of, opened, run_together
from llterm.number_format import count_of
from llterm.regular_file import refused
from llterm.whole_file import beside

AT_ONCE = 512
"""Texts whose verdicts are made together."""
OF_ALL: tuple[CalibrationKind | None, ...] = ("batch", "temperature")
"""Calibrations that are known when all texts are."""


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """A text, and what the model gives to its labels."""

    row: TextRow
    scores: Scores = ()
    error: LltermError | None = None
    """Why there are none."""


class ClassifyLines(Protocol):
    """Results as lines of a file."""

    def line(self, text: ClassifiedText, verdicts: Sequence[Verdict]) -> str:
        """What is kept of a text."""

    def scores(self, line: Mapping[str, Any], asked: Sequence[AskedLabels]) -> Scores:
        """What a line says of what was asked. Raises UsageError where it is none of `line`'s."""


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """What becomes of the results."""

    lines: ClassifyLines
    files: BatchFiles | None = None
    """Where each is kept as it ends; a run that was stopped goes on there."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What a run is begun with, for its header."""
    limit: int | None = None
    """Only so many texts, from the first on."""
    accept_changes: bool = False
    """Go on though model, settings or texts are not those that it was begun with."""


@dataclass(frozen=True, slots=True)
class JudgedFigures:
    """How good the answers to one thing asked are, calibrated and raw."""

    asked: AskedLabels
    calibrated: ClassificationMetrics
    raw: ClassificationMetrics


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """Texts with what they are called."""

    model: str
    fingerprint: str
    """Of its vocabulary."""
    settings: ClassifySettings
    judges: Sequence[LabelJudge]
    texts: Sequence[ClassifiedText]
    figures: Sequence[JudgedFigures]
    """For what is asked whose answer some texts tell."""
    cost: Cost
    seconds: float
    counted: tuple[ServerUsage, ...] = ()
    """What went over the wire, where the model is on a server."""
    kernels: KernelKind | None = None
    """What its figures were computed with; None where that was elsewhere."""
    chat_format: str = ""
    """How it was told chats, where that has a name."""

    def judged(self) -> Iterator[tuple[ClassifiedText, Sequence[Verdict]]]:
        """Each text with its verdicts, one for each question; none of one that failed."""
        for start in range(0, len(self.texts), AT_ONCE):
            part = self.texts[start : start + AT_ONCE]
            made = iter(verdicts(self.judges, [text.scores for text in part if not text.error]))
            for text in part:
                yield text, () if text.error else next(made)

    @property
    def failed(self) -> int:
        """Texts that could not be classified."""
        return sum(text.error is not None for text in self.texts)


Ended = Callable[[ClassifiedText, Sequence[Verdict]], None]


async def classify(
    request: Request,
    rows: TextRows,
    settings: ClassifySettings,
    options: ClassifyOptions,
    listener: Listener = SILENCE,
    ended: Ended = lambda _, __: None,
) -> ClassifyResult:
    """Classify every text. `ended` is told of each as it ends, before a calibration that needs all
    of them. Raises LltermError. Cancelling stops it; what is kept in files stays."""
    (name,) = names_of(request)
    settings.check()
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(opened(request, listener))
        run = _Run(backend, Classifier(backend, settings), options, listener, ended)
        if options.files is not None:
            header = {
                "model": {"name": name, "vocabulary": backend.vocabulary.fingerprint},
                "settings": options.settings,
                "input": {"sha256": await asyncio.to_thread(rows.digest)},
            }
            run.output = stack.enter_context(
                opened_output(
                    options.files, header, settings.seed, accept_changes=options.accept_changes
                )
            )
        start = time.monotonic()
        texts = await run.classify_all(rows)
        result = ClassifyResult(
            model=name,
            fingerprint=backend.vocabulary.fingerprint,
            settings=settings,
            judges=run.judges,
            texts=texts,
            figures=_figures(run.judges, texts),
            cost=run.classifier.spent,
            seconds=time.monotonic() - start,
            counted=counted(backend),
            kernels=backend.capabilities.kernel_kind,
            chat_format=getattr(backend, "chat_format", ""),
        )
        if options.files is not None and settings.calibrate in OF_ALL:
            await asyncio.to_thread(_rewrite, options.files, options.lines, result)
    return result


def _rewrite(files: BatchFiles, lines: ClassifyLines, result: ClassifyResult) -> None:
    """Keep the results with what was learned of all of them, in order."""
    try:
        with beside(files.results) as part, part.open("w", encoding="utf-8") as file:
            for text, verdicts in result.judged():
                if not text.error:
                    file.write(lines.line(text, verdicts) + "\n")
    except OSError as error:
        raise refused(error) from error


class _Run:
    """The texts of one run."""

    def __init__(
        self,
        backend: Backend,
        classifier: Classifier,
        options: ClassifyOptions,
        listener: Listener,
        ended: Ended,
    ) -> None:
        self.classifier = classifier
        self.judges: list[LabelJudge] = []
        self.output: BatchOutput | None = None
        self._options = options
        self._listener = listener
        self._ended = ended
        self._width = backend.capabilities.rounds if isinstance(backend, OnServers) else 1
        self._texts: dict[int, ClassifiedText] = {}

    async def classify_all(self, rows: TextRows) -> list[ClassifiedText]:
        """Every text that is not done yet, as many at once as the model takes; all in order."""
        self.judges = await self.classifier.judges()
        done = self._read_done()
        places = enumerate(rows.walk())
        await run_together(self._work(places, done) for _ in range(self._width))
        return self._fitted()

    def _read_done(self) -> dict[str, Scores]:
        """What earlier runs found out, by custom_id."""
        if self.output is None:
            return {}
        lines, asked = self._options.lines, self.classifier.asked
        return {
            line.result["custom_id"]: lines.scores(line.result, asked)
            for line in result_lines(self.output.files.results)
        }

    async def _work(self, rows: Iterator[tuple[int, TextRow]], done: Mapping[str, Scores]) -> None:
        """Take the next text, again and again; others do too."""
        for place, row in rows:
            if self._options.limit is not None and place >= self._options.limit:
                return
            true_places(self.classifier.asked, row)
            if row.custom_id in done:
                self._texts[place] = ClassifiedText(row, done[row.custom_id])
                continue
            try:
                text = ClassifiedText(row, await self.classifier.scores(row.text))
            except TextRefused as error:
                text = ClassifiedText(row, error=error)
            self._texts[place] = text
            self._keep(text)

    def _keep(self, text: ClassifiedText) -> None:
        said = [] if text.error else verdicts(self.judges, [text.scores])[0]
        if self.output is not None:
            line = self._options.lines.line(text, said)
            (self.output.fail if text.error else self.output.write)(line)
        self._ended(text, said)
        self._listener.say(f"Classifying: {count_of(len(self._texts), 'text')}")

    def _fitted(self) -> list[ClassifiedText]:
        """All texts in order, when the judges have learned what they learn of all."""
        texts = [text for _, text in sorted(self._texts.items())]
        known = [text for text in texts if not text.error]
        truths = [true_places(self.classifier.asked, text.row) for text in known]
        for place, judge in enumerate(self.judges):
            judge.fit([text.scores[place] for text in known], [truth[place] for truth in truths])
        return texts


def _figures(judges: Sequence[LabelJudge], texts: Sequence[ClassifiedText]) -> list[JudgedFigures]:
    """Of the texts whose label is known."""
    figures: list[JudgedFigures] = []
    asked = [judge.asked for judge in judges]
    known = [(text.scores, true_places(asked, text.row)) for text in texts if not text.error]
    for place, judge in enumerate(judges):
        rows = [(scores[place], truth[place]) for scores, truth in known]
        labelled = [(scores, truth) for scores, truth in rows if truth is not None]
        if labelled:
            truths = [truth for _, truth in labelled]
            p, raw = judge.shares([scores for scores, _ in labelled])
            figures.append(
                JudgedFigures(
                    judge.asked,
                    measure(p, truths, judge.choices(p)),
                    measure(raw, truths, judge.choices(raw)),
                )
            )
    return figures
