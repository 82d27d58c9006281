"""The flags, once for all commands that have them: groups of them, and what was typed of a group.

What the configuration has too takes its type, its range and its help from the schema.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from llterm.config import schema
from llterm.config.config_loader import checked_flag, flag_name
from llterm.config.model_settings import FOR_A_RUN, OF_A_DRAFT
from llterm.config.schema import PRESET, setting
from llterm.config.setting import Setting
from llterm.core.attribution_methods import Method

Command = TypeVar("Command", bound=Callable[..., None])
Flags = Mapping[str, Any]
"""A group: by parameter name each flag's annotation. One that is not typed is None."""

_TYPES = {
    "whole number": int, "number": float, "yes or no": bool, "text": str, "list of texts": list[str]
}  # fmt: skip


def with_flags(*groups: Flags) -> Callable[[Command], Command]:
    """Gives a command the flags of these groups, in place of its `**flags`."""

    def given(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        flags = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
            for group in groups
            for name, annotation in group.items()
        ]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        return command

    return given


def _flag(kind: Any, *names: str, help: str, **bounds: Any) -> Any:
    """One flag of a group, by its own names where the parameter's does not say them."""
    return Annotated[kind | None, typer.Option(*names, help=help, **bounds)]


def _settings(table: str, rows: Iterable[Setting]) -> Flags:
    """A flag for each of these settings."""
    return {row.name: Annotated[_type(row) | None, _option(table, row)] for row in rows}


def _is_words(row: Setting) -> bool:
    """Whether its texts are names, typed with commas between; other texts may hold commas."""
    return row.kind == "list of texts" and bool(row.choices)


def _type(row: Setting) -> Any:
    return str if _is_words(row) or row.is_typed else _TYPES[row.kind]


def _option(table: str, row: Setting) -> Any:
    """Help, range and default from the schema."""
    flag = flag_name(f"{table}.{row.name}")
    if row.kind == "yes or no":
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    default = ("on" if row.default else "off") if row.kind == "yes or no" else row.default
    # A knob's default is the preset's.
    told = row not in PRESET and default not in (None, ())
    note = "; ".join(filter(None, (row.range, f"default {default}" if told else "")))
    return typer.Option(flag, help=row.help.rstrip(".") + (f" ({note})." if note else "."))


File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE|-", help="A text or a loom; - reads standard input."),
]
Stride = Annotated[
    int | None, typer.Option(help="How far windows are apart; unset: half a window.")
]
Model = Annotated[
    str | None,
    typer.Option("-m", "--model", help="A model's name, or the path of a .gguf file."),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", help="Read this file in place of the user's and the project's."),
]
Parallel = Annotated[int | None, _option("", setting("parallel"))]
Kernels = Annotated[str | None, _option("models", setting("models.kernels"))]
Threads = Annotated[int | None, _option("models", setting("models.threads"))]

PREFIX: Flags = {
    "prefix": _flag(str, help="Hidden text before the story (memory, a note)."),
}
STORY: Flags = {"prompt": _flag(str, help="The story so far."), **PREFIX}
MIX: Flags = {
    "model": _flag(
        list[str],
        "-m",
        "--model",
        help="A model's name, or the path of a .gguf file; several are mixed.",
    ),
    "pool": _flag(
        Literal["linear", "log"],
        help="How democratic models are added up: the mean of their probabilities, or of "
        "their logs (default linear).",
    ),
    "weight": _flag(
        list[str],
        metavar="MODEL=W",
        help="A model's weight; below 0 takes away what it expects, 0 leaves it out (default 1).",
    ),
    "plausible": _flag(
        float,
        help="With a weight below 0: share of the best token's probability that a token needs "
        "(0 to 1; default 0.1).",
    ),
    "turn": _flag(int, min=1, help="Tokens a model gives in a row, in turns (default 1)."),
}
COMPARISON: Flags = {
    "text": _flag(
        Path, metavar="FILE|-", help="A text that all models read as it is, with --mode reference."
    ),
    "further": _flag(
        int,
        "--continue",
        metavar="N",
        min=1,
        max=100_000,
        help="With --mode reference: the reference goes on with the text for so many tokens, "
        "and those are compared.",
    ),
    "reference": _flag(str, help="Which model the others are compared with (default the first)."),
    "window": _flag(
        int,
        help="Tokens seen at once when a text is read (default the least "
        "context; side by side 512).",
    ),
    "stride": Stride,
    "method": _flag(
        Literal["overlap", "halves"],
        help="overlap (default): every token, in overlapping windows. halves: as "
        "llama-perplexity counts, windows side by side, the second half of each.",
    ),
    "base": _flag(Path, metavar="FILE", help="Compare with llama-perplexity's base file."),
    "write_base": _flag(Path, metavar="FILE", help="Keep the reference as a base file."),
    "require": _flag(
        str,
        metavar="CONDITIONS",
        help="Fail with exit code 6 unless these "
        "hold of every model, such as 'same-top>=0.97,kld<=0.05'.",
    ),
}
"""What `mix --mode reference` compares, and how."""
CONSTRAINT: Flags = {
    "choice": _flag(list[str], help="Suggest only one of these texts; may be given many times."),
    "regex": _flag(str, help="Suggest only what matches, from the first letter on."),
    "grammar": _flag(Path, help="Suggest only what fits a file's Lark grammar."),
    "json_schema": _flag(Path, help="Suggest only JSON that fits a schema's file."),
}
_OF_MODELS = tuple(setting(f"models.{name}") for name in FOR_A_RUN)
_OF_DRAFTS = tuple(setting(f"models.{name}") for name in OF_A_DRAFT)
_OF_SERVERS = (setting("parallel"),)
DRAFT: Flags = _settings("models", _OF_DRAFTS)
RUN: Flags = {
    **_settings("models", _OF_MODELS),
    **_settings("", _OF_SERVERS),
    "config": ConfigPath,
}
RECORDING: Flags = {
    "record": _flag(Path, help="Keep a server's answers in a new file, without keys."),
    "replay": _flag(Path, help="Take the answers from such a file and ask no server."),
}
RECORDINGS: Flags = {
    "record": _flag(
        list[Path],
        help="Keep a server's answers in a new file, without keys; of several models on "
        "servers, one file each, in the order of -m.",
    ),
    "replay": _flag(list[Path], help="Take the answers from such files and ask no server."),
}
CHAT: Flags = {
    "chat": _flag(
        bool,
        "--chat",
        help="The text is the model's reply in a chat, by its own chat template: --prompt is "
        "what you say to it, and a file holds the reply so far.",
    ),
    "system": _flag(str, help="How the model is to behave in the chat (implies --chat)."),
    "chat_file": _flag(
        Path,
        metavar="FILE.json",
        help="A chat of several turns, as a list of messages with role and content (implies "
        "--chat); --prompt is said after them. An assistant's message at the end is the "
        "beginning of the reply.",
    ),
}
"""What stands before the text, for each model by its own template."""
HEAL = _settings("weave", (setting("weave.heal"),))
WEAVE: Flags = {
    **STORY,
    **CHAT,
    "mode": _flag(
        Literal["round-robin", "democratic"],
        help="How several models are mixed (default democratic).",
    ),
    **MIX,
    **_settings("weave", schema.WEAVE),
    **CONSTRAINT,
    **RUN,
    **RECORDINGS,
}
SAMPLING = _settings("sampling", schema.SAMPLING)
DRAWN = _settings(
    "sampling",
    (row for row in schema.SAMPLING if row in PRESET or row.name in ("preset", "seed")),
)
BANS = _settings("sampling", (row for row in schema.SAMPLING if row.name.startswith("ban")))

_SERVED = ("host", "port", "preset", "seed", "allow_host", "allow_origin", "alias", "api_key_env",
           "admin_key_env", "configured", "model_folder", "parallel", "slot_context",
           "cache_memory", "models_memory", "queue", "metrics")  # fmt: skip
SERVE: Flags = {
    "model": _flag(
        list[str],
        "-m",
        "--model",
        metavar="MODEL[,key=value…]",
        help="A model's name, the path of a .gguf file, or a server's address, with settings of "
        "its own such as context=4096, alias=NAME, and load=use to load it when it is asked for; "
        "may be given many times, also the same one. The first is meant where a request names "
        "none.",
    ),
    **_settings("serve", (row for row in schema.SERVE if row.name in _SERVED)),
    "api_key_file": _flag(
        Path, metavar="FILE", help="A file that only you can read, with a key as its one line."
    ),
    "socket": _flag(
        Path, metavar="FILE", help="Listen at a socket file that you alone may use, at no port."
    ),
    "looms": _flag(
        Path, metavar="DIR", help="Serve the looms of this folder too, whoever has the key."
    ),
    "config": ConfigPath,
}

_SLOTS = tuple(setting(f"serve.{name}") for name in ("slot_context", "cache_memory"))
BATCH: Flags = {
    "output": _flag(
        Path, "-o", "--output", metavar="OUT.jsonl", help="The results, a line each as it ends."
    ),
    "template": _flag(
        Path, metavar="FILE", help="A text with places for columns, {name}, in place of requests."
    ),
    "rows": _flag(
        Path, metavar="FILE.csv|FILE.jsonl|-", help="The rows that --template is filled with."
    ),
    "number": _flag(
        int, "-n", "--number", min=1, max=100_000, help="Texts of each row (default 1)."
    ),
    "chat": _flag(
        bool, "--chat", help="The template is what you say to the model, which replies."
    ),
    "system": _flag(
        str, help="How the model is to behave, with columns too (implies --chat)."
    ),
    "tokens": _flag(
        int, min=1, max=1_000_000,
        help="Most tokens of each text, where a request does not say (default 256 with "
        "--template, else 16 as OpenAI has it).",
    ),
    "stop": _flag(list[str], help="A text that ends each; may be given many times."),
    "logprobs": _flag(
        int, min=0, max=100, help="Tell each token's logprob, and so many candidates."
    ),
    "limit": _flag(int, min=1, help="Only the first so many rows."),
    "dry_run": _flag(
        bool, "--dry-run", help="Write nothing: tell rows, tokens and time, by ten of the rows."
    ),
    "most_failures": _flag(
        int, "--max-failures", min=0, help="Stop where more rows fail (default: never)."
    ),
    "accept_changes": _flag(
        bool, "--accept-changes",
        help="Go on though model, settings or input are not those that OUT was begun with.",
    ),
    "drop_duplicates": _flag(
        Literal["exact", "near"],
        help="Move results that say what another one says into OUT.duplicates.jsonl.",
    ),
    "token_view": _flag(
        Path, metavar="FILE.html", help="A page of the texts, each token by its probability."
    ),
    **CONSTRAINT,
    **_settings("models", _OF_MODELS),
    "parallel": _flag(
        int, min=1, max=1024,
        help="Rows drawn at once (default 64, 16 or 4, as memory has room); of a server, "
        "requests in flight.",
    ),
    **_settings("serve", _SLOTS),
    "config": ConfigPath,
}  # fmt: skip

CLASSIFY: Flags = {
    "label": _flag(
        list[str],
        "-l",
        "--label",
        metavar="NAME[=ALIAS|ALIAS]",
        help="A label, and other ways to say it; given for each of them.",
    ),
    "labels": _flag(Path, metavar="FILE", help="A file of labels: a line each, or JSON."),
    "description": _flag(
        list[str],
        metavar="NAME=TEXT",
        help="What a label means, told where the template says {labels}.",
    ),
    "question": _flag(list[str], help="A question about each text; several are asked together."),
    "template": _flag(
        str,
        help="What the model reads, with {text}, {question}, {labels} and, with --multi, "
        "{label} (default {text}, and the question after it).",
    ),
    "multi": _flag(
        bool, "--multi", help="A text may have several labels: each is asked about by itself."
    ),
    "spellings": _flag(
        Literal["all", "canonical"],
        help="Add up all token paths that say a label and end there (default), or take the "
        "tokenizer's own alone, as lm-eval does.",
    ),
    "normalize": _flag(
        Literal["none", "bytes", "tokens", "pmi"],
        help="Compare labels' logprobs as they are (default), by byte, by token, or less "
        "what they have without the text.",
    ),
    "premise": _flag(
        str, help="With --normalize pmi: what stands in the template's place (default nothing)."
    ),
    "calibrate": _flag(
        Literal["contextual", "batch", "temperature"],
        help="Take out what the model prefers anyway: by texts without content, by the mean "
        "of all texts, or by a temperature fitted to texts whose label is known.",
    ),
    "temperature": _flag(
        float, min=0.01, max=100.0, help="With --calibrate temperature: this one, not fitted."
    ),
    "shuffle": _flag(
        int,
        metavar="N",
        min=1,
        max=1000,
        help="Try so many orders of the labels at {labels}, and take the mean.",
    ),
    "seed": _flag(int, min=0, help="Of these orders (default 0)."),
    "threshold": _flag(
        float, min=0.0, max=1.0, help="Choose no label that has less (with --multi default 0.5)."
    ),
    "text_column": _flag(str, help="The column of a table that has the texts (default text)."),
    "truth_column": _flag(
        str,
        help="The column that has the right labels, where it is there (default label; with "
        "several questions, the columns named as they are).",
    ),
    "lines": _flag(bool, "--lines", help="Every line of the file is a text of its own."),
    "output": _flag(
        Path,
        "-o",
        "--output",
        metavar="OUT.jsonl",
        help="Keep each result as it ends; the same command goes on there.",
    ),
    "limit": _flag(int, min=1, help="Only the first so many texts."),
    "accept_changes": _flag(
        bool,
        "--accept-changes",
        help="Go on though model, settings or texts are not those that OUT was begun with.",
    ),
    "prefix": _flag(str, help="Hidden text before the template."),
    "chat": _flag(
        bool, "--chat", help="The template is what you say to the model, the label its reply."
    ),
    "system": _flag(str, help="How the model is to behave in the chat (implies --chat)."),
    "chat_file": _flag(
        Path,
        metavar="FILE.json",
        help="What was said before, as a list of messages with role and content (implies --chat).",
    ),
}
"""How texts are classified."""

Attribution = Annotated[
    Method | None,
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


def weave_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed weave settings among a command's parameters, by dotted name."""
    return _typed("weave", schema.WEAVE, values)


def sampling_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed sampler settings among a command's parameters, by dotted name."""
    return _typed("sampling", schema.SAMPLING, values)


def serve_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed settings of a server among a command's parameters, by dotted name."""
    texts = {name: str(value) if isinstance(value, Path) else value
             for name, value in values.items()}  # fmt: skip
    return _typed("serve", schema.SERVE, texts)


def model_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed settings of a model among a command's parameters. Raises ConfigError."""
    return checked(
        _typed("models", (*_OF_MODELS, *_OF_DRAFTS), values) | _typed("", _OF_SERVERS, values)
    )


def checked(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Typed settings by name, from those by dotted name. Raises ConfigError."""
    return {
        dotted.rpartition(".")[2]: checked_flag(dotted, value) for dotted, value in flags.items()
    }


def _typed(table: str, rows: Iterable[Setting], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{table}.{row.name}": value.replace(",", " ").split() if _is_words(row) else value
        for row in rows
        if (value := values.get(row.name)) not in (None, [])
    }
