"""Every command with the least that makes it print, and every parameter of it; found by looking at
the program, so that a new one is walked too."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from llterm.cli.app import app

Values = Mapping[str, Any]
_MODEL: Values = {"model": "scripted"}
_TEXT: Values = {**_MODEL, "prompt": "The"}
_NOWHERE = "http://127.0.0.1:9"
LEAST: Mapping[str, Values] = {
    "weave": {**_MODEL, "prompt": "The"},
    "suggest": _TEXT,
    "sample": {**_TEXT, "tokens": 2, "seed": 1},
    "mix": {**_TEXT, "model": ["scripted", "scripted"], "tokens": 2},
    "score": {**_MODEL, "prompt": "The old"},
    "classify": {**_MODEL, "prompt": "The old", "label": ["cat", "lamp"]},
    # It serves until it is told to end, unless it cannot: that is said.
    "serve": {"model": ["scripted"], "port": 0, "alias": ["other=gone"]},
    "batch": {**_MODEL, "file": "requests.jsonl", "output": "results.jsonl", "seed": 1},
    "export": {"loom": "a.loom"},
    "import": {"file": "a.txt"},
    "keys": {},
    "doctor": _MODEL,
    "models list": {},
    "models info": {"name": "fable"},
    "models pull": {"reference": "nobody/nothing"},
    "models quantize": {"name": "fable", "kind": "q8_0"},
    "models remove": {"name": "a.gguf", "yes": True, "outside": True},
    "config show": {},
    "config check": {},
    "config path": {},
    "config trust": {"folder": "trusted"},
    "config init": {},
}
"""By command: values by parameter name. What changes how others end comes last."""
INSTEAD: Mapping[tuple[str, str], Values] = {
    **{
        (one, "file"): {"prompt": None}
        for one in ("weave", "suggest", "sample", "mix", "score", "classify")
    },
    **{
        (one, "replay"): {"model": None}
        for one in ("weave", "suggest", "sample", "score", "classify")
    },
    **{
        (one, "record"): {"model": _NOWHERE}
        for one in ("weave", "suggest", "sample", "score", "classify")
    },
    ("mix", "replay"): {"model": ["gone", "scripted"]},
    ("mix", "record"): {"model": [_NOWHERE, "scripted"]},
    ("mix", "text"): {"prompt": None, "tokens": None},
    ("mix", "base"): {"prompt": None, "tokens": None},
    ("mix", "write_base"): {"mode": "reference"},
    ("mix", "require"): {"mode": "reference"},
    ("mix", "reference"): {"mode": "reference"},
    ("doctor", "target"): {"model": None},
    ("batch", "template"): {"file": None, "rows": "rows.csv"},
    ("batch", "rows"): {"file": None, "template": "a.txt"},
    ("batch", "system"): {"file": None, "template": "a.txt", "rows": "rows.csv"},
    ("batch", "replay"): {"model": None},
    ("batch", "record"): {"model": _NOWHERE},
}
"""What a parameter does not go with, or needs: values of others while it is given."""


def commands() -> dict[str, Any]:
    """The program's commands by name."""
    leaves: dict[str, Any] = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        below = getattr(command, "commands", {})
        for name, one in below.items():
            walk(one, (*path, name))
        if not below:
            leaves[" ".join(path)] = command

    walk(typer.main.get_command(app), ())
    return leaves


def parameters(command: str) -> dict[str, Any]:
    """A command's parameters by name, as the parser has them."""
    return {one.name: one for one in commands()[command].params if one.name != "help"}


def path_parameters() -> Iterator[tuple[str, str]]:
    """Command and parameter, of all that take a path: by their type or by their name."""
    for name, command in commands().items():
        types = inspect.signature(command.callback, eval_str=True).parameters
        for parameter, one in parameters(name).items():
            typed = "Path" in str(types[parameter].annotation)
            if typed or "PATH" in str(one.metavar) or parameter in ("model", "target"):
                yield name, parameter


def text_parameters() -> Iterator[tuple[str, str]]:
    """Command and parameter, of all that take what a person types as it is."""
    for name, command in commands().items():
        types = inspect.signature(command.callback, eval_str=True).parameters
        for parameter in parameters(name):
            words = str(types[parameter].annotation)
            if "Literal" not in words and ("str" in words or "Path" in words):
                yield name, parameter


def line(command: str, values: Values) -> list[str]:
    """The command line of these values; one that is None is left out."""
    options: list[str] = []
    arguments: list[str] = []
    known = parameters(command)
    for name, value in values.items():
        if value is None:
            continue
        for member in value if isinstance(value, list) else [value]:
            if known[name].param_type_name == "argument":
                arguments.append(str(member))
            elif member is True:
                options.append(known[name].opts[-1])
            else:
                options.append(f"{known[name].opts[-1]}={member}")
    return [*command.split(), *options, *(["--", *arguments] if arguments else [])]


def least(command: str, **values: Any) -> list[str]:
    """The least of a command, with these values beside or instead."""
    instead: dict[str, Any] = {}
    for name in values:
        instead |= INSTEAD.get((command, name), {})
    return line(command, {**LEAST[command], **instead, **values})


def furnish(home: Path) -> None:
    """What the least of every command reads."""
    from llterm.session.document import Document

    (home / "a.txt").write_text("Once upon a time")
    (home / "requests.jsonl").write_text('{"prompt": "The old", "max_tokens": 2}\n')
    (home / "rows.csv").write_text("animal\ncat\n")
    (home / "a.gguf").write_bytes(b"GGUF")
    Document.create(home / "a.loom", b"Once upon a time").close()
    (home / "trusted").mkdir()
    (home / "trusted" / "llterm.toml").write_text("")
