"""What texts are to a model: one vector each, the same in any company."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.embedding_context import CHUNK, LANES
from llterm.backends.llamacpp.embedding_model import open_encoder
from llterm.core.embeddings import Vectors
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.errors import LltermError, ModelError, UsageError
from tests.helpers.encoder_by_hand import EncoderByHand, Rows
from tests.helpers.tiny_models import ARCHITECTURES, tiny_encoder, tiny_llama

NONE, MEAN, CLS, LAST, RANK = range(5)
TEXTS = [b"the cat", b"a", b"the bea in the cat " * 20, "käse".encode(), b"x" * CHUNK]
WAYS: Mapping[int | None, str] = {
    None: "mean",
    NONE: "mean",
    MEAN: "mean",
    CLS: "cls",
    LAST: "last",
}


def put_together(rows: Rows, pooling: int | None) -> Rows:
    """A text's rows as one, of length 1."""
    made = {"mean": rows.mean(axis=0), "cls": rows[0], "last": rows[-1]}[WAYS[pooling]]
    unit: Rows = made / np.linalg.norm(made)
    return unit


async def opened(path: Path) -> LlamaBackend:
    return await open_llama(path, LlamaSettings(threads=1))


def rows_of_llamacpp(path: Path, tokens: Tail) -> Rows:
    """The last layer's, as llama.cpp tells them a token each."""
    llama = library()
    model = llama.llama_model_load_from_file(bytes(path), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.embeddings, params.pooling_type, params.flash_attn_type = True, NONE, 0
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    context = llama.llama_init_from_model(model, params)
    ids = (llama.llama_token * len(tokens))(*tokens)
    assert llama.llama_decode(context, llama.llama_batch_get_one(ids, len(tokens))) == 0
    width = llama.llama_model_n_embd(model)
    raw = llama.llama_get_embeddings(context)
    rows = np.ctypeslib.as_array(raw, (len(tokens), width)).astype(np.float64)
    llama.llama_free(context)
    llama.llama_model_free(model)
    return rows


@pytest.mark.parametrize("pooling", WAYS)
async def test_a_text_models_embedding_is_of_its_last_layers_rows(
    tmp_path: Path, pooling: int | None
) -> None:
    path = tiny_llama(tmp_path / "a.gguf", pooling=pooling)
    model = await opened(path)
    told = await model.embed(TEXTS)
    for text, vector, count in zip(TEXTS, told.vectors, told.tokens, strict=True):
        tokens = (*model.vocabulary.prefix, *await model.vocabulary.tokenize(text))
        assert count == len(tokens)
        rows = rows_of_llamacpp(path, tokens)
        np.testing.assert_allclose(vector, put_together(rows, pooling), atol=1e-5)
    await model.close()


@pytest.mark.parametrize("pooling", WAYS)
async def test_an_encoders_embedding_is_what_is_computed_by_hand(
    tmp_path: Path, pooling: int | None
) -> None:
    path = tiny_encoder(tmp_path / "a.gguf", pooling=pooling)
    encoder = await open_encoder(path, LlamaSettings(threads=1), lambda _: None, "tiny")
    by_hand = EncoderByHand(path)
    texts = [b"The cat sat on a mat.", b"cats", b"unheard"]
    told = await encoder.embed(texts)
    assert encoder.vocabulary.alone(b"cats") == (2, 5, 10, 3)
    for text, vector in zip(texts, told.vectors, strict=True):
        rows = by_hand.rows(encoder.vocabulary.alone(text))
        # llama.cpp looks its GELU up in a table of halves.
        np.testing.assert_allclose(vector, put_together(rows, pooling), atol=2e-3)


def alike(together: Vectors, alone: Sequence[Vectors]) -> None:
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_a_text_is_the_same_in_any_company(tmp_path: Path, architecture: str) -> None:
    model = await opened(ARCHITECTURES[architecture](tmp_path / "a.gguf"))
    texts = (TEXTS * (LANES // len(TEXTS) + 1))[: LANES + 1]
    alone = {text: (await model.embed([text])).vectors for text in TEXTS}
    alike((await model.embed(texts)).vectors, [alone[text] for text in texts])
    await model.close()


async def test_an_encoder_takes_several_texts_a_decode(tmp_path: Path) -> None:
    path = tiny_encoder(tmp_path / "a.gguf")
    # It has 64 positions, whatever is set.
    settings = LlamaSettings(threads=1, context=100_000)
    encoder = await open_encoder(path, settings, lambda _: None, "tiny")
    assert encoder.capabilities.context == 64
    texts = [b"the cat", b"sat " * 40, b"on", b"mats."] * 12
    alone = [(await encoder.embed([text])).vectors for text in texts]
    alike((await encoder.embed(texts)).vectors, alone)


async def test_what_is_asked_meanwhile_is_answered_and_the_story_stays_in_the_cache(
    tmp_path: Path,
) -> None:
    model = await opened(tiny_llama(tmp_path / "a.gguf"))
    story = Anchor((0, *model.vocabulary.encode(b"the cat " * 9)))

    async def evaluated() -> int:
        answers = [each async for each in model.ask([Query(TokenPath(story))])]
        return sum(each.cost.tokens for each in answers if isinstance(each, Fact))

    assert await evaluated() > 1
    asked = asyncio.create_task(model.embed(TEXTS))
    assert await evaluated() <= 1
    assert len((await asked).vectors) == len(TEXTS)
    assert await evaluated() <= 1
    await model.close()


@pytest.mark.parametrize(("texts", "what"), [([b"a", b"b" * 600], "Text 2 is too large"),
                                             ([()], "Text 1 is empty")])  # fmt: skip
async def test_a_text_that_does_not_fit_is_said(
    tmp_path: Path, texts: list[bytes | Tail], what: str
) -> None:
    model = await opened(tiny_llama(tmp_path / "a.gguf"))
    with pytest.raises(UsageError) as refused:
        await model.embed(texts)
    assert refused.value.title == what
    assert len((await model.embed([b"a"])).vectors) == 1
    await model.close()


async def test_a_model_without_numbers_is_named(tmp_path: Path) -> None:
    model = await opened(tiny_llama(tmp_path / "a.gguf", scale=float("nan")))
    with pytest.raises(LltermError, match="gives no numbers"):
        await model.embed([b"a"])
    await model.close()


async def test_a_model_that_ranks_pairs_is_refused(tmp_path: Path) -> None:
    path = tiny_encoder(tmp_path / "a.gguf", pooling=RANK)
    with pytest.raises(ModelError, match="ranks"):
        await open_encoder(path, LlamaSettings(threads=1), lambda _: None, "tiny")
