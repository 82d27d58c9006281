"""Comparisons of real models: the figures, base files, memory."""

from __future__ import annotations

import math
import struct
import weakref
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaBackend, open_llama
from llterm.backends.scripted import TEXT as LAMPS
from llterm.core.comparison.reference_comparison import ReferenceComparison
from llterm.core.logit_rows import rows_at_once
from llterm.core.query import Backend, Cost, LogitRows
from llterm.core.tokens import Tail
from llterm.core.windows import halves
from llterm.engine.base_file import BaseFile, BaseWriter
from llterm.engine.compare import (
    BaseFileReference,
    ModelReader,
    ModelReference,
    ReferenceSource,
    TextWindow,
    begin_comparison,
    compare,
)
from llterm.errors import UsageError
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED, quantized
from tests.helpers.known_tokens import tokens_of
from tests.helpers.tokenized_model import Tokenized

TEXT = (LAMPS + "\n\n".join(story.text for story in STORIES)).encode() * 2
WINDOW = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantized")


class Recorded:
    """A model whose rows are kept for an independent computation."""

    def __init__(self, backend: LlamaBackend) -> None:
        self._backend = backend
        self.name, self.vocabulary = backend.name, backend.vocabulary
        self.capabilities = backend.capabilities
        self.score, self.ask, self.close = backend.score, backend.ask, backend.close
        self.seen: list[NDArray[np.float32]] = []

    @property
    def spent(self) -> Cost:
        return self._backend.spent

    async def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        async for part in self._backend.rows(tokens, start, aside=aside):
            self.seen.append(part.logits)
            yield part


async def filled(
    reference: ReferenceSource, candidates: Sequence[Backend], views: Sequence[TextWindow]
) -> ReferenceComparison:
    names = [one.name for one in candidates]
    comparison = begin_comparison(reference, views, names)
    async for _ in compare(comparison, reference, list(map(ModelReader, candidates)), views):
        pass
    return comparison


def side_by_side(prefix: Tail, ids: Tail) -> list[TextWindow]:
    text = prefix + ids
    return [
        TextWindow(prefix[:1] + text[one.begin + 1 : one.end], one.first - one.begin, one.begin)
        for one in halves(len(text), WINDOW)
    ]


async def test_figures_of_real_models_are_the_formulas_of_their_own_logits(folder: Path) -> None:
    names = ["q8_0", "q4_K_M", "q2_K"]
    paths = [BUNDLED, *(quantized(folder, name) for name in names)]
    models = [Recorded(await open_llama(path)) for path in paths]
    try:
        vocabulary = models[0].vocabulary
        ids = vocabulary.encode(TEXT)
        views = side_by_side(vocabulary.prefix, ids)
        comparison = await filled(ModelReference(ModelReader(models[0])), models[1:], views)
        tokens = [id for view in views for id in view.tokens[view.start :]]
        assert comparison.tokens.tolist() == tokens
        assert len(tokens) > 400
        logprobs = []
        for model in models:
            wide = np.concatenate(model.seen).astype(np.longdouble)
            wide -= wide.max(axis=1, keepdims=True)
            logprobs.append(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))
            assert len(wide) == len(tokens)
        base, n = logprobs[0], len(tokens)
        for candidate, rows in zip(comparison.candidates, logprobs[1:], strict=True):
            kld = np.where(base > -16, np.exp(base) * (base - rows), 0).sum(axis=1)
            own = np.arange(n), tokens
            dp = np.exp(rows[own]) - np.exp(base[own])
            figures = comparison.figures(candidate)
            expected = {
                "kld": kld.mean(), "kld-99": np.quantile(kld, 0.99), "kld-max": kld.max(),
                "kld-median": np.median(kld), "rms-dp": np.sqrt((dp * dp).mean()),
                "ppl": np.exp(-rows[own].mean()), "ppl-base": np.exp(-base[own].mean()),
                "ln-ppl-ratio": (base[own] - rows[own]).mean(),
                "same-top": (rows.argmax(axis=1) == base.argmax(axis=1)).mean(),
            }  # fmt: skip
            for name, value in expected.items():
                assert figures[name].value == pytest.approx(float(value), rel=1e-4), name
            assert figures["kld"].error == pytest.approx(
                math.sqrt(float(kld.var()) / (n - 1)), rel=1e-4
            )
        by_kld = [comparison.figures(candidate)["kld"].value for candidate in comparison.candidates]
        assert by_kld == sorted(by_kld)
        assert by_kld[0] < 0.01 < 0.05 < by_kld[-1]
    finally:
        for model in models:
            await model.close()


async def test_a_base_file_stands_for_its_model(folder: Path) -> None:
    reference, other = await open_llama(BUNDLED), await open_llama(quantized(folder, "q4_K_M"))
    try:
        vocabulary = reference.vocabulary
        text = vocabulary.prefix + vocabulary.encode(TEXT)
        views = side_by_side(vocabulary.prefix, text[1:])
        windows = [text[window.begin : window.end] for window in halves(len(text), WINDOW)]
        path = folder / "base.kld"
        with BaseWriter(path, WINDOW, vocabulary.size, windows) as writer:
            live = await filled(ModelReference(ModelReader(reference), writer), [other], views)
        file = BaseFile(path)
        assert (file.window, file.size, file.count) == (WINDOW, vocabulary.size, len(views))
        assert [file.tokens(n) for n in range(file.count)] == windows
        stored = await filled(BaseFileReference(file), [other], views)
        file.close()
        own, again = live.figures(live.candidates[0]), stored.figures(stored.candidates[0])
        # 16 bits a logprob: that much apart, as with llama-perplexity itself.
        assert again["kld"].value == pytest.approx(own["kld"].value, rel=1e-3)
        assert again["rms-dp"].value == pytest.approx(own["rms-dp"].value, rel=1e-3)
        assert again["same-top"].value == pytest.approx(own["same-top"].value, abs=0.01)
    finally:
        await reference.close()
        await other.close()


def test_a_base_file_has_the_published_layout(tmp_path: Path) -> None:
    path = tmp_path / "base.kld"
    with BaseWriter(path, 4, 3, [(0, 1, 2, 1), (2, 2, 0, 1)]) as writer:
        writer.add(np.array([[0.0, 1.0, 2.0]], np.float32))
        writer.add(np.array([[5.0, 5.0, 5.0]], np.float32))
    data = path.read_bytes()
    assert data[:20] == b"_logits_" + struct.pack("<Iii", 4, 3, 2)
    assert data[20:52] == struct.pack("<8i", 0, 1, 2, 1, 2, 2, 0, 1)
    # One row a window (4 - 1 - 4 // 2), of 2·((3+1)//2)+4 numbers of 16 bits.
    assert len(data) == 52 + 2 * 16
    scale, least, *cells = struct.unpack("<ff4H", data[52:68])
    assert cells == [0, 32768, 65535, 0]
    assert (scale, least) == pytest.approx(
        (2 / 65535, -2 - math.log(sum(map(math.exp, (0, -1, -2)))))
    )


@pytest.mark.parametrize("spoil", [
    lambda data: b"GGUF" + data[4:],
    lambda data: data[:-1],
    lambda data: data[:10],
    lambda data: data[:8] + struct.pack("<Iii", 0, -1, 1 << 30) + data[20:],
    lambda data: data[:20] + struct.pack("<i", 99) + data[24:],
])  # fmt: skip
def test_a_damaged_base_file_is_refused(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "base.kld"
    with BaseWriter(path, 4, 3, [(0, 1, 2, 1)]) as writer:
        writer.add(np.zeros((1, 3), np.float32))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UsageError):
        BaseFile(path)


@pytest.mark.parametrize("field", [0, 4])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3.0, -90.0, 1e30])
def test_a_row_of_a_base_file_that_is_no_probabilities_is_refused(
    tmp_path: Path, field: int, value: float
) -> None:
    """`field`: where the row's scale and its lowest logprob stand."""
    path = tmp_path / "base.kld"
    with BaseWriter(path, 4, 3, [(0, 1, 2, 1), (2, 2, 0, 1)]) as writer:
        writer.add(np.array([[0.0, 1.0, 2.0], [1.0, 5.0, 0.0]], np.float32))
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, 52 + 16 + field, value)
    path.write_bytes(data)
    file = BaseFile(path)
    assert np.exp(file.rows(0, 3, 4)).sum() == pytest.approx(1, abs=1e-3)
    with pytest.raises(UsageError, match="damaged") as refused:
        file.rows(1, 3, 4)
    assert "token 3 of window 2" in refused.value.cause
    file.close()


async def test_an_unfinished_base_file_is_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "base.kld"
    with pytest.raises(KeyboardInterrupt), BaseWriter(path, 4, 3, [(0, 1, 2, 1)]):
        raise KeyboardInterrupt
    assert not path.exists()


class Watched(Tokenized):
    """Counts its rows that are still in memory."""

    alive = 0
    most = 0

    async def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        logits = np.stack([self.logprobs(tokens[:index]) for index in range(start, len(tokens))])
        Watched.alive += len(logits)
        Watched.most = max(Watched.most, Watched.alive)
        weakref.finalize(logits, self._gone, len(logits))
        yield LogitRows(start, logits)

    @staticmethod
    def _gone(count: int) -> None:
        Watched.alive -= count


async def test_logits_in_memory_do_not_grow_with_the_text() -> None:
    first, second = Watched(1), Watched(2)
    tokens = (0, *tokens_of(first.vocabulary, b"ab a. be bea " * 300))
    most = []
    for size in (900, 2700):
        Watched.most = 0
        await filled(
            ModelReference(ModelReader(first)), [second], [TextWindow(tokens[:size], 1, 0)]
        )
        most.append(Watched.most)
    # How far evaluating is ahead of comparing is the machine's: two parts at most.
    assert all(one <= 2 * 3 * rows_at_once(first.vocabulary.size) for one in most)
    assert Watched.alive <= 2 * 2 * rows_at_once(first.vocabulary.size)
