"""`llterm mix`, and several models for a weave: from typed words to jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.cli.chatting import typed_chat
from llterm.cli.taping import all_taped
from llterm.core.counts import count_of
from llterm.errors import ConditionFailed, UsageError
from llterm.output import put_parts, say
from llterm.regular import present
from llterm.terminal import why_not_interactive

if TYPE_CHECKING:
    from llterm.cli.scoring import Given
    from llterm.config import Config
    from llterm.config.schema import MixConfig
    from llterm.core.chat_messages import Chat
    from llterm.core.judging.require import Condition
    from llterm.core.mixing.mix_recipe import Recipe
    from llterm.core.sampling.sampler_settings import Sampling
    from llterm.engine.opening import MixOf
    from llterm.headless.compare import Compared

Values = Mapping[str, Any]
TOKENS = 64
"""How many tokens a report goes on for."""
_REPORT = (
    "format",
    "tokens",
    "further",
    "require",
    "base",
    "write_base",
    "window",
    "stride",
    "method",
)
"""Flags that ask for a report."""


def mix_of(values: Values) -> MixOf | None:
    """What several `-m` and the flags beside them mean for a weave; None for one model."""
    models = tuple(values["model"] or ())
    if len(models) < 2:
        typed = [name for name in ("mode", "pool", "weight", "plausible", "turn") if values[name]]
        if typed:
            raise UsageError(f"--{typed[0]} needs several models", "", "Give -m for each of them.")
        return None
    from llterm.engine.opening import MixOf

    return MixOf(models, _recipe(values, models, values["mode"] or "democratic"))


def mix(values: Values) -> int:
    """Mix or compare; print a report. The exit code."""
    from llterm.cli.settings import load

    config = load(file=values["config"])
    compared = values["text"] is not None or values["base"] is not None
    mode = values["mode"] or ("reference" if compared else config.mix.mode)
    values = {**values, "mode": mode, **_configured(values, config.mix, mode)}
    models = tuple(values["model"])
    chat, prompt = typed_chat(values)
    values = {**values, "prompt": prompt}
    least = 1 if values["base"] is not None else 2
    if len(models) < least:
        raise UsageError(
            "There is nothing to mix" if least > 1 else "There is no model to compare",
            f"Given: {count_of(len(models), 'model')}.",
            "Give -m for each model: `llterm mix -m A -m B --prompt …`.",
        )
    if all(values[name] is None for name in _REPORT) and not why_not_interactive(os.environ):
        return _open_screen(values, models, mode, config, chat)
    config = all_taped(config, models, values["record"] or (), values["replay"] or ())
    if mode == "reference":
        return _compare(values, models, config, chat)
    return _play(values, models, config, mode, chat)


def _configured(values: Values, own: MixConfig, mode: str) -> dict[str, Any]:
    """What the configuration says where no flag was typed."""
    found: dict[str, Any] = {"model": values["model"] or list(own.models)}
    if mode != "reference":
        weights = own.weights if found["model"] == list(own.models) else ()
        given = {"pool": own.pool, "weight": list(weights), "plausible": own.plausible,
                 "turn": own.turn}  # fmt: skip
        found |= {name: value for name, value in given.items() if not values[name]}
    return found


def _open_screen(
    values: Values, models: tuple[str, ...], mode: str, config: Config, chat: Chat | None
) -> int:
    """The models side by side, in the app."""
    from dataclasses import replace

    from llterm.cli.asked import Asked
    from llterm.cli.options import model_flags, sampling_flags
    from llterm.cli.scoring import given_text
    from llterm.cli.weaving import weave
    from llterm.engine.opening import MixOf
    from llterm.jobs.inputs import is_loom

    file, prompt = values["file"], values["prompt"]
    if values["text"] is not None:
        # What is compared is not gone on with: the loom beside the text is not for that.
        text, chat = given_text(values["text"], None, chat)
        file, prompt = None, text.decode("utf-8", "surrogateescape")
    _sampling(values, config)  # What is wrong with them is told before the screen is taken.
    typed, rules = sampling_flags(values), dict[str, Any]()
    if file is None or not (is_loom(file) and present(file)):
        # What is on show is what is drawn from: no half-written word is finished first.
        typed, rules = {"sampling.preset": config.mix.preset, **typed}, {"weave.heal": False}
    recipe = replace(_recipe(values, models, mode), reference=_reference(values, models))
    asked = Asked(
        file=file,
        prompt=prompt,
        model=models[0],
        config=values["config"],
        weave=rules,
        overrides=model_flags(values),
        record=tuple(values["record"] or ()),
        replay=tuple(values["replay"] or ()),
        mix=MixOf(models, recipe),
        sampling=typed,
        chat=chat,
        beside=True,
    )
    return weave(asked)


def _play(
    values: Values, models: Sequence[str], config: Config, mode: str, chat: Chat | None
) -> int:
    for name in ("text", "base", "write_base", "require", "reference", "further"):
        if values[name] is not None:
            flag = "continue" if name == "further" else name.replace("_", "-")
            raise UsageError(
                f"--{flag} belongs to --mode reference",
                "", f"Leave it out, or --mode {mode}.",
            )  # fmt: skip
    if values["format"] == "html":
        raise UsageError("There is no page of a mixed text", "", "Use --format text or json here.")
    from llterm.cli.options import model_flags
    from llterm.headless import mix_formats, mix_json
    from llterm.headless.mix import MixJob, run

    given = _begun(values, chat)
    job = MixJob(
        recipe=_recipe(values, models, mode),
        models=tuple(models),
        text=given.text,
        chat=given.chat,
        tokens=values["tokens"] or TOKENS,
        config=config,
        overrides=model_flags(values),
        sampling=_sampling(values, config),
    )
    played = run(job)
    if values["format"] == "json":
        put_parts(mix_json.played_json(played))
    else:
        put_parts([mix_formats.as_text(played), "\n"])
    say(mix_formats.summary(played))
    return 0


def _compare(values: Values, models: Sequence[str], config: Config, chat: Chat | None) -> int:
    for name in ("pool", "weight", "plausible", "turn"):
        if values[name]:
            raise UsageError(
                f"--{name} does not belong to --mode reference",
                "There the reference alone decides.", "Leave it out.",
            )  # fmt: skip
    from llterm.cli.options import model_flags
    from llterm.headless import compare_formats, mix_json
    from llterm.headless.compare import CompareJob, run

    given, source = _compared_text(values, chat)
    job = CompareJob(
        models=tuple(models),
        reference=_reference(values, models),
        text=given.text,
        chat=given.chat,
        source=source,
        tokens=values["tokens"] or 0,
        further=values["further"] or 0,
        config=config,
        overrides=model_flags(values),
        sampling=_sampling(values, config),
        window=values["window"],
        stride=values["stride"],
        method=values["method"] or "overlap",
        base=values["base"],
        write_base=values["write_base"],
        conditions=_conditions(values["require"]),
    )
    report = run(job)
    if values["format"] == "json":
        put_parts(mix_json.compared_json(report))
    elif values["format"] == "html":
        from llterm.headless.compare_page import as_page

        put_parts(as_page(report))
    else:
        put_parts([compare_formats.as_text(report), "\n"])
    say(compare_formats.summary(report))
    _check(report)
    return 0


def _check(report: Compared) -> None:
    """Raises ConditionFailed where a condition does not hold."""
    from llterm.headless.compare_formats import failed

    broken = failed(report)
    if broken:
        raise ConditionFailed(
            "A required condition does not hold",
            "; ".join(f"{name}: {why}" for name, why in broken) + ".",
        )  # fmt: skip


def _begun(values: Values, chat: Chat | None) -> Given:
    """The text that the models go on with; a reply may be all theirs."""
    from llterm.cli.scoring import Given, given_text

    if chat is not None and values["file"] is None and values["prompt"] is None:
        return Given(b"", chat)
    return given_text(values["file"], values["prompt"], chat)


def _compared_text(values: Values, chat: Chat | None) -> tuple[Given, str]:
    """The text that is read, and where it is from."""
    from llterm.cli.scoring import Given, given_text

    begun = values["file"] is not None or values["prompt"] is not None
    if values["base"] is not None:
        if begun or values["text"] is not None:
            raise UsageError("A base file brings its own text", "", "Leave the other text out.")
        for name, flag in (("further", "continue"), ("tokens", "tokens")):
            if values[name] is not None:
                raise UsageError(
                    f"A base file is read as it is, without --{flag}", "", "Leave it out."
                )
        if values["write_base"] is not None or values["reference"] is not None:
            raise UsageError(
                "A base file is the reference already", "",
                "Leave --reference and --write-base out.",
            )  # fmt: skip
        return Given(b"", chat), ""
    if values["text"] is not None and begun:
        raise UsageError("Two texts are given", "", "Leave --text, the file or --prompt out.")
    file, prompt = values["text"] or values["file"], values["prompt"]
    source = "standard input" if str(file) == "-" else file.name if file is not None else "--prompt"
    if file is None and chat is not None:
        source = "the reply"
    if values["further"] is not None and values["text"] is None:
        return _begun(values, chat), source
    return given_text(file, prompt, chat), source


def _recipe(values: Values, models: Sequence[str], mode: str) -> Recipe:
    from llterm.core.mixing.mix_recipe import Recipe
    from llterm.core.mixing.opinion_pools import OpinionPool

    weights = [1.0] * len(models)
    for typed in values["weight"] or ():
        name, equals, number = typed.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(
                f"--weight {typed} is not understood", "", "Write it as --weight MODEL=0.5."
            )
        weights[_index(name, models)] = weight
    plausible = 0.1 if values["plausible"] is None else values["plausible"]
    pool = OpinionPool(tuple(weights), values["pool"] or "linear", plausible)
    return Recipe(mode, pool, values["turn"] or 1)  # type: ignore[arg-type]


def _reference(values: Values, models: Sequence[str]) -> int:
    return 0 if values["reference"] is None else _index(values["reference"], models)


def _index(name: str, models: Sequence[str]) -> int:
    """Which of the models is meant: as typed with -m, or its file's name."""
    stems = [Path(model).stem if model.endswith(".gguf") else model for model in models]
    for known in (models, stems):
        if name in known:
            return list(known).index(name)
    near = get_close_matches(name, [*models, *stems], 1, 0.5)
    raise UsageError(
        f"There is no model {name} in this mix",
        f"Given with -m: {', '.join(models)}.",
        f"Did you mean {near[0]}?" if near else "",
    )


def _sampling(values: Values, config: Config) -> Sampling:
    """How tokens are drawn: the typed preset, or the configured one for mixes, and typed knobs."""
    from llterm.cli.options import checked, sampling_flags
    from llterm.config.sampling_values import make_sampling

    typed = {"preset": config.mix.preset, **checked(sampling_flags(values))}
    try:
        return make_sampling(typed, config.presets)
    except ValueError as wrong:
        raise UsageError("The sampler cannot be set so", f"{wrong}.", "") from wrong


def _conditions(text: str | None) -> tuple[Condition, ...]:
    if text is None:
        return ()
    from llterm.core.judging.require import parse
    from llterm.core.judging.tally import NAMES

    return parse(text, NAMES)
