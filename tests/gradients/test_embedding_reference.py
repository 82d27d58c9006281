"""Embeddings against transformers: what `/v1/embeddings` tells is the mean of its last hidden
states, as a unit vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.tokens import Tail
from tests.gradients.reference import reference_model
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import served

CLOSE = 5e-4
"""How far a number may be off, of vectors of length 1: the file's weights are of 16 bits, and
llama.cpp computes with them as such."""
TEXTS = (
    "Once upon a time there was a fox.",
    "The sea",
    "A lantern hung over the old bridge, and under it a heron slept. " * 6,
)


def hidden_means(texts: Sequence[Tail]) -> npt.NDArray[np.float64]:
    """A row for each: the mean of the last layer's states, of length 1."""
    import torch

    model = reference_model()
    rows = []
    with torch.no_grad():
        for tokens in texts:
            told = model(torch.tensor([tokens]), output_hidden_states=True)
            mean = told.hidden_states[-1][0].double().mean(dim=0).numpy()
            rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


async def test_an_embedding_is_the_mean_of_transformers_hidden_states(
    record_property: Callable[[str, object], None],
) -> None:
    model = await open_llama(BUNDLED, LlamaSettings(threads=1, context=256), name="fable")
    try:
        ids = [model.vocabulary.prefix + model.vocabulary.encode(each.encode()) for each in TEXTS]
        async with served(model) as api:
            told = await api.ask("/v1/embeddings", input=list(TEXTS))
        ours = np.array([each["embedding"] for each in told["data"]])
        apart = np.abs(ours - hidden_means(ids)).max()
        record_property("apart", f"{apart:.1e}")
        assert told["usage"]["prompt_tokens"] == sum(map(len, ids))
        assert apart <= CLOSE
    finally:
        await model.close()
