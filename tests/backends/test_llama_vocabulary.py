"""Bytes in, the same bytes out: any text, any vocabulary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llterm.backends.llamacpp import LlamaBackend, open_llama
from llterm.core.tokens import text_bytes
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.tiny_models import tiny_llama
from tests.helpers.vocabulary_checks import check_against_llama_cpp, check_altered_alone

TEXTS = st.one_of(
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(),
    st.lists(st.sampled_from([b" the", b"\n", b"  ", b"\xe2", b"\x80", b"\xff", "日".encode(),
                              b"<|end|>", b"</s>", b"\r\n", b"\t", "👩‍🚀".encode()])).map(b"".join),
)  # fmt: skip
quick = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


KINDS = ("bundled", "byte level", "pieces", "pieces after a blank")


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
    assert check_against_llama_cpp(backend.vocabulary, path, 200) > 50


def test_only_what_would_be_altered_is_spelled(backend: LlamaBackend) -> None:
    check_altered_alone(backend.vocabulary, b" the cat")


def test_edges(backend: LlamaBackend) -> None:
    vocabulary = backend.vocabulary
    assert len(vocabulary.prefix) == 1
    assert vocabulary.token(vocabulary.prefix[0]).special
    ends = [id for id in range(vocabulary.size) if vocabulary.token(id).end]
    assert ends
    assert all(vocabulary.token(id).special for id in ends)
    assert len(vocabulary.fingerprint) == 16
