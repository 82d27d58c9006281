"""`llterm classify` of one text by eight labels, and by eight questions, against llama.cpp's server
asked once for each: a request holds the label by a grammar, or reads yes and no from the list.

One decode thread each, a text that nobody has seen for every measurement. The eight requests go
out at once, to the better of llama.cpp's two settings: four slots in one pool, as by default, and a
slot for each; both evaluate the text once a slot. One by one, on a slot that keeps the text, they
are reported too, and so are CPU seconds, which say more where a machine is shared.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from benchmarks.rows import MODEL, Row
from benchmarks.server import server_process
from benchmarks.server_load import cpu_seconds
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    Spellings,
)
from llterm.core.classification.labels import Label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.engine.classify import Classifier
from llterm.session.stories import STORIES

THREADS = 1
TOKENS = 400
"""Of a text."""
COUNT = 8
"""Labels, and questions."""
ROUNDS = 5
TIMES = 4.0
LABELS = ("forest", "castle", "river", "village", "mountain", "garden", "harbour", "market")
QUESTIONS = tuple(f"\n\nQuestion: Does a {name} come in it?\nAnswer:" for name in LABELS)
YES_NO = ("yes", "no")
PLACE = "\n\nThe story is set in the"
Server = tuple[tuple[str, int], int]
"""Address, and the process's number."""


class _Took(NamedTuple):
    """What an answer took."""

    seconds: float
    cpu: float


def measure(files: Sequence[Path] = ()) -> list[Row]:
    """On the bundled model, or on those files; budgets are for the bundled model alone."""
    return [row for file in files or (MODEL,) for row in asyncio.run(_measure(file))]


async def _measure(file: Path) -> list[Row]:
    backend = await open_llama(file, LlamaSettings(threads=THREADS))
    try:
        with ExitStack() as stack:
            pool, slots, single = [
                stack.enter_context(
                    server_process(
                        file, THREADS, slots=slots, cells=768, http=COUNT + 8, unified=unified
                    )
                )
                for slots, unified in ((4, True), (COUNT, False), (1, False))
            ]
            texts = iter(_texts(backend))
            rows: list[Row] = []
            for name, asks, settings in (
                ("labels", _label_requests, _by_labels),
                ("questions", _question_requests, _by_questions),
            ):
                figures = [
                    [
                        await _asked(pool, asks(next(texts)), together=True),
                        await _asked(slots, asks(next(texts)), together=True),
                        await _asked(single, asks(next(texts)), together=False),
                        await _classified(backend, settings("all"), next(texts)),
                        await _classified(backend, settings("canonical"), next(texts)),
                    ]
                    for _ in range(ROUNDS)
                ]
                rows += _rows(name, figures, judged=file == MODEL)
            return rows
    finally:
        await backend.close()


def _texts(backend: LlamaBackend) -> Iterator[str]:
    """Texts without end that begin differently."""
    words = " ".join(story.text for story in STORIES).split()
    for seed in count():
        random.Random(seed).shuffle(words)
        ids = backend.vocabulary.encode(" ".join(words * 6).encode())[:TOKENS]
        data = b"".join(backend.vocabulary.token(id).data for id in ids)
        yield data.decode("utf-8", "ignore")


def _by_labels(spellings: Spellings) -> ClassifySettings:
    labels = tuple(map(Label, LABELS))
    template = QuestionTemplate("{text}" + PLACE)
    return ClassifySettings((LabelQuestion("", labels),), template, spellings)


def _by_questions(spellings: Spellings) -> ClassifySettings:
    labels = tuple(map(Label, YES_NO))
    questions = tuple(LabelQuestion(text, labels) for text in QUESTIONS)
    return ClassifySettings(questions, QuestionTemplate("{text}{question}"), spellings)


def _label_requests(text: str) -> list[dict[str, Any]]:
    """One for each label, which is all that may be written; its logprobs are told."""
    return [
        {"prompt": text + PLACE, "grammar": f'root ::= " {label}"', "n_predict": 12, "n_probs": 1}
        for label in LABELS
    ]


def _question_requests(text: str) -> list[dict[str, Any]]:
    return [{"prompt": text + question, "n_predict": 1, "n_probs": 50} for question in QUESTIONS]


async def _asked(server: Server, requests: Sequence[dict[str, Any]], *, together: bool) -> _Took:
    """What it takes until all are answered; the CPU seconds are the server's."""
    address, pid = server
    url = f"http://{address[0]}:{address[1]}/completion"
    async with httpx2.AsyncClient(timeout=None) as client:

        async def ask(body: dict[str, Any]) -> None:
            content = json.dumps({**body, "cache_prompt": True, "temperature": 0.0})
            (await client.post(url, content=content)).raise_for_status()

        begin, cpu = time.perf_counter(), cpu_seconds(pid)
        if together:
            await asyncio.gather(*map(ask, requests))
        else:
            for body in requests:
                await ask(body)
        return _Took(time.perf_counter() - begin, cpu_seconds(pid) - cpu)


async def _classified(backend: LlamaBackend, settings: ClassifySettings, text: str) -> _Took:
    """What it takes, with nothing of the text evaluated before."""
    classifier = Classifier(backend, settings)
    begin, cpu = time.perf_counter(), time.process_time()
    await classifier.scores(text)
    return _Took(time.perf_counter() - begin, time.process_time() - cpu)


def _rows(name: str, figures: Sequence[Sequence[_Took]], *, judged: bool) -> list[Row]:
    rows: list[Row] = []
    for what, field in (("", "seconds"), (", CPU", "cpu")):
        pool, slots, single, every, canonical = (
            statistics.median(getattr(took, field) for took in column)
            for column in zip(*figures, strict=True)
        )
        theirs = (
            f"llama.cpp: {pool * 1000:.0f} in one pool, {slots * 1000:.0f} with a slot each, "
            f"{single * 1000:.0f} one by one"
        )
        rows += [
            Row(
                f"classify by {COUNT} {name}{how} against a request each{order}{what}",
                baseline / ours,
                "×",
                TIMES if judged and not order and not what else None,
                at_least=True,
                note=f"{ours * 1000:.0f} ms; {theirs}",
            )
            for order, baseline in (("", min(pool, slots)), (", one by one", single))
            for how, ours in (("", every), (" (canonical)", canonical))
        ]
    return rows
