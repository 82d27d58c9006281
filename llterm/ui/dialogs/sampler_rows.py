"""The sampler panel as rows: what each shows, and what a key makes of it. Pure: no Textual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llterm.config.sampling_values import Presets, changed, make_preset, preset_values, value_of
from llterm.config.schema import SAMPLING
from llterm.config.setting import Setting, Value
from llterm.core.sampling.sampler_settings import (
    KNOBS,
    ORDER,
    PRESETS,
    SamplerSettings,
    Sampling,
    with_stage,
)

_MIROSTAT = ("mirostat", "mirostat_tau", "mirostat_eta")
_STORY = ("seed", "ideal_length", "ban", "ban_newline", "ban_capitals", "ban_refusals", "bias")
_STEPS = {
    "temperature": 0.05, "dynatemp_range": 0.05, "dynatemp_exponent": 0.1, "top_p": 0.01,
    "min_p": 0.01, "typical_p": 0.01, "top_n_sigma": 0.1, "xtc_probability": 0.05,
    "xtc_threshold": 0.05, "repeat_penalty": 0.01, "frequency_penalty": 0.1,
    "presence_penalty": 0.1, "dry_multiplier": 0.1, "dry_base": 0.05, "mirostat_tau": 0.1,
    "mirostat_eta": 0.01, "penalty_last_n": 16, "dry_penalty_last_n": 16, "ideal_length": 10,
}  # fmt: skip
"""What left and right change a number by; whole numbers change by 1 where nothing is said."""


@dataclass(frozen=True, slots=True)
class SamplerRow:
    """One line: a setting, the first of its stage or not."""

    setting: Setting
    stage: str = ""
    """The stage that it belongs to; empty for what is none's."""
    place: int = 0
    """The stage's place in the order, from 1 on; 0 where it does not run."""
    first: bool = False

    @property
    def name(self) -> str:
        return self.setting.name


def rows(sampling: Sampling) -> list[SamplerRow]:
    """Preset, stages that run in their order, others (a row each), mirostat, the story's own."""
    order = sampling.settings.order
    listed = [SamplerRow(_setting("preset"))]
    for stage in (*order, *(one for one in ORDER if one not in order)):
        place = order.index(stage) + 1 if stage in order else 0
        knobs = KNOBS[stage] if place else KNOBS[stage][:1]
        listed += [
            SamplerRow(_setting(name), stage, place, first=not n) for n, name in enumerate(knobs)
        ]
    return listed + [SamplerRow(_setting(name)) for name in (*_MIROSTAT, *_STORY)]


def typed(sampling: Sampling, row: SamplerRow, text: str, presets: Presets) -> Sampling:
    """With what was typed for a row. Raises ValueError with the reason."""
    unset = row.name == "seed" and not text.strip()
    value = None if unset else typed_value(row.setting, text)
    return changed(sampling, row.name, value, presets)


def stepped(sampling: Sampling, row: SamplerRow, by: int, presets: Presets) -> Sampling:
    """One step up (1) or down (-1); the same where there is none."""
    setting, value = row.setting, value_of(sampling, row.name)
    if setting.name == "preset":
        names = list(presets)
        at = names.index(str(value)) if value in names else -1 if by > 0 else 0
        return sampling.under(names[(at + by) % len(names)], presets)
    if isinstance(value, bool):
        return changed(sampling, row.name, not value, presets)
    if setting.kind not in ("number", "whole number"):
        return sampling
    step = _STEPS.get(row.name, 1)
    moved = (value if isinstance(value, int | float) else 0) + by * step
    low, high = setting.low or 0, setting.high or 0
    moved = min(max(moved, low), high)
    if setting.above and moved <= low:
        return sampling
    kept = round(moved, 6) if setting.kind == "number" else int(moved)
    return changed(sampling, row.name, kept, presets)


def switched(sampling: Sampling, row: SamplerRow, presets: Presets) -> Sampling:
    """The row's stage on or off; a yes or no changed."""
    if not row.stage:
        value = value_of(sampling, row.name)
        return stepped(sampling, row, 1, presets) if isinstance(value, bool) else sampling
    order = sampling.settings.order
    if row.stage in order:
        order = tuple(one for one in order if one != row.stage)
    else:
        order = with_stage(order, row.stage)
    return _ordered(sampling, order, presets)


def moved(sampling: Sampling, row: SamplerRow, by: int, presets: Presets) -> Sampling:
    """The row's stage earlier (-1) or later (1) in the order."""
    order = list(sampling.settings.order)
    if row.stage not in order:
        return sampling
    at = order.index(row.stage)
    to = min(max(at + by, 0), len(order) - 1)
    order.insert(to, order.pop(at))
    return _ordered(sampling, tuple(order), presets)


def neutral(sampling: Sampling, row: SamplerRow, presets: Presets) -> Sampling:
    """The row's setting at what changes nothing."""
    if row.name == "preset":
        return sampling.under("neutral", presets)
    plain = Sampling().under("neutral", PRESETS)
    return changed(sampling, row.name, value_of(plain, row.name), presets)


def chain_only(settings: SamplerSettings) -> SamplerSettings:
    """What a preset holds of these settings: no seed, no tokens."""
    return make_preset(preset_values(settings))


def find(listed: Sequence[SamplerRow], row: SamplerRow) -> int:
    """Where a row is now; one that went with its stage is found by what stands for that."""
    same = [n for n, one in enumerate(listed) if one.name == row.name]
    stage = [n for n, one in enumerate(listed) if row.stage and one.stage == row.stage]
    return (same or stage)[0]


def _ordered(sampling: Sampling, order: tuple[str, ...], presets: Presets) -> Sampling:
    return sampling.with_settings(replace(sampling.settings, order=order), presets)


def _setting(name: str) -> Setting:
    return next(one for one in SAMPLING if one.name == name)


def value_text(value: object) -> str:
    """The text for a value; a line break in it is `\\n`, no value is nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "|".join(text.replace("\n", "\\n") for text in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def typed_value(setting: Setting, text: str) -> Value:
    """The value that was typed. Raises ValueError with the reason."""
    if setting.kind == "list of texts":
        return setting.check([part for part in text.replace("\\n", "\n").split("|") if part])
    if not text.strip():
        raise ValueError("nothing is typed")
    return setting.parse(text.strip())
