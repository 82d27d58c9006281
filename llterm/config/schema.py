"""What `llterm.toml` may say: every setting with its type, range and help line.

The dataclasses hold the values; the tables beside them are what the reader, the flags, the example
file and the documentation are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llterm.config.chat_format import FormatConfig
from llterm.config.origin import Origin
from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.config.setting import Kind, Setting
from llterm.core.sampling.sampler_settings import (
    DEFAULT_PRESET,
    ORDER,
    PRESETS,
    SamplerSettings,
    Sampling,
)
from llterm.core.weave_settings import WeaveSettings


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
class ModelConfig:
    """One `[models.NAME]`."""

    path: Path | None = None
    """None for a model on a server, and for a bundled one that keeps its own file."""
    context: int | None = None
    threads: int | None = None
    batch: int = 512
    gpu_layers: int = 0
    kv_type: str = "f16"
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


_RULES = WeaveSettings()
_SAMPLER = SamplerSettings()
_UI = Ui()
_MODEL = ModelConfig()
_SERVER = ServerSettings(())


def _knob(
    name: str,
    kind: Kind,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    above: bool = False,
) -> Setting:
    """A setting of the sampler chain; its neutral value is its default."""
    return Setting(name, kind, help, getattr(_SAMPLER, name), low, high, above)


TOP = (
    Setting("model", "text", "The model that is opened without --model.", Config().model),
    Setting(
        "parallel", "whole number",
        "Most requests in flight to a server; unset: what it has room for.",
        Config().parallel, 1, 1024,
    ),
)  # fmt: skip
WEAVE = (
    Setting("depth", "whole number", "Most tokens of a suggestion.", _RULES.depth, 1, 500),
    Setting(
        "cutoff", "number", "Least probability of a second candidate.", _RULES.cutoff, 0, 1
    ),
    Setting(
        "multiplier", "number", "The cutoff is multiplied by this at each further token.",
        _RULES.multiplier, 0, 10, above=True,
    ),
    Setting(
        "split_limit", "whole number", "Most children of one position; 0 sets no limit.",
        _RULES.split_limit, 0, 1000,
    ),
    Setting(
        "beams", "whole number", "How many suggestions; 0: all, up to as many as the budget.",
        _RULES.beams, 0, 5000,
    ),
    Setting("auto_stop", "yes or no", "End a suggestion where a sentence ends.", _RULES.auto_stop),
    Setting("stop_comma", "yes or no", "Auto-stop at commas too.", _RULES.stop_comma),
    Setting("stop_newline", "yes or no", "Auto-stop at line ends too.", _RULES.stop_newline),
    Setting(
        "single_line", "yes or no", "End a suggestion before its first line break.",
        _RULES.single_line,
    ),
    Setting(
        "stop", "list of texts", "Texts of your own that end a suggestion.", _RULES.stops,
        field="stops",
    ),
    Setting("heal", "yes or no", "Finish a half-written word (token healing).", _RULES.heal),
    Setting(
        "strategy", "text", "Most probable first, or all of a length before any longer (LLooM's).",
        _RULES.strategy, choices=("best", "breadth"),
    ),
    Setting(
        "diverse", "yes or no", "Suggestions that differ in wording; what says the same is one.",
        _RULES.diverse,
    ),
    Setting(
        "budget", "whole number", "Most distributions that one weave may ask for.",
        _RULES.budget, 1, 10_000_000,
    ),
)  # fmt: skip
PRESET = (
    _knob("temperature", "number", "Divides the logits; 0 takes the best candidate.", 0, 100),
    _knob("dynatemp_range", "number", "The temperature moves with the entropy, by up to this.",
          0, 100),
    _knob("dynatemp_exponent", "number", "How the entropy moves the temperature.", 0, 100),
    _knob("top_k", "whole number", "Best candidates to keep; 0 keeps all.", 0, 1_000_000),
    _knob("top_p", "number", "Mass to keep, best first; 1 keeps all.", 0, 1),
    _knob("min_p", "number", "Least probability, as a share of the best one's; 0 keeps all.", 0, 1),
    _knob("typical_p", "number", "Mass to keep, nearest to the entropy first; 1 keeps all.", 0, 1),
    _knob("top_n_sigma", "number", "Standard deviations of logits to keep; 0 or less keeps all.",
          -1, 1000),
    _knob("xtc_probability", "number", "Chance that all best candidates but the last go.", 0, 1),
    _knob("xtc_threshold", "number", "What counts as best there; above 0.5 nothing goes.", 0, 1),
    _knob("repeat_penalty", "number", "Weakens tokens that occurred; 1 does not.", 0, 100,
          above=True),
    _knob("frequency_penalty", "number", "Off a logit for each time its token occurred.",
          -100, 100),
    _knob("presence_penalty", "number", "Off a logit once where its token occurred.", -100, 100),
    _knob("penalty_last_n", "whole number", "Tokens that penalties look back; -1 all.",
          -1, 10_000_000),
    _knob("dry_multiplier", "number", "DRY: weakens what would go on a repetition; 0 does not.",
          0, 100),
    _knob("dry_base", "number", "DRY: growth for each token of the repetition.", 0, 100),
    _knob("dry_allowed_length", "whole number", "DRY: tokens that may repeat freely.", 0, 10_000),
    _knob("dry_penalty_last_n", "whole number", "DRY: tokens it looks back; -1 all.",
          -1, 10_000_000),
    _knob("dry_sequence_breakers", "list of texts", "DRY: no repetition reaches across these."),
    _knob("mirostat", "whole number", "1 or 2: that version in place of all but temperature.",
          0, 2),
    _knob("mirostat_tau", "number", "Mirostat: surprise to aim at, in bits.", 0, 100),
    _knob("mirostat_eta", "number", "Mirostat: how fast it follows.", 0, 10),
    Setting("order", "list of texts", "The stages that run, in their order, by name.",
            _SAMPLER.order, choices=ORDER),
)  # fmt: skip
"""What a preset may say. A knob that it leaves out is neutral."""
SAMPLING = (
    Setting("preset", "text", "How tokens are drawn; what is set below changes it.",
            DEFAULT_PRESET),
    *PRESET,
    Setting("seed", "whole number", "Makes draws repeatable; unset: drawn afresh each time.",
            None, 0, 1 << 53),
    Setting("ban", "list of texts", "Texts that are never written; the case does not matter.", ()),
    Setting("ban_newline", "yes or no", "Never write a line break.", False),
    Setting("ban_capitals", "yes or no", "Never begin a word with a capital.", False),
    Setting("ban_refusals", "yes or no", "Never begin as refusals do (I cannot, As an AI).", False),
    Setting("bias", "list of texts", "TEXT=NUMBER or #ID=NUMBER: added to that token's logit.", ()),
    Setting("ideal_length", "whole number", "Tokens at which a text may well end; 0: any.",
            0, 0, 10_000_000),
)  # fmt: skip
UI = (
    Setting("theme", "text", "A theme's name; own ones lie in the folder themes/.", _UI.theme),
    Setting(
        "color", "text", "Colours of the terminal.", _UI.color,
        choices=("auto", "truecolor", "256", "16"),
    ),
    Setting("monochrome", "yes or no", "No colours at all, as with NO_COLOR.", _UI.monochrome),
    Setting(
        "fps", "whole number", "Most screen updates a second; unset: 60, over SSH 20.",
        _UI.fps, 1, 120,
    ),
    Setting("mouse", "yes or no", "Take part in mouse clicks.", _UI.mouse),
    Setting("auto_weave", "yes or no", "Weave as soon as a story is open.", _UI.auto_weave),
    Setting("accept_sole", "yes or no", "Accept a suggestion that is the only one.",
            _UI.accept_sole),
    Setting("play_speed", "number", "Tokens a second in play; 0: as fast as the model goes.",
            _UI.play_speed, 0, 1000),
    Setting("autopilot", "whole number", "Rounds that the autopilot weaves and accepts.",
            _UI.autopilot, 1, 1000),
    Setting("sample_lines", "whole number", "Samples, or sentences, drawn at a time.",
            _UI.sample_lines, 1, 64),
    Setting("sample_tokens", "whole number", "Most tokens of a sample.",
            _UI.sample_tokens, 1, 4000),
    Setting("sample_sentence", "yes or no", "End a sample where a sentence ends.",
            _UI.sample_sentence),
)  # fmt: skip
STORE = (
    Setting(
        "backups", "whole number",
        "Dated copies kept of a loom, one a day at most; 0 keeps none.", Store().backups, 0, 1000,
    ),
)  # fmt: skip
MODEL = (
    Setting("path", "path", "The .gguf file; relative to this file's folder.", _MODEL.path),
    Setting(
        "context", "whole number", "Tokens it may see; unset: as trained, at most 8192.",
        _MODEL.context, 64, 1_048_576,
    ),
    Setting(
        "threads", "whole number", "CPU threads; unset: all cores but one.",
        _MODEL.threads, 1, 1024,
    ),
    Setting("batch", "whole number", "Most tokens a decode.", _MODEL.batch, 64, 8192),
    Setting("gpu_layers", "whole number", "Layers on the GPU.", _MODEL.gpu_layers, 0, 1000),
    Setting(
        "kv_type", "text", "Type of the cache.", _MODEL.kv_type, choices=("f16", "f32", "q8_0")
    ),
    Setting(
        "chat_template", "text",
        "A chat format: built in (chatml, llama3, gemma, …, plain) or of [formats.NAME]; unset: the"
        " model's own.",
        _MODEL.chat_template,
    ),
    Setting(
        "chat_template_file", "path",
        "A chat template in a Jinja file, in place of the model's own.", _MODEL.chat_template_file,
    ),
)  # fmt: skip
SERVER = (
    Setting(
        "base_url", "text or list of texts",
        "The server's address; several are replicas of one model.", None,
    ),
    Setting("dialect", "text", "What the server speaks.", _SERVER.dialect, choices=DIALECTS),
    Setting("model", "text", "The model's name there; unset: the one it has.", _SERVER.model),
    Setting(
        "parallel", "whole number",
        "Most requests in flight, over all addresses; unset: what the server has room for.",
        _SERVER.parallel, 1, 1024,
    ),
    Setting("key_env", "text", "The environment variable that holds the key.", _SERVER.key_env),
    Setting(
        "key_file", "path", "A file that only you can read, with the key as its one line.",
        _SERVER.key_file,
    ),
    Setting(
        "key_command", "list of texts", "A program, with its arguments, that prints the key.", (),
    ),
    Setting(
        "insecure_key", "yes or no", "Send the key over plain http to another machine.",
        _SERVER.insecure_key,
    ),
    Setting(
        "timeout", "number", "Seconds for one answer; streamed, between two parts.",
        _SERVER.timeout, 0, 86_400, above=True,
    ),
    Setting(
        "connect_timeout", "number", "Seconds for the connection.",
        _SERVER.connect_timeout, 0, 600, above=True,
    ),
    Setting("proxy", "text", "A proxy; never used for this machine.", _SERVER.proxy),
    Setting("ca_file", "path", "Certificates to trust in place of the system's.", _SERVER.ca_file),
    Setting(
        "price_prompt", "number", "Price of a million prompt tokens, in any currency.",
        _SERVER.price_prompt, 0, 1_000_000,
    ),
    Setting(
        "price_answer", "number", "Price of a million tokens of answers.",
        _SERVER.price_answer, 0, 1_000_000,
    ),
)  # fmt: skip
_FORMAT = FormatConfig()
FORMAT = (
    Setting("begin", "text", "Before the whole chat.", _FORMAT.begin, blank=True),
    *(
        Setting(f"{role}_{edge}", "text", f"{when} {who} says.", "", blank=True)
        for role, who in (
            ("system", "what the system message"), ("user", "what you"),
            ("assistant", "what the model"),
        )
        for edge, when in (("start", "Before"), ("end", "After"))
    ),
    Setting("end", "list of texts", "Tokens that end a reply, besides the model's own.",
            _FORMAT.end),
)  # fmt: skip
"""Of each of the person's own chat formats."""
_MIX = MixConfig()
MIX = (
    Setting("models", "list of texts", "The models of `llterm mix` without -m.", _MIX.models),
    Setting("mode", "text", "How they are mixed.", _MIX.mode,
            choices=("democratic", "round-robin", "reference")),
    Setting("pool", "text", "Mean of their probabilities, or of the logs.", _MIX.pool,
            choices=("linear", "log")),
    Setting("weights", "list of texts", "MODEL=NUMBER: weights other than 1.", _MIX.weights),
    Setting("plausible", "number", "With a weight below 0: share of the best that a token needs.",
            _MIX.plausible, 0, 1),
    Setting("turn", "whole number", "Tokens a model gives in a row, in turns.",
            _MIX.turn, 1, 10_000),
    Setting("preset", "text", "How tokens are drawn after the mix.", _MIX.preset),
)  # fmt: skip
TABLES: Mapping[str, tuple[Setting, ...]] = {
    "": TOP,
    "weave": WEAVE,
    "sampling": SAMPLING,
    "mix": MIX,
    "store": STORE,
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
