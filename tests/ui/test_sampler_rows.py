"""The sampler panel's rows and keys, without a screen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llterm.config.sampling_values import value_of
from llterm.core.sampling.sampler_settings import KNOBS, ORDER, PRESETS, SamplerSettings, Sampling
from llterm.ui.dialogs import sampler_rows
from llterm.ui.dialogs.sampler_rows import value_text

BALANCED = Sampling()


def row(name: str, sampling: Sampling = BALANCED) -> sampler_rows.SamplerRow:
    return next(one for one in sampler_rows.rows(sampling) if one.name == name)


def test_rows_stand_in_the_chains_order_and_stages_that_do_not_run_take_one() -> None:
    balanced = sampler_rows.rows(BALANCED)
    assert balanced[0].name == "preset"
    first = [(row.stage, row.place) for row in balanced if row.first]
    assert first[:3] == [("penalties", 1), ("temperature", 2), ("top_p", 3)]
    assert {stage for stage, place in first if not place} == set(ORDER) - {
        "penalties", "temperature", "top_p"
    }  # fmt: skip
    assert sum(row.stage == "dry" for row in balanced) == 1
    assert sum(row.stage == "penalties" for row in balanced) == len(KNOBS["penalties"])
    every = sampler_rows.rows(BALANCED.under("neutral", PRESETS))
    assert sum(row.stage == "dry" for row in every) == len(KNOBS["dry"])


@pytest.mark.parametrize(
    ("name", "by", "value"),
    [
        ("temperature", 1, 0.75), ("temperature", -1, 0.65), ("top_p", 1, 0.81),
        ("repeat_penalty", -1, 1.04), ("top_k", 1, 1), ("top_k", -1, 0), ("ban_newline", 1, True),
        ("ideal_length", 1, 10), ("seed", 1, 1), ("ban", 1, ()), ("preset", 1, "creative"),
        ("preset", -1, "reliable"),
    ],
)  # fmt: skip
def test_left_and_right_change_a_value_by_a_step(name: str, by: int, value: object) -> None:
    stepped = sampler_rows.stepped(BALANCED, row(name), by, PRESETS)
    assert value_of(stepped, name) == value


def test_steps_end_at_the_edge_of_what_may_be() -> None:
    sampling = BALANCED
    for _ in range(40):
        sampling = sampler_rows.stepped(sampling, row("top_p"), 1, PRESETS)
    assert sampling.settings.top_p == 1
    weak = replace(BALANCED, settings=SamplerSettings(repeat_penalty=0.01))
    assert sampler_rows.stepped(weak, row("repeat_penalty"), -1, PRESETS) == weak


def test_what_is_shown_can_be_typed() -> None:
    for knob in sampler_rows.rows(BALANCED.under("neutral", PRESETS)):
        value = value_of(BALANCED, knob.name)
        text = value_text(value)
        assert value_of(sampler_rows.typed(BALANCED, knob, text, PRESETS), knob.name) == value
    typed = sampler_rows.typed(BALANCED, row("ban"), "once upon|\\n", PRESETS)
    assert typed.bans.phrases == ("once upon", "\n")
    with pytest.raises(ValueError, match="TEXT=NUMBER"):
        sampler_rows.typed(BALANCED, row("bias"), "cat", PRESETS)


def test_stages_go_on_and_off_and_move() -> None:
    off = sampler_rows.switched(BALANCED, row("repeat_penalty"), PRESETS)
    assert off.settings.order == ("temperature", "top_p")
    assert sampler_rows.switched(off, row("repeat_penalty", off), PRESETS) == BALANCED
    later = sampler_rows.moved(BALANCED, row("temperature"), 1, PRESETS)
    assert later.settings.order == ("penalties", "top_p", "temperature")
    assert (later.label, BALANCED.label) == ("custom", "balanced")
    assert sampler_rows.moved(later, row("temperature", later), 1, PRESETS) == later
    assert sampler_rows.moved(BALANCED, row("min_p"), 1, PRESETS) == BALANCED
    assert sampler_rows.neutral(BALANCED, row("temperature"), PRESETS).settings.temperature == 1


def test_a_row_that_went_with_its_stage_is_found_by_the_stage() -> None:
    off = sampler_rows.switched(BALANCED, row("penalty_last_n"), PRESETS)
    found = sampler_rows.rows(off)
    assert found[sampler_rows.find(found, row("penalty_last_n"))].name == "repeat_penalty"
