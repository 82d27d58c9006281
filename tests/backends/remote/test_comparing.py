"""Every kind of server in a comparison: told exactly whatever it lists, or refused in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.config.server_settings import ServerSettings
from llterm.core.comparison.divergence import UNTOLD, ScoredTokens
from llterm.engine.compare import ModelReader, ModelReference, TextWindow, begin_comparison, compare
from llterm.engine.whole_rows import rows_or_scores
from llterm.errors import CapabilityMissing
from llterm.jobs.comparison_plan import check_comparable
from tests.helpers import fake_servers
from tests.helpers.fake_servers import SERVERS, LlamaServer
from tests.helpers.little_model import END, HALF, chances, cut

TEXT = b"Once the fox slept. the a! the!"


async def opened(kind: type[Any]) -> RemoteBackend:
    return await connect("tiny", kind(), ServerSettings(("http://server",)), fresh=True)


def little(backend: RemoteBackend, id: int) -> int:
    """The little model's own id of a token."""
    if backend.capabilities.token_ids or id == UNTOLD:
        return id
    token = backend.vocabulary.token(id)
    return END if token.end else cut(token.data)[0]


def listing(monkeypatch: pytest.MonkeyPatch, cap: int) -> None:
    def short(before: Mapping[int, float], top: int) -> list[tuple[int, float]]:
        return list(before.items())[: min(top, cap)]

    monkeypatch.setattr(fake_servers, "listed", short)


@pytest.mark.parametrize("cap", [2, 5])
@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__)
async def test_a_given_texts_probabilities_are_exact_or_refused(
    kind: Any, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(monkeypatch, cap)
    backend = await opened(kind)
    names = backend.vocabulary
    ids = await names.tokenize(TEXT)
    tokens = (*names.prefix, *ids)
    if backend.capabilities.score:
        seen = await rows_or_scores(backend, tokens, 2)
        assert isinstance(seen, ScoredTokens)
        before = [
            cut(b"".join(names.token(id).data for id in tokens[:n])) for n in range(2, len(tokens))
        ]
        own = [little(backend, id) for id in tokens[2:]]
        expected = [math.log(chances(text)[id]) for text, id in zip(before, own, strict=True)]
        assert seen.logprob == pytest.approx(expected, abs=1e-4)
        firsts = [next(iter(chances(text))) for text in before]
        logprobs = [little(backend, int(id)) for id in seen.choice]
        # Some leave parts of characters out, or a text's end: what may be one of these is not told.
        assert all(id in (UNTOLD, first) for id, first in zip(logprobs, firsts, strict=True))
        assert {first for id, first in zip(logprobs, firsts, strict=True) if id == UNTOLD} <= {
            END,
            HALF,
        }
    else:
        with pytest.raises(CapabilityMissing) as refused:
            await rows_or_scores(backend, tokens, 2)
        assert refused.value.hint
        with pytest.raises(CapabilityMissing, match="tiny cannot be compared"):
            check_comparable([backend], ["tiny"], by_id=True)
    with pytest.raises(CapabilityMissing, match="tiny cannot be compared"):
        check_comparable([backend], ["tiny"], by_id=False)
    await backend.close()


async def test_figures_do_not_hang_on_how_many_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [await opened(LlamaServer) for _ in range(2)]
    tokens = (*models[0].vocabulary.prefix, *cut(TEXT * 3))
    views = [TextWindow(tokens, 1, 0)]
    figures = []
    for cap in (11, 5):
        listing(monkeypatch, cap)
        reference = ModelReference(ModelReader(models[0]))
        comparison = begin_comparison(reference, views, ["other"])
        async for _ in compare(comparison, reference, [ModelReader(models[1])], views):
            pass
        figures.append(comparison.figures(comparison.candidates[0]))
    known = {name: figure.value for name, figure in figures[1].items() if figure.known}
    assert known == pytest.approx({name: figures[0][name].value for name in known}, abs=1e-4)
    assert known["ppl-ratio"] == pytest.approx(1)
    assert {"ppl", "ppl-base", "correlation", "dp", "rms-dp", "same-top"} <= known.keys()
    assert not any(name.startswith("kld") for name in known)
    assert np.isnan(comparison.candidates[0].track.kld).all()
    for model in models:
        await model.close()
