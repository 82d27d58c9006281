"""The flags, once for all commands that have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from llterm.config.load import checked_flag, flag_name
from llterm.config.schema import PRESET, SAMPLING, Setting, setting

Command = TypeVar("Command", bound=Callable[..., None])


def _flag(dotted: str, *names: str, default_told: bool = True) -> Any:
    """A typed setting: help, range and default from the schema. Not typed: None."""
    row = setting(dotted)
    flag = flag_name(dotted)
    if row.kind == "yes or no":
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    default = ("on" if row.default else "off") if row.kind == "yes or no" else row.default
    told = default_told and default not in (None, ())
    more = filter(None, (row.range, f"default {default}" if told else ""))
    note = "; ".join(more)
    return typer.Option(flag, *names, help=row.help.rstrip(".") + (f" ({note})." if note else "."))


Depth = Annotated[int | None, _flag("weave.depth")]
Cutoff = Annotated[float | None, _flag("weave.cutoff")]
Multiplier = Annotated[float | None, _flag("weave.multiplier")]
SplitLimit = Annotated[int | None, _flag("weave.split_limit")]
Beams = Annotated[int | None, _flag("weave.beams")]
AutoStop = Annotated[bool | None, _flag("weave.auto_stop")]
StopComma = Annotated[bool | None, _flag("weave.stop_comma")]
StopNewline = Annotated[bool | None, _flag("weave.stop_newline")]
SingleLine = Annotated[bool | None, _flag("weave.single_line")]
Stop = Annotated[list[str] | None, _flag("weave.stop")]
Heal = Annotated[bool | None, _flag("weave.heal")]
Strategy = Annotated[str | None, _flag("weave.strategy")]
Diverse = Annotated[bool | None, _flag("weave.diverse")]
Budget = Annotated[int | None, _flag("weave.budget")]

Model = Annotated[
    str | None,
    typer.Option("-m", "--model", help="A model's name, or the path of a .gguf file."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "-m", "--model", help="A model's name, or the path of a .gguf file; several are mixed."
    ),
]
ContextSize = Annotated[int | None, _flag("models.context")]
Threads = Annotated[int | None, _flag("models.threads")]
GpuLayers = Annotated[int | None, _flag("models.gpu_layers")]

Attribution = Annotated[
    Literal[
        "attention",
        "attention-last",
        "attention-layer",
        "rollout",
        "leave-one-out",
        "saliency",
        "input-x-gradient",
        "integrated-gradients",
    ]
    | None,
    typer.Option("--attribution", help="Rather show what led to one token, by this method."),
]
At = Annotated[
    int | None,
    typer.Option("--at", help="The token --attribution is about, by index; unset: the last."),
]
Candidate = Annotated[
    str | None,
    typer.Option("--candidate", help="Another token for --attribution in its place."),
]
Layer = Annotated[
    int, typer.Option("--layer", min=0, help="For --attribution attention-layer, from 0.")
]
Last = Annotated[
    int,
    typer.Option("--last", min=1, max=4096, help="For leave-one-out: how many tokens, in turn."),
]

Prompt = Annotated[str | None, typer.Option("--prompt", help="The story so far.")]
Prefix = Annotated[
    str | None, typer.Option("--prefix", help="Hidden text before the story (memory, a note).")
]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="The story is the model's reply in a chat, by its own chat template: --prompt is what "
        "you say to it, and a file holds the reply so far.",
    ),
]
System = Annotated[
    str | None,
    typer.Option("--system", help="How the model is to behave in the chat (implies --chat)."),
]
Choice = Annotated[
    list[str] | None,
    typer.Option("--choice", help="Suggest only one of these texts; may be given many times."),
]
Regex = Annotated[
    str | None, typer.Option("--regex", help="Suggest only what matches, from the first letter on.")
]
Grammar = Annotated[
    Path | None,
    typer.Option("--grammar", help="Suggest only what fits a file's Lark grammar."),
]
JsonSchema = Annotated[
    Path | None, typer.Option("--json-schema", help="Suggest only JSON that fits a schema's file.")
]
Record = Annotated[
    Path | None,
    typer.Option("--record", help="Keep a server's answers in a new file, without keys."),
]
Replay = Annotated[
    Path | None,
    typer.Option("--replay", help="Take the answers from such a file and ask no server."),
]
Pool = Annotated[
    Literal["linear", "log"] | None,
    typer.Option(
        "--pool",
        help="How democratic models are added up: the mean of their probabilities, or of their "
        "logs (default linear).",
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        metavar="MODEL=W",
        help="A model's weight; below 0 takes away what it expects, 0 leaves it out (default 1).",
    ),
]
Plausible = Annotated[
    float | None,
    typer.Option(
        "--plausible",
        help="With a weight below 0: share of the best token's probability that a token needs "
        "(0 to 1; default 0.1).",
    ),
]
TurnLength = Annotated[
    int | None,
    typer.Option("--turn", min=1, help="Tokens a model gives in a row, in turns (default 1)."),
]
WeaveMode = Annotated[
    Literal["round-robin", "democratic"] | None,
    typer.Option("--mode", help="How several models are mixed (default democratic)."),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", help="Read this file in place of the user's and the project's."),
]


_TYPES = {
    "whole number": int, "number": float, "yes or no": bool, "text": str, "list of texts": list[str]
}  # fmt: skip
BANS = tuple(row for row in SAMPLING if row.name.startswith("ban"))


def with_sampling(rows: Iterable[Setting] = SAMPLING) -> Callable[[Command], Command]:
    """Gives a command a flag for each of these settings, in place of its `**sampling`."""

    def given(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        flags = [
            inspect.Parameter(
                row.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    # Stages are named with commas between; other texts may hold commas.
                    (str if row.choices else _TYPES[row.kind]) | None,
                    # A knob's default is the preset's.
                    _flag(f"sampling.{row.name}", default_told=row not in PRESET),
                ],
            )
            for row in rows
        ]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        return command

    return given


def sampling_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed sampler settings among a command's parameters, by dotted setting name."""
    found = {}
    for row in SAMPLING:
        value = values.get(row.name)
        if value not in (None, []):
            found[f"sampling.{row.name}"] = (
                value.replace(",", " ").split() if row.choices else value
            )
    return found


def typed_sampling(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Typed sampler settings by name, checked. Raises ConfigError."""
    return {
        dotted.partition(".")[2]: checked_flag(dotted, value) for dotted, value in flags.items()
    }


def weave_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The weave flags among a command's parameters, by dotted setting name."""
    names = (
        "depth", "cutoff", "multiplier", "split_limit", "beams", "auto_stop", "stop_comma",
        "stop_newline", "single_line", "stop", "heal", "strategy", "diverse", "budget",
    )  # fmt: skip
    return {f"weave.{name}": values[name] for name in names if values[name] not in (None, [])}


def model_flags(values: Mapping[str, Any]) -> dict[str, int]:
    """Typed model flags by setting name, checked. Raises ConfigError."""
    names = ("context", "threads", "gpu_layers")
    return {
        name: checked_flag(f"models.{name}", values[name])
        for name in names
        if values[name] is not None
    }
