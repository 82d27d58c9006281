"""Attribution methods and their settings, for flags and for whoever runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal[
    "attention",
    "attention-last",
    "attention-layer",
    "rollout",
    "leave-one-out",
    "saliency",
    "input-x-gradient",
    "integrated-gradients",
]
Family = Literal["attention", "omission", "gradient"]
METHODS: dict[Method, Family] = {
    "attention": "attention",
    "attention-last": "attention",
    "attention-layer": "attention",
    "rollout": "attention",
    "leave-one-out": "omission",
    "saliency": "gradient",
    "input-x-gradient": "gradient",
    "integrated-gradients": "gradient",
}
SHARES: tuple[Method, ...] = ("attention", "attention-last", "attention-layer", "rollout")
"""Methods whose values are shares of 1; those of the others are natural logs or their slopes."""
SIGNED: tuple[Method, ...] = ("leave-one-out", "input-x-gradient", "integrated-gradients")
LAST = 64
"""Tokens that are left out one by one."""
LIMIT = 512
"""Tokens before the chosen one that get a value of their own."""

TITLES: dict[Method, str] = {
    "attention": "attention, mean of all layers",
    "attention-last": "attention, last layer",
    "attention-layer": "attention, layer {layer}",
    "rollout": "attention rollout through all layers",
    "leave-one-out": "leave one out, of the last {last}",
    "saliency": "saliency: length of the gradient",
    "input-x-gradient": "input × gradient",
    "integrated-gradients": "integrated gradients",
}


@dataclass(frozen=True, slots=True)
class AttributionSettings:
    """The method and its settings."""

    method: Method = "attention"
    layer: int = 0
    """For `attention-layer`: its number, from 0."""
    last: int = LAST
    """For `leave-one-out`: how many tokens, from the last one back."""
    limit: int = LIMIT
    """For the other methods: how many tokens get a value of their own."""

    @property
    def title(self) -> str:
        """For people."""
        return TITLES[self.method].format(layer=self.layer, last=self.last)
