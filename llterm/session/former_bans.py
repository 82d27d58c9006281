"""Bans and biases that an older llterm kept for every loom, on their way into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llterm.config.sampling_values import BANS, all_changed, value_of
from llterm.config.schema import setting
from llterm.core.sampling.sampler_settings import PRESETS, Sampling

TABLE = "sampling"
NAMES = (*BANS, "bias")


def former_bans(former: Mapping[str, object]) -> Sampling:
    """What was banned and biased, of choices by dotted name; what cannot be is passed over."""
    bans = Sampling()
    for name in NAMES:
        try:
            value = setting(f"{TABLE}.{name}").check(former[f"{TABLE}.{name}"])
            bans = all_changed(bans, {name: value}, PRESETS)
        except (KeyError, ValueError):
            continue
    return bans


def with_bans(sampling: Sampling, added: Sampling) -> Sampling:
    """With another one's bans and biases too; a text that both bias keeps its own number."""
    own, more = sampling.bans, added.bans
    phrases = tuple(dict.fromkeys([*own.phrases, *more.phrases]))
    bans = replace(
        own,
        newline=own.newline or more.newline,
        capitals=own.capitals or more.capitals,
        refusals=own.refusals or more.refusals,
        phrases=phrases,
    )
    biased = dict(sampling.bias)
    bias = (*sampling.bias, *((text, by) for text, by in added.bias if text not in biased))
    return replace(sampling, bans=bans, bias=bias)


def ban_lines(sampling: Sampling) -> list[str]:
    """Each ban and bias as `llterm.toml` names it, a line each."""
    lines: list[str] = []
    for name in NAMES:
        value: Any = value_of(sampling, name)
        if value is True:
            lines.append(name)
        elif value:
            lines += [f"{name} {text!r}" for text in value]
    return lines


def other_names(former: Mapping[str, object]) -> Sequence[str]:
    """The rest of what was kept, by dotted name."""
    return sorted(former.keys() - {f"{TABLE}.{name}" for name in NAMES})
