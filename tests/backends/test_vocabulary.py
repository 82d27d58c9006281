"""Bytes in, the same bytes out: any text, any vocabulary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llterm.backends.llamacpp import LlamaBackend, open_llama
from llterm.core.tokens import text_bytes
from tests.backends.conftest import BUNDLED
from tests.models import tiny_llama

TEXTS = st.one_of(
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(),
    st.lists(st.sampled_from([b" the", b"\n", b"  ", b"\xe2", b"\x80", b"\xff", "日".encode(),
                              b"<|end|>", b"</s>", b"\r\n", b"\t", "👩‍🚀".encode()])).map(b"".join),
)  # fmt: skip
quick = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


KINDS = ("bundled", "byte level", "pieces", "pieces after a blank")
NASTY = (
    "a", "the", " the", " cat", "cat.", "  ", "\n", "\r\n", "\t", "\u2581", "\u2581the",
    "\u2581\u2581", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "\x1b[2J", "\x85", "\u2028",
    "e\u0301", "\u0130", "ﬁ", "½", "日本語", "猫は", "👩\u200d🚀", "🏳️\u200d🌈", "\U0010ffff",
    "\ue000", "مرحبا", "\u202e", "<|end|>", "</s>", "<s>", "<unk>", "<0x41>", "Ġt", "Ċ", "'s",
    "1234", "....", "=" * 40, "A", "ß",
)  # fmt: skip


def nasty(count: int) -> list[str]:
    """Texts made of what tokenizers stumble over; the same ones each time."""
    random = Random(13)
    return ["".join(random.choices(NASTY, k=random.randint(1, 9))) for _ in range(count)]


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = request.param
    if kind == "bundled":
        return BUNDLED
    return tiny_llama(tmp_path / "a.gguf", pieces=kind != "byte level", blank="blank" in kind)


@pytest.fixture
async def backend(path: Path) -> AsyncIterator[LlamaBackend]:
    opened = await open_llama(path)
    yield opened
    await opened.close()


def test_bytes_survive(backend: LlamaBackend) -> None:
    vocabulary = backend.vocabulary

    @quick
    @given(TEXTS)
    def check(data: bytes) -> None:
        ids = vocabulary.encode(data)
        assert text_bytes(vocabulary, ids) == data
        assert not any(vocabulary.token(id).special for id in ids)

    check()


def test_tokens_are_llama_cpps_where_it_keeps_the_text(backend: LlamaBackend, path: Path) -> None:
    vocabulary = backend.vocabulary
    compared = 0
    for text, theirs in zip(nasty(200), tokens_of_llama_cpp(path, nasty(200)), strict=True):
        # A blank that the tokenizer puts before a text is part of the text here.
        for data in (text.encode(), b" " + text.encode()):
            if text_bytes(vocabulary, theirs) == data:
                assert vocabulary.encode(data) == theirs, data
                compared += 1
    assert compared > 50


def test_only_what_would_be_altered_is_spelled(backend: LlamaBackend) -> None:
    vocabulary = backend.vocabulary
    usual = vocabulary.encode(b" the cat")
    for altered in ("\u2581", "\u2581\u2581", "\xff"):
        mixed = vocabulary.encode(b" the cat" + altered.encode() + b" the cat")
        assert mixed[: len(usual)] == usual == mixed[-len(usual) :]


def tokens_of_llama_cpp(path: Path, texts: list[str]) -> list[tuple[int, ...]]:
    """What llama.cpp makes of texts, asked without any of our care."""
    import llama_cpp

    settings = llama_cpp.llama_model_default_params()
    settings.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    found = []
    for data in map(str.encode, texts):
        room = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(vocabulary, data, len(data), room, len(room), False, False)
        found.append(tuple(room[:count]))
    llama_cpp.llama_model_free(model)
    return found


def test_edges(backend: LlamaBackend) -> None:
    vocabulary = backend.vocabulary
    assert len(vocabulary.prefix) == 1
    assert vocabulary.token(vocabulary.prefix[0]).special
    ends = [id for id in range(vocabulary.size) if vocabulary.token(id).end]
    assert ends
    assert all(vocabulary.token(id).special for id in ends)
    assert len(vocabulary.fingerprint) == 16
