"""Real vocabularies and real weights, held against llama.cpp itself.

Both models are quantised: llama.cpp rounds their activations, and what is evaluated in a batch and
what is evaluated alone round differently. A probability is held to within a tenth of itself
(`ROUNDING`), a perplexity over some hundred tokens, where that falls out, to within a hundredth.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, open_llama
from llterm.core.display_text import display_text
from llterm.core.tokens import Tail
from llterm.session.stories import STORIES
from tests.helpers.plain_decoder import PlainDecoder
from tests.helpers.program import Ran, run
from tests.helpers.vocabulary_checks import check_against_llama_cpp, check_altered_alone

pytestmark = pytest.mark.models
log = logging.getLogger(__name__)

ROUNDING = 0.1
OVER_A_TEXT = 0.01
FLOOR = -40.0
"""A spelling with a logprob below this adds nothing."""
PROMPT = "The fox looked up and saw a fox standing in"
CHOICES = (" a", " the bear", " front of it")


@pytest.fixture
async def backend(model: Path) -> AsyncIterator[LlamaBackend]:
    opened = await open_llama(model)
    yield opened
    await opened.close()


@pytest.fixture
def plain(model: Path) -> Iterator[PlainDecoder]:
    opened = PlainDecoder(model, 512)
    yield opened
    opened.close()


def as_json(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_tokens_are_llama_cpps_where_it_keeps_the_text(backend: LlamaBackend, model: Path) -> None:
    assert check_against_llama_cpp(backend.vocabulary, model, 200) > 50


def test_only_what_would_be_altered_is_spelled(backend: LlamaBackend) -> None:
    check_altered_alone(backend.vocabulary, b" the cat sat on the mat.")


def spellings(backend: LlamaBackend, text: bytes) -> list[Tail]:
    """Every token path whose bytes are the text."""
    names = backend.vocabulary
    inside: dict[bytes, list[int]] = {}
    for id in range(names.size):
        token = names.token(id)
        if token.data and not token.special and token.data in text:
            inside.setdefault(token.data, []).append(id)
    ways: list[list[Tail]] = [[()]]
    for end in range(1, len(text) + 1):
        ways.append(
            [(*before, id) for start in range(end) for id in inside.get(text[start:end], ())
             for before in ways[start]]
        )  # fmt: skip
    return ways[-1]


def test_choices_have_all_that_their_spellings_have(
    backend: LlamaBackend, model: Path, plain: PlainDecoder, tmp_path: Path
) -> None:
    flags = [word for choice in CHOICES for word in ("--choice", choice)]
    printed = as_json(run(tmp_path, "suggest", "-m", model, "--prompt", PROMPT, *flags,
                          "--format", "json"))  # fmt: skip
    names = backend.vocabulary
    start = (*names.prefix, *names.encode(PROMPT.encode()))
    rows: dict[Tail, Any] = {}

    def logprob(tail: Tail) -> float:
        total = 0.0
        for at, id in enumerate(tail):
            if tail[:at] not in rows:
                rows[tail[:at]] = plain.logprobs(start + tail[:at])
            total += float(rows[tail[:at]][id])
            if total < FLOOR:
                break
        return total

    woven = {one["text"]: one["p_same_text"] for one in printed["suggestions"]}
    assert set(woven) == set(CHOICES)
    for text, p in woven.items():
        paths = spellings(backend, text.encode())
        assert len(paths) > 1
        whole = math.fsum(math.exp(logprob(path)) for path in paths)
        log.info("%s %r: %.4g, %.4g over %d spellings", model.stem, text, p, whole, len(paths))
        assert p == pytest.approx(whole, rel=ROUNDING)


def test_a_perplexity_is_that_of_llama_cpps_own_logits(
    backend: LlamaBackend, model: Path, plain: PlainDecoder, tmp_path: Path
) -> None:
    names = backend.vocabulary
    ids = names.encode(STORIES[0].text.encode())[:300]
    text = b"".join(names.token(id).data for id in ids)
    (tmp_path / "text.txt").write_bytes(text)
    printed = as_json(run(tmp_path, "score", "-m", model, "text.txt", "--format", "json"))
    tokens = (*names.prefix, *ids)
    assert [token["id"] for token in printed["tokens"]] == list(tokens[-len(printed["tokens"]) :])
    first = len(tokens) - len(printed["tokens"])
    rows = plain.every(tokens)
    own = rows[np.arange(first - 1, len(tokens) - 1), list(tokens[first:])]
    theirs = math.exp(-float(own.astype(float).mean()))
    perplexity = printed["perplexity"]
    log.info("%s: perplexity %.4f, %.4f of llama.cpp's logits", model.stem, perplexity, theirs)
    assert perplexity == pytest.approx(theirs, rel=OVER_A_TEXT)


def test_what_is_suggested_drawn_and_mixed_is_text(model: Path, tmp_path: Path) -> None:
    found = as_json(run(tmp_path, "suggest", "-m", model, "--prompt", PROMPT, "--format", "json"))
    assert len(found["suggestions"]) >= 8
    drawn = run(
        tmp_path, "sample", "-m", model, "--prompt", PROMPT, "--tokens", "12", "--seed", "1"
    )
    assert drawn.code == 0, drawn.err
    assert display_text(drawn.out.encode()).strip()
    mixed = as_json(run(tmp_path, "mix", "-m", model, "-m", "fable", "--prompt", PROMPT,
                        "--tokens", "12", "--format", "json"))  # fmt: skip
    assert mixed["unit"] == "byte"
    assert mixed["exact"]
    assert len(mixed["tokens"]) >= 12
    itself = as_json(run(tmp_path, "mix", "-m", model, "-m", model, "--mode", "reference",
                         "--prompt", PROMPT, "--format", "json"))  # fmt: skip
    assert itself["models"][0]["figures"]["kld-max"]["value"] == pytest.approx(0, abs=1e-9)
