"""Every setting at the ends of its range: a result or a plain error, alone and two at a time.

What is set comes from the schema's own rows, so that a new one takes part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.config.sampling_values import changed
from llterm.config.schema import MIX, MODEL, TABLES, WEAVE, Config, ModelConfig
from llterm.config.setting import Setting, Value
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.sampling.sampler_settings import Sampling
from llterm.errors import LltermError
from llterm.faults import OwnFault
from llterm.jobs.request import Request
from llterm.jobs.sample import SampleOptions, sample
from llterm.jobs.suggest import suggest
from tests.helpers.extremes import DENORMAL, extremes

PROMPT = b"Every evening the cat"
MOST_ASKED = 64
"""Distributions that a weave may ask for here, whatever it would need."""


def weave(values: Mapping[str, Value]) -> None:
    """Weave a little with the scripted model."""
    typed = {row.attribute: values[row.name] for row in WEAVE if row.name in values}
    typed["budget"] = min(int(str(typed.get("budget", MOST_ASKED))), MOST_ASKED)
    found = asyncio.run(suggest(Request(Config(), ("scripted",), PROMPT, rules=typed)))
    logprobs = [one.logprob for one in found.view.suggestions]
    assert logprobs == sorted(logprobs, reverse=True)
    assert all(one <= 0.0 for one in logprobs)


def draw(values: Mapping[str, Value]) -> None:
    """Draw a few tokens with the scripted model."""
    config = Config()
    made = Sampling()
    for name, value in values.items():
        try:
            made = changed(made, name, value, config.presets)
        except ValueError as wrong:
            # As the reader has it (`load_config`), which names where it stands.
            raise LltermError(f"Wrong value for sampling.{name}", str(wrong)) from wrong
    wanted = Request(replace(config, sampling=made), ("scripted",), PROMPT)
    for one in asyncio.run(sample(wanted, SampleOptions(count=2, tokens=3))).samples:
        assert all(0.0 < taken.p <= 1.0 for taken in one.tokens)


def mixed(values: Mapping[str, Value]) -> None:
    """A mix of the scripted model with itself, one taken away from the other."""
    given = {**{row.name: row.default for row in MIX}, **values}
    pool = OpinionPool((1.0, -0.5), given["pool"], given["plausible"])  # type: ignore[arg-type]
    recipe = Recipe(given["mode"], pool, given["turn"])  # type: ignore[arg-type]
    typed = {"budget": MOST_ASKED, "depth": 3}
    models = ("scripted", "scripted")
    asyncio.run(suggest(Request(Config(), models, PROMPT, recipe=recipe, rules=typed)))


RUNNERS: Mapping[str, Callable[[Mapping[str, Value]], None]] = {
    "weave": weave, "sampling": draw, "mix": mixed,
}  # fmt: skip


def tried(table: str, values: Mapping[str, Value]) -> None:
    """A result, or an error that somebody foresaw."""
    try:
        RUNNERS[table](values)
    except LltermError as error:
        if isinstance(error, OwnFault):
            raise


ALONE = [(table, row) for table in RUNNERS for row in TABLES[table]]


@pytest.mark.parametrize(("table", "row"), ALONE, ids=[f"{t}.{row.name}" for t, row in ALONE])
def test_a_setting_at_its_ends(table: str, row: Setting) -> None:
    for value in extremes(row):
        tried(table, {row.name: value})


@pytest.mark.parametrize("table", RUNNERS)
@settings(max_examples=40)
@given(data=st.data())
def test_settings_at_their_ends_together(table: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.sampled_from(TABLES[table]), min_size=2, max_size=4, unique=True))
    tried(table, {row.name: data.draw(st.sampled_from(extremes(row))) for row in rows})


@pytest.mark.parametrize("row", MODEL, ids=[row.name for row in MODEL])
def test_a_real_model_at_the_least_of_a_setting(row: Setting) -> None:
    """The greatest ask for more memory and threads than a test may."""
    least: tuple[Value, ...] = () if row.low is None else (int(row.low),)
    if row.kind == "list of numbers":
        least = ((),)
    for value in row.choices or least:
        own: dict[str, Any] = {row.name: value}
        config = Config(models={"fable": ModelConfig(**own)})
        found = asyncio.run(suggest(Request(config, ("fable",), PROMPT, rules={"depth": 3})))
        assert found.view.suggestions


@pytest.mark.parametrize(
    "values",
    [
        {"multiplier": 10.0, "depth": 320, "split_limit": 1, "auto_stop": False, "beams": 1},
        {"multiplier": 0.01, "depth": 200},
        {"cutoff": 1e-320},
        {"multiplier": DENORMAL, "depth": 500, "auto_stop": False, "budget": 600},
    ],
)
def test_what_left_the_range_of_numbers(values: dict[str, Value]) -> None:
    weave(values)


def test_without_a_limit_all_above_the_cutoff_are_found() -> None:
    def found(**typed: Any) -> list[bytes]:
        typed = {"depth": 4, "cutoff": 0.05, **typed}
        woven = asyncio.run(suggest(Request(Config(), ("scripted",), PROMPT, rules=typed)))
        assert woven.view.done
        return [one.data for one in woven.view.suggestions]

    everything = found(beams=0)
    assert len(everything) > len(found(beams=5)) == 5
    assert everything == found(beams=5000)
    assert sorted(everything) == sorted(found(beams=0, strategy="breadth"))
    assert len(found(beams=0, diverse=True)) <= len(everything)
    assert len(found(beams=0, budget=20)) <= 20
