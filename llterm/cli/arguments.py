"""What was typed for a weave or for continuations: the text, the models, the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.cli.chat_flags import as_text, typed_chat
from llterm.cli.options import checked, model_flags, sampling_flags, weave_flags
from llterm.cli.recipe import typed_recipe
from llterm.cli.recording import with_recording, with_recordings
from llterm.cli.settings import load
from llterm.config import Config
from llterm.config.schema import setting
from llterm.errors import UsageError
from llterm.jobs.inputs import argument_text, is_loom, read_stdin, read_text

if TYPE_CHECKING:
    from llterm.constraints.spec import Constraint
    from llterm.core.chat_messages import Chat
    from llterm.core.mixing.mix_recipe import Recipe
    from llterm.jobs.request import Request


@dataclass(frozen=True, slots=True)
class WeaveArguments:
    """What was typed for a weave."""

    file: Path | None = None
    prompt: str | None = None
    prefix: str | None = None
    models: tuple[str, ...] = ()
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
    recipe: Recipe | None = None
    """How the models are mixed; None where there is one."""
    beside: bool = False
    """Begin with the mix's models side by side."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WeaveArguments:
        """From a command's parameters. Raises UsageError."""
        chat, prompt = typed_chat(values)
        return cls(
            file=values["file"],
            prompt=prompt,
            prefix=as_text(values["prefix"]),
            models=tuple(values["model"] or ()),
            config=values["config"],
            record=tuple(values["record"] or ()),
            replay=tuple(values["replay"] or ()),
            weave=weave_flags(values),
            overrides=model_flags(values),
            constraint=constraint_of(values),
            sampling=sampling_flags(values),
            chat=chat,
            recipe=typed_recipe(values),
        )

    def load(self) -> Config:
        """The configuration with these flags over it. Raises ConfigError."""
        model = self.models[0] if self.models else None
        config = load({"model": model, **self.weave, **self.sampling}, self.config)
        if self.recipe is not None:
            return with_recordings(config, self.models, self.record, self.replay)
        return with_recording(config, model, _single(self.record), _single(self.replay))

    def typed_rules(self, config: Config) -> dict[str, Any]:
        """Typed weave settings by `WeaveSettings` field, checked."""
        names = [setting(dotted).attribute for dotted in self.weave]
        return {name: getattr(config.weave, name) for name in names}

    def request(self, config: Config, text: bytes, loom: Path | None) -> Request:
        """What is asked of the models, with this text or loom. Raises ConfigError."""
        from llterm.jobs.request import Request

        return Request(
            config=config,
            models=self.models if self.recipe is not None else (config.model,),
            text=text,
            loom=loom,
            prefix=self.prefix,
            chat=self.chat,
            recipe=self.recipe,
            overrides=self.overrides,
            rules=self.typed_rules(config),
            sampling=checked(self.sampling),
            constraint=self.constraint,
        )


def _single(files: tuple[Path, ...]) -> Path | None:
    if len(files) > 1:
        raise UsageError(
            "There are more recordings than models", f"Given: {len(files)}.", "Name one file."
        )
    return files[0] if files else None


def story_of(
    file: Path | None, prompt: str | None, chat: Chat | None = None
) -> tuple[bytes, Path | None]:
    """The text to go on from, or the loom that holds it; a reply may be all new.

    Raises UsageError.
    """
    if file is not None and prompt is not None:
        raise UsageError(
            "Both a file and --prompt are given", "", "Leave one of them out: there is one text."
        )
    if prompt is not None:
        return argument_text(prompt), None
    if file is None and chat is not None:
        return b"", None
    if file is None:
        raise UsageError(
            "There is no text to go on from", "", "Name a file, - for standard input, or --prompt."
        )
    if str(file) == "-":
        return read_stdin(), None
    return (b"", file) if is_loom(file) else (read_text(file), None)


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
    text = read_text(value).decode("utf-8", "replace")
    return spec.lark(text) if name == "grammar" else spec.json_schema(text)
