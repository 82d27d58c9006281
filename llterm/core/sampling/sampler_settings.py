"""What shapes the draw of the next token: the chain's settings, presets, and a story's own wishes.

Light to import: the command line is made from it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from llterm.core.bans import Bans

ORDER = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typical_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
"""Every stage that can be ordered, in llama.cpp's default order (common/common.h, `samplers`)."""

KNOBS: Mapping[str, tuple[str, ...]] = {
    "penalties": ("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"),
    "dry": (
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
    ),
    "top_n_sigma": ("top_n_sigma",),
    "top_k": ("top_k",),
    "typical_p": ("typical_p",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "xtc": ("xtc_probability", "xtc_threshold"),
    "temperature": ("temperature", "dynatemp_range", "dynatemp_exponent"),
}
"""What each stage is set by."""

_RANGES = {
    "temperature": (0, math.inf),
    "dynatemp_range": (0, math.inf),
    "dynatemp_exponent": (0, math.inf),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "top_n_sigma": (-math.inf, math.inf),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "frequency_penalty": (-math.inf, math.inf),
    "presence_penalty": (-math.inf, math.inf),
    "penalty_last_n": (-1, math.inf),
    "dry_multiplier": (0, math.inf),
    "dry_base": (0, math.inf),
    "dry_allowed_length": (0, math.inf),
    "dry_penalty_last_n": (-1, math.inf),
    "mirostat": (0, 2),
    "mirostat_tau": (0, math.inf),
    "mirostat_eta": (0, math.inf),
}
"""Lowest and highest value of each number, both allowed; infinities never are."""


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """One sampler chain; every default is neutral, so that the defaults change no probability.

    Names and meanings are llama.cpp's. Raises ValueError when a value is out of its range.
    """

    temperature: float = 1.0
    """Divides the logits; 0 keeps only the best candidate."""
    dynatemp_range: float = 0.0
    """Above 0, the temperature moves with the entropy within `temperature` ± this."""
    dynatemp_exponent: float = 1.0
    top_k: int = 0
    """Candidates to keep; 0 keeps all."""
    top_p: float = 1.0
    """Mass to keep; the candidate that crosses it is kept. 1 keeps all."""
    min_p: float = 0.0
    """Lowest probability to keep, as a fraction of the best one's."""
    typical_p: float = 1.0
    """Mass to keep, nearest to the entropy first. 1 keeps all."""
    top_n_sigma: float = -1.0
    """Standard deviations below the best logit to keep; 0 or less keeps all."""
    xtc_probability: float = 0.0
    """Chance that the best candidates but the last above `xtc_threshold` are dropped."""
    xtc_threshold: float = 0.1
    """Probability; above 0.5 nothing is dropped."""
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    """Taken off a logit for each time its token occurred."""
    presence_penalty: float = 0.0
    """Taken off a logit once when its token occurred."""
    penalty_last_n: int = 64
    """Newest tokens that the penalties look at; -1 all of them, 0 none."""
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    """Below 1 turns DRY off."""
    dry_allowed_length: int = 2
    """Longest repetition in tokens that costs nothing to extend."""
    dry_penalty_last_n: int = -1
    """Newest tokens that DRY looks at; -1 all of them, 0 none."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """Texts that no repetition reaches across."""
    mirostat: int = 0
    """1 or 2: that version of mirostat stands in for every stage of `order` but temperature."""
    mirostat_tau: float = 5.0
    """Surprise to aim at, in bits."""
    mirostat_eta: float = 0.1
    """How fast mirostat follows its error."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token id and what is added to its logit; minus infinity drops it."""
    banned: tuple[int, ...] = ()
    """Token ids that never stand."""
    seed: int | None = None
    """Makes the draws repeatable; None draws afresh each time."""
    order: tuple[str, ...] = ORDER
    """Stages in the order they run; one that is left out does not run."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} must be {_range_text(low, high)}, not {value}")
        if not (math.isfinite(self.repeat_penalty) and self.repeat_penalty > 0):
            raise ValueError(f"repeat_penalty must be above 0, not {self.repeat_penalty}")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        self._check_tokens()
        self._check_order()

    def _check_tokens(self) -> None:
        for id, bias in self.logit_bias:
            if math.isnan(bias) or bias == math.inf:
                raise ValueError(f"logit_bias of token {id} must be a number, not {bias}")
        if len({id for id, _ in self.logit_bias}) < len(self.logit_bias):
            raise ValueError("logit_bias must name each token once")
        if not all(self.dry_sequence_breakers):
            raise ValueError("dry_sequence_breakers must not hold an empty text")

    def _check_order(self) -> None:
        for name in self.order:
            if name not in ORDER:
                raise ValueError(
                    f"order names an unknown stage {name!r}; known: {', '.join(ORDER)}"
                )
        if len(set(self.order)) < len(self.order):
            raise ValueError("order must name each stage once")


def _range_text(low: float, high: float) -> str:
    if high == math.inf:
        return "finite" if low == -math.inf else f"{low} or more"
    return f"{low} to {high}"


# The source system's own order and window (LLM Next-Token Visualization, seeds.md 4.1 and 4.2): its
# penalties read every token so far, and its nucleus is taken after the temperature.
_PRESET_ORDER = ("penalties", "temperature", "top_p")

PRESETS: Mapping[str, SamplerSettings] = {
    "neutral": SamplerSettings(),
    "greedy": SamplerSettings(temperature=0.0, penalty_last_n=-1, order=_PRESET_ORDER),
    "reliable": SamplerSettings(
        temperature=0.25, top_p=0.70, repeat_penalty=1.10, penalty_last_n=-1, order=_PRESET_ORDER
    ),
    "balanced": SamplerSettings(
        temperature=0.70, top_p=0.80, repeat_penalty=1.05, penalty_last_n=-1, order=_PRESET_ORDER
    ),
    "creative": SamplerSettings(
        temperature=1.05,
        top_p=0.95,
        repeat_penalty=1.02,
        presence_penalty=0.2,
        frequency_penalty=0.1,
        penalty_last_n=-1,
        order=_PRESET_ORDER,
    ),
}
"""Settings by name; `neutral` draws from the model's own probabilities."""

DEFAULT_PRESET = "balanced"

_OF_THE_STORY = ("seed", "logit_bias", "banned")
"""Settings that no preset changes: they say something of this story, not of how to draw."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The chain with its knobs, and what this story asks for besides.

    A preset is a chain alone: bans, biases, ideal length and seed stay when another is chosen.
    Raises ValueError when a value is out of its range.
    """

    settings: SamplerSettings = PRESETS[DEFAULT_PRESET]
    """Holds no token ids: texts become ids with a vocabulary (see `Chain`)."""
    preset: str | None = DEFAULT_PRESET
    """The preset that `settings` are, None where a person changed them: custom."""
    bans: Bans = field(default_factory=Bans)
    bias: tuple[tuple[str, float], ...] = ()
    """A text, or `#` and a token id; and what is added to the logits of its tokens."""
    ideal_length: int = 0
    """Tokens at which a text may well end; before, the end is held back. 0 asks for none."""

    def __post_init__(self) -> None:
        if self.ideal_length < 0:
            raise ValueError(f"ideal_length must be 0 or more, not {self.ideal_length}")
        for text, bias in self.bias:
            if not text:
                raise ValueError("a bias needs a text")
            if math.isnan(bias) or bias == math.inf:
                raise ValueError(f"the bias of {text!r} must be a number, not {bias}")

    @property
    def label(self) -> str:
        """The preset's name, or `custom`."""
        return self.preset or "custom"

    def under(self, name: str, presets: Mapping[str, SamplerSettings]) -> Sampling:
        """With this preset's chain. Raises KeyError where there is none of that name."""
        kept = {name: getattr(self.settings, name) for name in _OF_THE_STORY}
        return replace(self, settings=replace(presets[name], **kept), preset=name)

    def with_settings(
        self, settings: SamplerSettings, presets: Mapping[str, SamplerSettings]
    ) -> Sampling:
        """With this chain, under the name of the preset that it equals, if it equals one."""
        ordered = sorted(presets, key=lambda name: name != self.preset)
        name = next((name for name in ordered if same_chain(presets[name], settings)), None)
        return replace(self, settings=settings, preset=name)


def seeded(sampling: Sampling) -> Sampling:
    """The same with a seed: one that chance has it, where it has none."""
    if sampling.settings.seed is not None:
        return sampling
    settings = replace(sampling.settings, seed=secrets.randbits(31))
    return replace(sampling, settings=settings)


def with_knob(settings: SamplerSettings, name: str, value: object) -> SamplerSettings:
    """With one knob set. A stage that did not run is put in its usual place if this needs it.

    Raises ValueError where the value cannot be.
    """
    changed = replace(settings, **{name: value})  # type: ignore[arg-type]
    stage = next((stage for stage, knobs in KNOBS.items() if name in knobs), None)
    if stage is None or stage in settings.order or value == getattr(PRESETS["neutral"], name):
        return changed
    return replace(changed, order=with_stage(settings.order, stage))


def with_stage(order: tuple[str, ...], stage: str) -> tuple[str, ...]:
    """The order with one more stage: after those that stand before it in `ORDER`."""
    before = ORDER[: ORDER.index(stage)]
    place = max((n + 1 for n, one in enumerate(order) if one in before), default=0)
    return (*order[:place], stage, *order[place:])


def parse_bias(text: str) -> tuple[str, float]:
    """A bias as it is typed: `TEXT=NUMBER` or `#ID=NUMBER`. Raises ValueError."""
    said, equals, number = text.rpartition("=")
    try:
        if equals and said:
            return said, float(number)
    except ValueError:
        pass
    raise ValueError(f'{text!r} is not TEXT=NUMBER, such as " cat=-2.5"')


def bias_text(bias: tuple[str, float]) -> str:
    """The same as it is typed."""
    return f"{bias[0]}={bias[1]:g}"


def same_chain(first: SamplerSettings, second: SamplerSettings) -> bool:
    """Whether two settings draw alike, whatever their seed."""
    return all(
        getattr(first, field.name) == getattr(second, field.name)
        for field in fields(SamplerSettings)
        if field.name not in _OF_THE_STORY
    )
