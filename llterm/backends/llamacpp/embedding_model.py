"""A GGUF model that does not predict text and only tells what texts are to it: an encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import StopFlag, library
from llterm.backends.llamacpp.embedding_context import EmbeddingContext
from llterm.backends.llamacpp.gguf_header import check_vocabulary, inspect_gguf
from llterm.backends.llamacpp.gpu_placement import gpus_here, placed
from llterm.backends.llamacpp.llama_vocabulary import LlamaVocabulary
from llterm.backends.llamacpp.loader import LlamaSettings, load_weights
from llterm.core.embeddings import Embeddings, Vectors, unit_vectors
from llterm.core.query import Capabilities, Cost
from llterm.core.tokens import Tail

MOST_WINDOW = 2048
"""Default limit of a text's tokens: they are evaluated at once."""


class EmbeddingModel:
    """An encoder in this process. Implements `ProvidesEmbeddings`."""

    def __init__(
        self, name: str, path: Path, settings: LlamaSettings, progress: Callable[[float], None]
    ) -> None:
        """Loads it on the calling thread. Raises ModelError."""
        info = inspect_gguf(path)
        check_vocabulary(path)
        thread_budget.thread_count(settings.threads)
        settings = placed(info, settings, gpus_here())
        self.name = name
        self._llama = library()

        def tell(share: float) -> bool:
            progress(share)
            return True

        self._model = load_weights(path, settings, tell)
        # Beyond what it was trained with there may be no positions, and llama.cpp ends the program.
        window = min(settings.context or MOST_WINDOW, info.context or MOST_WINDOW)
        try:
            self._context = EmbeddingContext(
                self._model, settings, window, StopFlag(), encoder=True
            )
        except BaseException:
            self._llama.llama_model_free(self._model)
            raise
        self.vocabulary = LlamaVocabulary(self._llama, self._model)
        self.capabilities = Capabilities(
            full_vocabulary=False, masks=False, score=False, context=window, predicts=False,
            embeddings=True,
        )  # fmt: skip
        self.spent = Cost()
        self._turn = asyncio.Lock()

    def _tails(self, texts: Sequence[bytes | Tail]) -> list[Tail]:
        return [self.vocabulary.alone(text) for text in texts]

    async def embed(self, texts: Sequence[bytes | Tail]) -> Embeddings:
        async with self._turn:
            tails = await asyncio.to_thread(self._tails, texts)
            reading = self._context.vectors(tails)
            rows = None
            while rows is None:
                step = asyncio.create_task(asyncio.to_thread(_advanced, reading))
                try:
                    rows = await asyncio.shield(step)
                except asyncio.CancelledError:
                    # Whoever is next has the context alone.
                    await asyncio.wait({step})
                    raise
            sizes = tuple(map(len, tails))
            self.spent += Cost(sum(sizes))
            return Embeddings(unit_vectors(rows, self.name), sizes)


def _advanced(reading: Generator[None, None, Vectors]) -> Vectors | None:
    """A decode further; what it comes to, at the end."""
    try:
        next(reading)
    except StopIteration as end:
        vectors: Vectors = end.value
        return vectors
    return None


async def open_encoder(
    path: Path, settings: LlamaSettings, progress: Callable[[float], None], name: str
) -> EmbeddingModel:
    """Load a file that does not predict text. Raises ModelError."""
    return await asyncio.to_thread(EmbeddingModel, name, path, settings, progress)
