"""Sampler settings by their names in `llterm.toml`: read, changed one at a time, told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from llterm.config.schema import PRESET
from llterm.config.setting import Value
from llterm.core.sampling.sampler_settings import (
    DEFAULT_PRESET,
    PRESETS,
    SamplerSettings,
    Sampling,
    bias_text,
    parse_bias,
    with_knob,
)

CHAIN = tuple(row.name for row in PRESET)
"""Names of what a preset is made of."""
CUSTOM = "custom"
"""What is no preset; where it is set as one, every knob begins neutral."""
BANS = {"ban": "phrases", "ban_newline": "newline", "ban_capitals": "capitals",
         "ban_refusals": "refusals"}  # fmt: skip
"""Names of bans, and of `Bans`' fields."""

Presets = Mapping[str, SamplerSettings]


def make_sampling(values: Mapping[str, Value], presets: Presets) -> Sampling:
    """From values by name: the preset, then what changes it. Raises ValueError."""
    name = str(values.get("preset", DEFAULT_PRESET))
    made = changed(Sampling(), "preset", name, presets)
    others = {other: value for other, value in values.items() if other != "preset"}
    return all_changed(made, others, presets)


def make_preset(values: Mapping[str, Value]) -> SamplerSettings:
    """A preset from values by name; what is left out is neutral. Raises ValueError."""
    return SamplerSettings(**dict[str, Any](values))


def changed(sampling: Sampling, name: str, value: Value, presets: Presets) -> Sampling:
    """With one setting changed. Raises ValueError where that cannot be.

    A knob of a stage that does not run switches it on.
    """
    given: Any = value
    if name == "preset":
        if given == CUSTOM:
            return sampling.under("neutral", presets)
        if given not in presets:
            near = get_close_matches(given, presets, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(presets)}"
            raise ValueError(f"there is no preset {given}; {hint}")
        return sampling.under(given, presets)
    if name in BANS:
        return replace(sampling, bans=replace(sampling.bans, **{BANS[name]: given}))
    if name == "bias":
        return replace(sampling, bias=tuple(map(parse_bias, given)))
    if name == "ideal_length":
        return replace(sampling, ideal_length=given)
    return sampling.with_settings(with_knob(sampling.settings, name, given), presets)


def all_changed(sampling: Sampling, values: Mapping[str, Value], presets: Presets) -> Sampling:
    """With these settings changed, one after the other. Raises ValueError."""
    for name, value in values.items():
        sampling = changed(sampling, name, value, presets)
    return sampling


def value_of(sampling: Sampling, name: str) -> Value:
    """What is set under this name; of `preset`: `custom` where it is none."""
    value: Any
    if name == "preset":
        value = sampling.label
    elif name in BANS:
        value = getattr(sampling.bans, BANS[name])
    elif name == "bias":
        value = tuple(map(bias_text, sampling.bias))
    elif name == "ideal_length":
        value = sampling.ideal_length
    else:
        value = getattr(sampling.settings, name)
    return value  # type: ignore[no-any-return]


def preset_values(settings: SamplerSettings) -> dict[str, Value]:
    """What a preset says, by name; neutral knobs are left out, the order is not."""
    neutral = PRESETS["neutral"]
    return {
        name: getattr(settings, name)
        for name in CHAIN
        if name == "order" or getattr(settings, name) != getattr(neutral, name)
    }
