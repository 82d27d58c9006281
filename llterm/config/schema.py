"""What `llterm.toml` may say: every setting with its type, range and help line.

The dataclasses hold the values; the tables beside them are what the reader, the flags, the example
file and the documentation are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.config.setting import Origin, Setting
from llterm.core.sampling.sampler_settings import (
    DEFAULT_PRESET,
    ORDER,
    PRESETS,
    SamplerSettings,
    Sampling,
)
from llterm.core.weave_settings import WeaveSettings

KV_TYPES = ("f16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")


@dataclass(frozen=True, slots=True)
class FormatConfig:
    """A chat format of the person's own (`[formats.NAME]`): the text around what each says.

    Names of special tokens in it mean these tokens.
    """

    begin: str = ""
    """Before everything; the model's own first token needs no mention."""
    system_start: str = ""
    system_end: str = ""
    user_start: str = ""
    user_end: str = ""
    assistant_start: str = ""
    assistant_end: str = ""
    end: tuple[str, ...] = ()
    """Names of tokens that end a reply, besides the model's own."""

    def around(self, role: str) -> tuple[str, str]:
        """What stands before and after what this role says; both empty where it has no part."""
        return getattr(self, f"{role}_start"), getattr(self, f"{role}_end")


@dataclass(frozen=True, slots=True)
class Ui:
    """How the app looks."""

    theme: str | None = None
    color: str = "auto"
    monochrome: bool = False
    fps: int | None = None
    mouse: bool = True
    auto_weave: bool = True
    accept_sole: bool = False
    play_speed: float = 5.0
    autopilot: int = 5
    sample_lines: int = 5
    sample_tokens: int = 40
    sample_sentence: bool = False


@dataclass(frozen=True, slots=True)
class MixConfig:
    """How several models are mixed."""

    models: tuple[str, ...] = ()
    mode: str = "democratic"
    pool: str = "linear"
    weights: tuple[str, ...] = ()
    """MODEL=NUMBER each."""
    plausible: float = 0.1
    turn: int = 1
    preset: str = "greedy"


@dataclass(frozen=True, slots=True)
class Store:
    """How looms are kept."""

    backups: int = 10


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How `llterm serve` serves."""

    models: tuple[str, ...] = ()
    """None: the one that is opened without -m."""
    configured: bool = False
    """All of `[models]` too, each loaded when it is asked for."""
    model_folders: tuple[str, ...] = ()
    """The .gguf files in these too, in the same way."""
    aliases: tuple[str, ...] = ()
    """NAME=MODEL each."""
    host: str = "127.0.0.1"
    port: int = 8080
    socket: Path | None = None
    """In place of host and port."""
    preset: str = "neutral"
    seed: int | None = None
    """Of requests that give none; None: each draws afresh."""
    api_key_env: tuple[str, ...] = ()
    api_key_file: Path | None = None
    admin_key_env: tuple[str, ...] = ()
    """None: nobody may load and unload models over HTTP."""
    looms: Path | None = None
    """A folder; None: no looms are served."""
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    parallel: int = 16
    slot_context: int | None = None
    """Tokens of one slot; None: as many as fit."""
    cache_memory: int | None = None
    """MiB of all slots of a model; None: a quarter of the machine's memory."""
    models_memory: int | None = None
    """MiB of all models in process; None: the machine's memory."""
    queue: int = 256
    metrics: bool = False
    body_bytes: int = 4 << 20
    connections: int = 512
    head_seconds: float = 15.0
    idle_seconds: float = 60.0
    stalled_seconds: float = 30.0
    request_seconds: float = 600.0
    drain_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One `[models.NAME]`."""

    path: Path | None = None
    """None for a model on a server, and for a bundled one that keeps its own file."""
    context: int | None = None
    threads: int | None = None
    batch: int = 512
    cache_size: int | None = None
    """Cells of the cache; None: the context and some for suggestions."""
    kv_type: str = "f16"
    flash_attention: str = "auto"
    gpu_layers: int | str = 0
    """A number, or "auto"."""
    gpus: tuple[float, ...] = ()
    """GB of each GPU that it may take."""
    split_mode: str = "layer"
    main_gpu: int = 0
    kernels: str = "exact"
    draft: str | None = None
    """A model's name or path, or `lookup`."""
    draft_tokens: int = 4
    server: ServerSettings | None = None
    """Of a model on a server; of the others' settings only `context` counts for it."""
    chat_template: str | None = None
    chat_template_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that is set, after all sources were read."""

    model: str = "fable"
    parallel: int | None = None
    """For models on servers that say nothing of it themselves."""
    weave: WeaveSettings = field(default_factory=WeaveSettings)
    sampling: Sampling = field(default_factory=Sampling)
    presets: Mapping[str, SamplerSettings] = field(default_factory=lambda: dict(PRESETS))
    """By name: llterm's own, and the person's."""
    ui: Ui = field(default_factory=Ui)
    mix: MixConfig = field(default_factory=MixConfig)
    store: Store = field(default_factory=Store)
    serve: ServeConfig = field(default_factory=ServeConfig)
    keys: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    formats: Mapping[str, FormatConfig] = field(default_factory=dict)
    """The person's own chat formats by name."""
    files: tuple[Path, ...] = ()
    """The configuration files that were read, the one that counts most last."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By dotted name, such as `weave.depth`; what is not in here is a default."""
    notices: tuple[str, ...] = ()
    """What was set aside without being an error."""


def _table(defaults: Any, *rows: Setting) -> tuple[Setting, ...]:
    """Settings with the defaults of the dataclass whose fields they fill."""
    return tuple(replace(row, default=getattr(defaults, row.attribute)) for row in rows)


TOP = _table(
    Config(),
    Setting("model", "text", "The model that is opened without --model."),
    Setting("parallel", "whole number",
            "Most requests in flight to a server; unset: what it has room for.", 1, 1024),
)  # fmt: skip
WEAVE = _table(
    WeaveSettings(),
    Setting("depth", "whole number", "Most tokens of a suggestion.", 1, 500),
    Setting("cutoff", "number", "Least probability of a second candidate.", 0, 1),
    Setting("multiplier", "number", "The cutoff is multiplied by this at each further token.",
            0, 10, above=True),
    Setting("split_limit", "whole number", "Most children of one position; 0 sets no limit.",
            0, 1000),
    Setting("beams", "whole number", "How many suggestions; 0: all, up to as many as the budget.",
            0, 5000),
    Setting("auto_stop", "yes or no", "End a suggestion where a sentence ends."),
    Setting("stop_comma", "yes or no", "Auto-stop at commas too."),
    Setting("stop_newline", "yes or no", "Auto-stop at line ends too."),
    Setting("single_line", "yes or no", "End a suggestion before its first line break."),
    Setting("stop", "list of texts", "Texts of your own that end a suggestion.", field="stops"),
    Setting("heal", "yes or no", "Finish a half-written word (token healing)."),
    Setting("strategy", "text",
            "Most probable first, or all of a length before any longer (LLooM's).",
            choices=("best", "breadth")),
    Setting("diverse", "yes or no",
            "Suggestions that differ in wording; what says the same is one."),
    Setting("budget", "whole number", "Most distributions that one weave may ask for.",
            1, 10_000_000),
)  # fmt: skip
PRESET = _table(
    SamplerSettings(),
    Setting("temperature", "number", "Divides the logits; 0 takes the best candidate.", 0, 100),
    Setting("dynatemp_range", "number", "The temperature moves with the entropy, by up to this.",
            0, 100),
    Setting("dynatemp_exponent", "number", "How the entropy moves the temperature.", 0, 100),
    Setting("top_k", "whole number", "Best candidates to keep; 0 keeps all.", 0, 1_000_000),
    Setting("top_p", "number", "Mass to keep, best first; 1 keeps all.", 0, 1),
    Setting("min_p", "number", "Least probability, as a share of the best one's; 0 keeps all.",
            0, 1),
    Setting("typical_p", "number", "Mass to keep, nearest to the entropy first; 1 keeps all.",
            0, 1),
    Setting("top_n_sigma", "number", "Standard deviations of logits to keep; 0 or less keeps all.",
            -1, 1000),
    Setting("xtc_probability", "number", "Chance that all best candidates but the last go.", 0, 1),
    Setting("xtc_threshold", "number", "What counts as best there; above 0.5 nothing goes.", 0, 1),
    Setting("repeat_penalty", "number", "Weakens tokens that occurred; 1 does not.", 0, 100,
            above=True),
    Setting("frequency_penalty", "number", "Off a logit for each time its token occurred.",
            -100, 100),
    Setting("presence_penalty", "number", "Off a logit once where its token occurred.", -100, 100),
    Setting("penalty_last_n", "whole number", "Tokens that penalties look back; -1 all.",
            -1, 10_000_000),
    Setting("dry_multiplier", "number", "DRY: weakens what would go on a repetition; 0 does not.",
            0, 100),
    Setting("dry_base", "number", "DRY: growth for each token of the repetition.", 0, 100),
    Setting("dry_allowed_length", "whole number", "DRY: tokens that may repeat freely.", 0, 10_000),
    Setting("dry_penalty_last_n", "whole number", "DRY: tokens it looks back; -1 all.",
            -1, 10_000_000),
    Setting("dry_sequence_breakers", "list of texts", "DRY: no repetition reaches across these."),
    Setting("mirostat", "whole number", "1 or 2: that version in place of all but temperature.",
            0, 2),
    Setting("mirostat_tau", "number", "Mirostat: surprise to aim at, in bits.", 0, 100),
    Setting("mirostat_eta", "number", "Mirostat: how fast it follows.", 0, 10),
    Setting("order", "list of texts", "The stages that run, in their order, by name.",
            choices=ORDER),
)  # fmt: skip
"""What a preset may say. A knob that it leaves out is neutral."""
SAMPLING = (
    Setting("preset", "text", "How tokens are drawn; what is set below changes it.",
            default=DEFAULT_PRESET),
    *PRESET,
    Setting("seed", "whole number", "Makes draws repeatable; unset: drawn afresh each time.",
            0, 1 << 53),
    Setting("ban", "list of texts", "Texts that are never written; the case does not matter.",
            default=()),
    Setting("ban_newline", "yes or no", "Never write a line break.", default=False),
    Setting("ban_capitals", "yes or no", "Never begin a word with a capital.", default=False),
    Setting("ban_refusals", "yes or no", "Never begin as refusals do (I cannot, As an AI).",
            default=False),
    Setting("bias", "list of texts", "TEXT=NUMBER or #ID=NUMBER: added to that token's logit.",
            default=()),
    Setting("ideal_length", "whole number", "Tokens at which a text may well end; 0: any.",
            0, 10_000_000, default=0),
)  # fmt: skip
UI = _table(
    Ui(),
    Setting("theme", "text", "A theme's name; own ones lie in the folder themes/."),
    Setting("color", "text", "Colours of the terminal.",
            choices=("auto", "truecolor", "256", "16")),
    Setting("monochrome", "yes or no", "No colours at all, as with NO_COLOR."),
    Setting("fps", "whole number", "Most screen updates a second; unset: 60, over SSH 20.", 1, 120),
    Setting("mouse", "yes or no", "Take part in mouse clicks."),
    Setting("auto_weave", "yes or no", "Weave as soon as a story is open."),
    Setting("accept_sole", "yes or no", "Accept a suggestion that is the only one."),
    Setting("play_speed", "number", "Tokens a second in play; 0: as fast as the model goes.",
            0, 1000),
    Setting("autopilot", "whole number", "Rounds that the autopilot weaves and accepts.", 1, 1000),
    Setting("sample_lines", "whole number", "Samples, or sentences, drawn at a time.", 1, 64),
    Setting("sample_tokens", "whole number", "Most tokens of a sample.", 1, 4000),
    Setting("sample_sentence", "yes or no", "End a sample where a sentence ends."),
)  # fmt: skip
STORE = _table(
    Store(),
    Setting("backups", "whole number",
            "Dated copies kept of a loom, one a day at most; 0 keeps none.", 0, 1000),
)  # fmt: skip
MODEL = _table(
    ModelConfig(),
    Setting("path", "path", "The .gguf file; relative to this file's folder."),
    Setting("context", "whole number", "Tokens it may see; unset: as trained, at most 8192.",
            64, 1_048_576),
    Setting("threads", "whole number", "CPU threads; unset: all cores but one.", 1, 1024),
    Setting("batch", "whole number", "Most tokens a decode.", 64, 8192),
    Setting("cache_size", "whole number",
            "Tokens that the cache holds for all that is asked at once; unset: context and 2,048;"
            " served, as many as fit into cache_memory.", 256, 1 << 24),
    Setting("kv_type", "text", "Type of the cache; quantised ones need flash attention.",
            choices=KV_TYPES),
    Setting("flash_attention", "text",
            "auto: where it is needed, or layers lie on a GPU. On a processor figures then depend"
            " more on what is evaluated together.", choices=("auto", "on", "off")),
    Setting("gpu_layers", "whole number", "Layers on the GPU; auto: as many as fit.", 0, 1000,
            words=("auto",)),
    Setting("gpus", "list of numbers", "GB to take of each GPU; what does not fit is refused. All"
            " layers lie there, unless gpu_layers says how many.", 0, 100_000),
    Setting("split_mode", "text", "How several GPUs share a model.",
            choices=("none", "layer", "row", "tensor")),
    Setting("main_gpu", "whole number", "The GPU of a model that is not split, from 0.", 0, 1000),
    Setting("kernels", "text",
            "exact: the same figures on every run; fast: llama.cpp's fastest here, less exact.",
            choices=("exact", "fast")),
    Setting("draft", "text",
            "A smaller model of the same family that writes ahead, by name or path; lookup: the"
            " text itself does; none. What is drawn stays the same."),
    Setting("draft_tokens", "whole number", "Most tokens that are written ahead at a time.", 1, 7),
    Setting(
        "chat_template", "text",
        "A chat format: built in (chatml, llama3, gemma, …, plain) or of [formats.NAME]; unset: the"
        " model's own.",
    ),
    Setting("chat_template_file", "path",
            "A chat template in a Jinja file, in place of the model's own."),
)  # fmt: skip
SERVER = _table(
    ServerSettings(()),
    Setting("base_url", "text or list of texts",
            "The server's address; several are replicas of one model."),
    Setting("dialect", "text", "What the server speaks.", choices=DIALECTS),
    Setting("model", "text", "The model's name there; unset: the one it has."),
    Setting("parallel", "whole number",
            "Most requests in flight, over all addresses; unset: what the server has room for.",
            1, 1024),
    Setting("key_env", "text", "The environment variable that holds the key."),
    Setting("key_file", "path", "A file that only you can read, with the key as its one line."),
    Setting("key_command", "list of texts", "A program, with its arguments, that prints the key."),
    Setting("insecure_key", "yes or no", "Send the key over plain http to another machine."),
    Setting("timeout", "number", "Seconds for one answer; streamed, between two parts.", 0, 86_400,
            above=True),
    Setting("connect_timeout", "number", "Seconds for the connection.", 0, 600, above=True),
    Setting("proxy", "text", "A proxy; never used for this machine."),
    Setting("ca_file", "path", "Certificates to trust in place of the system's."),
    Setting("price_prompt", "number", "Price of a million prompt tokens, in any currency.",
            0, 1_000_000),
    Setting("price_answer", "number", "Price of a million tokens of answers.", 0, 1_000_000),
)  # fmt: skip
FORMAT = _table(
    FormatConfig(),
    Setting("begin", "text", "Before the whole chat.", blank=True),
    *(
        Setting(f"{role}_{edge}", "text", f"{when} {who} says.", blank=True)
        for role, who in (
            ("system", "what the system message"), ("user", "what you"),
            ("assistant", "what the model"),
        )
        for edge, when in (("start", "Before"), ("end", "After"))
    ),
    Setting("end", "list of texts", "Tokens that end a reply, besides the model's own."),
)  # fmt: skip
"""Of each of the person's own chat formats."""
MIX = _table(
    MixConfig(),
    Setting("models", "list of texts", "The models of `llterm mix` without -m."),
    Setting("mode", "text", "How they are mixed.",
            choices=("democratic", "round-robin", "reference")),
    Setting("pool", "text", "Mean of their probabilities, or of the logs.",
            choices=("linear", "log")),
    Setting("weights", "list of texts", "MODEL=NUMBER: weights other than 1."),
    Setting("plausible", "number", "With a weight below 0: share of the best that a token needs.",
            0, 1),
    Setting("turn", "whole number", "Tokens a model gives in a row, in turns.", 1, 10_000),
    Setting("preset", "text", "How tokens are drawn after the mix."),
)  # fmt: skip
SERVE = _table(
    ServeConfig(),
    Setting("models", "list of texts", "The models of `llterm serve` without -m."),
    Setting("configured", "yes or no",
            "Serve every model of llterm.toml too, each loaded when it is asked for."),
    Setting("model_folder", "list of texts",
            "A folder whose .gguf files are served too, each loaded when it is asked for.",
            field="model_folders"),
    Setting("alias", "list of texts", "NAME=MODEL: another name for a model.", field="aliases"),
    Setting("host", "text", "The address to listen at; beyond this machine a key is needed."),
    Setting("port", "whole number", "The port; 0: any that is free.", 0, 65_535),
    Setting("socket", "path", "A socket file of yours alone, in place of host and port."),
    Setting("preset", "text", "How tokens are drawn where a request does not say."),
    Setting("seed", "whole number", "The seed of requests that give none; unset: drawn afresh.",
            0, (1 << 53) - 1),
    Setting("api_key_env", "list of texts", "Environment variables that hold keys to ask for."),
    Setting("api_key_file", "path", "A file that only you can read, with a key as its one line."),
    Setting("admin_key_env", "list of texts",
            "Environment variables that hold keys with which models are loaded and unloaded over"
            " HTTP; unset: nobody may."),
    Setting("looms", "path",
            "A folder whose looms are served: read, written and grown over HTTP, with a key."),
    Setting("allow_host", "list of texts", "Further names of this machine in requests.",
            field="allow_hosts"),
    Setting("allow_origin", "list of texts", "Origins whose pages may ask, such as"
            " http://localhost:3000.", field="allow_origins"),
    Setting("parallel", "whole number", "Requests drawn at once, of each model.", 1, 1024),
    Setting("slot_context", "whole number", "Most tokens of a request and its answer, of a model"
            " in process; unset: as many as fit into cache_memory.", 16, 1 << 24),
    Setting("cache_memory", "whole number", "MiB that the slots of a model in process may take;"
            " unset: a quarter of the machine's memory.", 1, 1 << 24),
    Setting("models_memory", "whole number", "MiB that all models in process may take; those used"
            " longest ago are let go. Unset: the machine's memory.", 1, 1 << 24),
    Setting("queue", "whole number", "Most requests that wait; more are answered 429.",
            0, 100_000),
    Setting("metrics", "yes or no", "Answer /metrics."),
    Setting("body_bytes", "whole number", "Largest body of a request.", 1024, 1 << 30),
    Setting("connections", "whole number", "Most connections at once.", 1, 65_536),
    Setting("head_seconds", "number", "For a request's head, and between parts of its body.",
            0, 3600, above=True),
    Setting("idle_seconds", "number", "That a connection without a request is kept.", 1, 3600),
    Setting("stalled_seconds", "number", "That a client may leave an answer unread.",
            0, 3600, above=True),
    Setting("request_seconds", "number", "Most that a request may take.", 0, 86_400, above=True),
    Setting("drain_seconds", "number", "For open requests when the server is to end.", 0, 3600),
)  # fmt: skip
TABLES: Mapping[str, tuple[Setting, ...]] = {
    "": TOP,
    "weave": WEAVE,
    "sampling": SAMPLING,
    "mix": MIX,
    "store": STORE,
    "serve": SERVE,
    "ui": UI,
}
"""Tables with fixed keys; `""` is the top of the file."""


def setting(dotted: str) -> Setting:
    """The setting with a name such as `weave.depth`. Raises KeyError."""
    table, _, name = dotted.rpartition(".")
    rows = {"models": (*MODEL, *SERVER), "formats": FORMAT}.get(table) or TABLES[table]
    row = next((candidate for candidate in rows if candidate.name == name), None)
    if row is None:
        raise KeyError(dotted)
    return row


def preset_setting(name: str) -> Setting:
    """The knob of a preset with this name. Raises KeyError."""
    row = next((candidate for candidate in PRESET if candidate.name == name), None)
    if row is None:
        raise KeyError(name)
    return row
