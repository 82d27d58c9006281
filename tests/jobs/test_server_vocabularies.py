"""Every job with every way in which a server tells its vocabulary: whole, token by token, as texts.

A job works, or says in a sentence why this server cannot; and no id that the server did not name
ever goes into a request.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import llterm.jobs
from llterm.config.config_loader import load_config
from llterm.core.attribution_methods import AttributionSettings
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    usual_template,
)
from llterm.core.classification.labels import typed_label
from llterm.core.classification.text_rows import OneText
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import Kind, OpinionPool
from llterm.errors import CapabilityMissing
from llterm.jobs.attribute import AttributeOptions, attribute
from llterm.jobs.classify import ClassifyOptions, ClassifyResult, classify
from llterm.jobs.compare import compare
from llterm.jobs.comparison_plan import CompareOptions
from llterm.jobs.mix import MixResult, mix
from llterm.jobs.next_token import next_token
from llterm.jobs.request import Request
from llterm.jobs.sample import SampleOptions, sample
from llterm.jobs.score import ScoreOptions, score
from llterm.jobs.suggest import suggest
from llterm.reports.classify_json import ClassifyLineFormat
from tests.helpers.wide_servers import KINDS, SpokenServer

TEXTS = {
    "word": b"Once the fox",
    "blank": b"Once the ",
    "half a word": b"Once the fo",
    "other letters": "Once the ☃ fox".encode(),
    "long": b"Once the fox slept. Then" * 9,
}
Run = Callable[[Request], Awaitable[Any]]


async def classified(request: Request) -> ClassifyResult:
    """The request's text by two labels."""
    settings = ClassifySettings(
        (LabelQuestion("", (typed_label("slept"), typed_label("ran"))),),
        usual_template(questions=False, several=False),
        "canonical",
    )
    texts = OneText(request.text.decode())
    return await classify(request, texts, settings, ClassifyOptions(ClassifyLineFormat()))


JOBS: Mapping[str, Run] = {
    "suggest": suggest,
    "next_token": lambda request: next_token(request, 5),
    "sample": lambda request: sample(request, SampleOptions(3, 6)),
    "score": lambda request: score(request, ScoreOptions()),
    "mix": lambda request: mix(request, 6),
    "attribute": lambda request: attribute(
        request, AttributeOptions(AttributionSettings("leave-one-out"))
    ),
    "classify": classified,
    "compare": lambda request: compare(request, CompareOptions()),
}
HANDED_ON = {"batch"}
"""Jobs that send bodies as they were written: no vocabulary is in play."""
CANNOT = {
    ("attribute", "whole"), ("attribute", "learned"), ("attribute", "texts"),
    # Ids of texts mean nothing to another connection, so two of them are compared byte by byte.
    ("compare", "texts"),
}  # fmt: skip
"""What needs more than such a server tells."""
TRIED = {0, 1}
"""Ids by which llterm tries what a server can do."""
PAIRED = ("mix", "compare")
EVEN = Recipe("democratic", OpinionPool((1.0, 1.0)))


def all_jobs() -> list[str]:
    """The modules of `llterm.jobs` that hold a job of their own name."""
    modules = [module.name for module in pkgutil.iter_modules(llterm.jobs.__path__)]
    return [
        name
        for name in modules
        if inspect.iscoroutinefunction(getattr(import_module(f"llterm.jobs.{name}"), name, None))
    ]


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[SpokenServer]:
    spoken = SpokenServer(KINDS[request.param]())
    async with spoken:
        yield spoken


def kind_of(server: SpokenServer) -> str:
    return next(name for name, kind in KINDS.items() if isinstance(server.model, kind))


def request_to(
    server: SpokenServer, folder: Path, text: bytes, *models: str, **more: Any
) -> Request:
    toml = folder / "llterm.toml"
    named = "".join(f'[models.{name}]\nbase_url = "{server.url}"\n' for name in ("near", "far"))
    toml.write_text(named)
    return Request(load_config(file=toml, environment={}), models, text, **more)


def test_every_job_is_walked() -> None:
    assert set(all_jobs()) == set(JOBS) | HANDED_ON


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("job", sorted(JOBS))
async def test_it_works_or_says_why_it_cannot(
    server: SpokenServer, job: str, text: bytes, tmp_path: Path
) -> None:
    models = ("near", "far") if job in PAIRED else ("near",)
    recipe = EVEN if job == "mix" else None
    request = request_to(server, tmp_path, text, *models, recipe=recipe)
    if (job, kind_of(server)) in CANNOT:
        with pytest.raises(CapabilityMissing) as said:
            await JOBS[job](request)
        assert said.value.title
        assert said.value.hint
    else:
        result = await JOBS[job](request)
        assert getattr(result, "failure", None) is None
        check(job, result)
    assert server.strange <= TRIED, "an id that the server never named went out"
    assert not server.refused


def check(job: str, result: Any) -> None:
    """A result holds what was asked for."""
    if job == "suggest":
        assert any(suggestion.data.strip() for suggestion in result.view.suggestions)
    elif job == "sample":
        assert all(each.tokens for each in result.samples)
    elif job == "score":
        assert len(result.readings) >= result.tokens - 1
    elif job == "mix":
        assert result.turns
    elif job == "compare":
        assert result.comparison.done
    elif job == "classify":
        assert result.failed == 0


SLEPT = b"Once the fox slept."
RECIPES: Mapping[str, tuple[Mode, Kind]] = {
    "round-robin": ("round-robin", "linear"),
    "linear": ("democratic", "linear"),
    "log": ("democratic", "log"),
    "reference": ("reference", "linear"),
}


@pytest.mark.parametrize("other", ["far", "scripted"])
@pytest.mark.parametrize("way", RECIPES)
async def test_every_way_of_mixing_works_with_a_second_server_and_a_model_here(
    server: SpokenServer, way: str, other: str, tmp_path: Path
) -> None:
    mode, pool = RECIPES[way]
    for models in (("near", other), (other, "near")):
        recipe = Recipe(mode, OpinionPool((1.0, 1.0), pool))
        few = {"depth": 2, "beams": 3}
        request = request_to(server, tmp_path, SLEPT, *models, recipe=recipe, rules=few)
        result: MixResult = await mix(request, 3)
        assert b"".join(turn.token.data for turn in result.turns).strip(b"\0")
        assert not result.exact
        assert all(turn.p <= 1 for turn in result.turns)
        searched = await suggest(request)
        assert searched.view.suggestions
        assert searched.mix is not None
        assert not searched.mix.exact
    assert server.strange <= TRIED
    assert not server.refused
