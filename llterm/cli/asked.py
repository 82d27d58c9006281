"""What was typed for a weave: one object of a command's parameters, and what parts of it mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.cli.chatting import as_text, typed_chat
from llterm.cli.mixing import mix_of
from llterm.cli.options import model_flags, sampling_flags, weave_flags
from llterm.cli.settings import load
from llterm.cli.taping import all_taped, taped
from llterm.config import Config
from llterm.config.schema import setting
from llterm.errors import UsageError

if TYPE_CHECKING:
    from llterm.constraints.spec import Constraint
    from llterm.core.chat_messages import Chat
    from llterm.engine.opening import MixOf


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed."""

    file: Path | None = None
    prompt: str | None = None
    prefix: str | None = None
    model: str | None = None
    config: Path | None = None
    record: tuple[Path, ...] = ()
    """For each model on a server a file, in their order."""
    replay: tuple[Path, ...] = ()
    weave: Mapping[str, Any] = field(default_factory=dict)
    """Typed weave settings, by dotted name."""
    overrides: Mapping[str, int] = field(default_factory=dict)
    constraint: Constraint | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Typed sampler settings, by dotted name."""
    chat: Chat | None = None
    """What the story is a reply to; `prompt` is the reply's beginning then."""
    mix: MixOf | None = None
    beside: bool = False
    """Begin with the mix's models side by side."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Asked:
        """From a command's parameters. Raises UsageError."""
        chat, prompt = typed_chat(values)
        return cls(
            file=values["file"],
            prompt=prompt,
            prefix=as_text(values["prefix"]),
            model=(values["model"] or [None])[0],
            config=values["config"],
            record=tuple(values["record"] or ()),
            replay=tuple(values["replay"] or ()),
            weave=weave_flags(values),
            overrides=model_flags(values),
            constraint=constraint_of(values),
            sampling=sampling_flags(values),
            chat=chat,
            mix=mix_of(values),
        )

    def load(self) -> Config:
        """The configuration with these flags over it. Raises ConfigError."""
        config = load({"model": self.model, **self.weave, **self.sampling}, self.config)
        if self.mix is not None:
            return all_taped(config, self.mix.models, self.record, self.replay)
        return taped(config, self.model, _one(self.record), _one(self.replay))

    def typed_rules(self, config: Config) -> dict[str, Any]:
        """Typed weave settings by `Rules` field, checked."""
        names = [setting(dotted).attribute for dotted in self.weave]
        return {name: getattr(config.weave, name) for name in names}


def _one(files: tuple[Path, ...]) -> Path | None:
    if len(files) > 1:
        raise UsageError(
            "There are more recordings than models", f"Given: {len(files)}.", "Name one file."
        )
    return files[0] if files else None


def constraint_of(values: Mapping[str, Any]) -> Constraint | None:
    """The one that was typed. Raises UsageError for two, or a file that cannot be read."""
    names = ("choice", "regex", "grammar", "json_schema")
    typed: dict[str, Any] = {name: values[name] for name in names if values.get(name)}
    if not typed:
        return None
    flags = [f"--{name.replace('_', '-')}" for name in typed]
    if len(typed) > 1:
        raise UsageError(
            f"{' and '.join(flags)} cannot be together", "", "Suggestions fit one constraint."
        )
    from llterm.constraints import spec

    ((name, value),) = typed.items()
    if name == "choice":
        return spec.choices(value)
    if name == "regex":
        return spec.regex(value)
    text = _file_text(value)
    return spec.lark(text) if name == "grammar" else spec.json_schema(text)


def _file_text(path: Path) -> str:
    from llterm.jobs.inputs import read_text

    return read_text(path).decode("utf-8", "replace")
