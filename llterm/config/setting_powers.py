"""What each setting could do in the hands of a stranger, whose `llterm.toml` lies in a folder.

A value that could send the story away, run something, read elsewhere, delete, or make a key do
another thing is guarded: of a project's file it counts only where the person trusts the folder.
What is set by a flag, a variable or the person's own file is the person's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from llterm.config.server_settings import is_address
from llterm.config.setting import Value

Power = Literal[
    "harmless",
    "model",  # names models: by an address, a path, or a server of the person's
    "path",  # a file to read
    "server",  # where the story goes, by which way, and what key goes along
    "serves",  # who may ask the person's models, and by which way
    "sends",  # asks a model, maybe a server's, without a key being pressed
    "deletes",  # what the person has written
    "keys",  # what pressing a key does
    "template",  # a program that is run, in a sandbox
]

_TABLES: Mapping[str, Mapping[Power, str]] = {
    "": {"model": "model", "harmless": "parallel"},
    "weave": {
        "harmless": "depth cutoff multiplier split_limit beams auto_stop stop_comma stop_newline"
        " single_line stop heal strategy diverse budget"
    },
    "sampling": {
        "harmless": "preset temperature dynatemp_range dynatemp_exponent top_k top_p min_p"
        " typical_p top_n_sigma xtc_probability xtc_threshold repeat_penalty frequency_penalty"
        " presence_penalty penalty_last_n dry_multiplier dry_base dry_allowed_length"
        " dry_penalty_last_n dry_sequence_breakers mirostat mirostat_tau mirostat_eta order seed"
        " ban ban_newline ban_capitals ban_refusals bias ideal_length"
    },
    "mix": {"model": "models", "harmless": "mode pool weights plausible turn preset"},
    "store": {"deletes": "backups"},
    "serve": {
        "model": "models",
        "harmless": "preset seed parallel slot_context cache_memory models_memory queue",
        "serves": "configured model_folder alias host port socket api_key_env api_key_file"
        " admin_key_env looms allow_host allow_origin metrics"
        " body_bytes connections head_seconds idle_seconds stalled_seconds request_seconds"
        " drain_seconds",
    },
    "ui": {
        "harmless": "theme color monochrome fps mouse accept_sole play_speed autopilot sample_lines"
        " sample_tokens sample_sentence",
        "sends": "auto_weave",
    },
    "models": {
        "path": "path draft",
        # A chat template by name is one of llterm's own, or a table of texts.
        "harmless": "context cache_size threads batch kv_type flash_attention gpu_layers gpus"
        " split_mode main_gpu kernels draft_tokens chat_template dialect model"
        " parallel timeout connect_timeout price_prompt price_answer",
        "server": "base_url key_env key_file key_command insecure_key proxy ca_file",
        "template": "chat_template_file",
    },
    "formats": {
        "harmless": "begin system_start system_end user_start user_end assistant_start"
        " assistant_end end",
    },
    "keys": {"keys": "*"},
}
POWERS: Mapping[str, Power] = {
    f"{table}.{name}".lstrip("."): power
    for table, powers in _TABLES.items()
    for power, names in powers.items()
    for name in names.split()
}
"""By dotted name; `models.path` of every model, `keys.*` of every action. What a preset says is
what `sampling` says."""


def needs_trust(
    name: str, value: Value, folder: Path, servers: Collection[str]
) -> tuple[str, str] | None:
    """What must not count from an untrusted folder's file, and why; None where the value may.

    `name` is dotted, as in `models.NAME.path`; `servers` are the person's own models on servers.
    A model is left out whole, and so are the keys.
    """
    table, _, rest = name.partition(".")
    power = POWERS[_kind(name)]
    if table == "models":
        model, _, key = rest.rpartition(".")
        if power in ("server", "template"):
            return f"models.{model}", f"sets {key}"
        if power == "path" and _is_elsewhere(str(value), folder):
            return f"models.{model}", "names a file outside the folder"
        return None
    why = {
        "harmless": "",
        "model": next(_strange_models(value, folder, servers), ""),
        "path": "names a file",
        "server": "says where a story goes",
        "serves": "says who may ask your models",
        "sends": "says when a model is asked",
        "deletes": "says how many older copies of your looms are kept",
        "keys": "changes what keys do",
        "template": "brings a template",
    }[power]
    return (table if power == "keys" else name, why) if why else None


def _kind(name: str) -> str:
    """The name in `POWERS`."""
    table, _, rest = name.partition(".")
    if table == "keys":
        return "keys.*"
    return f"{table}.{rest.rpartition('.')[2]}" if table in ("models", "formats") else name


def _strange_models(value: Value, folder: Path, servers: Collection[str]) -> Iterator[str]:
    for name in map(str, value if isinstance(value, tuple) else (value,)):
        if is_address(name):
            yield "is an address" if isinstance(value, str) else "holds an address"
        elif name in servers:
            yield f"sends your text to your server {name}"
        elif _is_elsewhere(name, folder):
            yield "names a file outside the folder"


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Whether a path leads out of the folder; a mere name does not."""
    try:
        return not (folder / Path(name).expanduser()).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return True
