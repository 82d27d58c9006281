"""What calls may be given by name: the sampler's and the weave's settings, and what must be fitted.

Names and ranges are those of `llterm.toml` (`config/schema.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from llterm.config.schema import setting
from llterm.config.setting import Setting
from llterm.constraints import spec
from llterm.constraints.spec import Constraint
from llterm.core.json_text import json_text
from llterm.errors import UsageError
from llterm.jobs.sample import SampleOptions
from llterm.session.growth import GrowthRules

MOST_TEXTS = 1000
MOST_TOKENS = 1_000_000
Several = list[str] | tuple[str, ...]
Texts = str | Several
"""A text, or several."""


class Fitting(TypedDict, total=False):
    """What a text must fit; one of these at most."""

    choices: Sequence[str]
    """One of these texts."""
    regex: str
    grammar: str
    """Lark, with a rule named start."""
    json_schema: Mapping[str, Any] | str


class SamplerKnobs(TypedDict, total=False):
    """How tokens are drawn: what is not given is as the loom or `llterm.toml` says."""

    preset: str
    temperature: float
    dynatemp_range: float
    dynatemp_exponent: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_last_n: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str]
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    order: Sequence[str]
    seed: int
    ban: Sequence[str]
    ban_newline: bool
    ban_capitals: bool
    ban_refusals: bool
    bias: Sequence[str]
    ideal_length: int


class WeaveKnobs(TypedDict, total=False):
    """How suggestions are searched for."""

    depth: int
    cutoff: float
    multiplier: float
    split_limit: int
    beams: int
    auto_stop: bool
    stop_comma: bool
    stop_newline: bool
    single_line: bool
    stop: Texts
    heal: bool
    strategy: Literal["best", "breadth"]
    diverse: bool
    budget: int


class DrawSettings(SamplerKnobs, Fitting, total=False):
    """How texts are drawn, and what they must fit."""


class SearchSettings(WeaveKnobs, Fitting, total=False):
    """How suggestions are searched for, what they must fit, and what is banned from them."""

    ban: Sequence[str]
    ban_newline: bool
    ban_capitals: bool
    ban_refusals: bool


class OpenSettings(TypedDict, total=False):
    """How a model of a file is opened: what is not given is as `llterm.toml` says."""

    context: int
    cache_size: int
    threads: int
    kv_type: str
    flash_attention: bool
    gpu_layers: int
    gpus: Sequence[int]
    split_mode: str
    main_gpu: int
    kernels: Literal["exact", "fast"]
    chat_template: str
    """A chat format, in place of the model's own."""


_FITTING = tuple(Fitting.__annotations__)


def sampler_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The sampler's settings among these, checked. Raises UsageError."""
    names = SamplerKnobs.__annotations__
    return {name: checked("sampling", name, given[name]) for name in given if name in names}


def weave_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The weave's settings among these, checked, by `WeaveSettings` field. Raises UsageError."""
    names = WeaveKnobs.__annotations__
    return {
        setting(f"weave.{name}").attribute: checked("weave", name, given[name])
        for name in given
        if name in names
    }


def opening_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """How a model is to be opened, checked. Raises UsageError."""
    check_names(given, OpenSettings.__annotations__, "open")
    return {name: checked("models", name, value) for name, value in given.items()}


def check_names(given: Mapping[str, Any], known: Mapping[str, Any], call: str) -> None:
    """Raise UsageError for a name that a call does not know."""
    for name in given:
        if name not in known:
            raise UsageError(
                f"{call}() has no setting {name}", "", f"It has {', '.join(sorted(known))}."
            )


def checked(table: str, name: str, value: object) -> Any:
    """A setting's value, where it may be. Raises UsageError."""
    row = setting(f"{table}.{name}")
    try:
        return row.check(_plain(row, value))
    except ValueError as wrong:
        raise UsageError(f"Wrong value for {name}", f"{wrong}.", row.help) from wrong


def data_of(text: str | bytes) -> bytes:
    """A text's bytes; of Python's stand-ins for broken bytes those, of other halves of characters
    `?`."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def check_counts(n: int, tokens: int) -> None:
    """Raise UsageError where so many texts of so many tokens make no sense."""
    for name, value, most in (("n", n, MOST_TEXTS), ("tokens", tokens, MOST_TOKENS)):
        if not 1 <= value <= most:
            raise UsageError(f"{name} is {value:,}", f"It may be 1 to {most:,}.", "")


def sample_options(
    n: int, tokens: int, stop: Texts, *, sentence: bool, heal: bool
) -> SampleOptions:
    """How texts are drawn. Raises UsageError for numbers that make no sense."""
    check_counts(n, tokens)
    return SampleOptions(n, tokens, sentence, stop_texts(stop), heal)


def growth_rules(n: int, tokens: int, stop: Texts, *, sentence: bool, heal: bool) -> GrowthRules:
    """How children grow. Raises UsageError for numbers that make no sense."""
    check_counts(n, tokens)
    return GrowthRules(n, tokens, sentence, stop_texts(stop), heal)


def stop_texts(stop: Texts) -> tuple[str, ...]:
    """Texts that end a text, checked. Raises UsageError."""
    texts: tuple[str, ...] = checked("weave", "stop", stop)
    return texts


def _plain(row: Setting, value: object) -> object:
    """A lone text in place of several; other sequences as lists are."""
    if row.kind not in ("list of texts", "list of numbers"):
        return value
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else value


def constraint_of(given: Mapping[str, Any]) -> Constraint | None:
    """What must be fitted, among these. Raises UsageError for two of them, or a broken one."""
    names = [name for name in _FITTING if given.get(name) is not None]
    if not names:
        return None
    if len(names) > 1:
        raise UsageError(
            f"{names[0]} and {names[1]} cannot be together", "", "A text fits one of them."
        )
    (name,) = names
    value = given[name]
    if name == "choices":
        return spec.choices(value)
    if name == "regex":
        return spec.regex(value)
    if name == "grammar":
        return spec.lark(value)
    return spec.json_schema(value if isinstance(value, str) else json_text(value))
