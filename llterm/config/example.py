"""The text of `llterm.toml.example`, made from the schema: every setting at its default."""

from __future__ import annotations

from collections.abc import Iterable

from llterm.config.schema import FORMAT, MIX, MODEL, SAMPLING, SERVE, SERVER, STORE, TOP, UI, WEAVE
from llterm.config.setting import Setting
from llterm.keymap import ACTIONS

_HEAD = """\
# Configuration of llterm. A line that begins with "#" and holds a setting shows its default: take
# the "#" away to change it. `llterm config check` finds mistakes; `llterm config show --origin`
# says what is in force and why.
#
# The user's file lies where `llterm config path` says. Over it counts the nearest llterm.toml from
# the working folder upwards; over both, LLTERM_* variables (LLTERM_WEAVE_DEPTH=8) and typed flags.
"""
_SAMPLING_HEAD = """\
# A preset brings a value for every knob from temperature to order; those set here count more. What
# is shown for them is neutral: it changes no probability. Presets of llterm: neutral, greedy,
# reliable, balanced, creative.
"""
_PRESET_HEAD = """
# A preset of your own, by name: the knobs above from temperature to order. A knob that it leaves
# out is at the value shown above, which changes nothing; `order` brings its own stages.
# [presets.NAME]
"""
_MODEL_HEAD = """
# A model of your own: `llterm weave -m NAME`. One table each; first, one that lies in a file.
# [models.NAME]
"""
_SERVER_HEAD = """
# A model on a server (docs/backends.md). A key never stands here: say where it is kept. In a
# project's file it counts only after `llterm config trust` in its folder, and so do `backups`,
# `auto_weave` and other keys for actions. `context` counts here too.
# [models.OTHER]
"""
_FORMAT_HEAD = """
# A chat format of your own: chat_template = "NAME" in a model's table. Names of special tokens in
# its texts mean these tokens. Without texts for system messages, one goes before what you say.
# [formats.NAME]
"""
_KEYS_HEAD = """
# Other keys for an action, by its id; they replace its default keys. Letters, arrows and the like
# count in the suggestion tree only: elsewhere they belong to the text. `llterm keys` shows what is
# in force, `llterm keys --test` what your terminal sends.
[keys]
"""
_SAMPLES = {"path": '"models/some-model.gguf"', "theme": '"name"', "fps": "60", "stop": "[]",
            "context": "4096", "cache_size": "32768",
            "gpus": "[22, 22, 10, 0]", "threads": "4",
            "base_url": '["http://127.0.0.1:8080", "https://example.org/v1"]',
            "model": '"name"', "parallel": "8", "key_env": '"NAME_OF_VARIABLE"',
            "key_file": '"~/.config/some-key"', "socket": '"/run/user/1000/llterm"',
            "slot_context": "4096", "cache_memory": "2048",
            "models_memory": "8192",
            "alias": '["assistant=fable"]', "api_key_env": '["NAME_OF_VARIABLE"]',
            "admin_key_env": '["ANOTHER_VARIABLE"]', "looms": '"~/looms"',
            "model_folder": '["~/models"]',
            "allow_host": '["some-name.local"]', "allow_origin": '["http://localhost:3000"]',
            "api_key_file": '"~/.config/some-key"', "key_command": '["pass", "show", "some-key"]',
            "proxy": '"http://proxy.example.org:3128"', "ca_file": '"some-ca.pem"',
            "price_prompt": "0.5", "price_answer": "1.5", "chat_template": '"chatml"',
            "draft": '"small"',
            "chat_template_file": '"some-template.jinja"', "end": '["<|im_end|>"]', "seed": "1",
            "ban": '["once upon a time"]',
            "models": '["big.gguf", "small.gguf"]', "weights": '["small=-0.5"]',
            "bias": '[" cat=-2.5"]'}  # fmt: skip


def example() -> str:
    """The whole file."""
    parts = [_HEAD, "\n", *_lines(TOP)]
    tables = (
        ("weave", WEAVE), ("sampling", SAMPLING), ("mix", MIX), ("store", STORE),
        ("serve", SERVE), ("ui", UI),
    )  # fmt: skip
    for name, rows in tables:
        parts += [f"\n[{name}]\n", _SAMPLING_HEAD if name == "sampling" else "", *_lines(rows)]
        parts += [_PRESET_HEAD] if name == "sampling" else []
    parts += [_MODEL_HEAD, *_lines(MODEL), _SERVER_HEAD, *_lines(SERVER)]
    parts += [_FORMAT_HEAD, *_lines(FORMAT), _KEYS_HEAD]
    for action in ACTIONS:
        keys = ",".join(filter(None, (action.keys, action.tree_keys)))
        parts.append(f'# "{action.id}" = "{keys}"\n')
    return "".join(parts)


def literal(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(literal(member) for member in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_escape(member) for member in escaped) + '"'


def _escape(character: str) -> str:
    if character == "\n":
        return "\\n"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _lines(rows: Iterable[Setting]) -> Iterable[str]:
    for row in rows:
        allowed = f" ({row.range})" if row.range else ""
        shown = _SAMPLES.get(row.name) if row.default in (None, ()) else literal(row.default)
        yield f"# {row.help}{allowed}\n# {row.name} = {shown}\n"
