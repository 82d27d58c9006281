"""What was typed: the text, the chat before it, the models and how they are mixed, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.cli.options import checked, model_flags, sampling_flags, weave_flags
from llterm.cli.recording import with_recording, with_recordings
from llterm.cli.settings import load, load_app
from llterm.config import Config
from llterm.config.config_loader import checked_flag, flag_name
from llterm.config.sampling_values import changed
from llterm.config.schema import setting
from llterm.core.in_force import FLAG, in_force_line, memory_piece
from llterm.errors import ConfigError, UsageError
from llterm.jobs.inputs import argument_text, is_loom, read_stdin, read_text
from llterm.output import say
from llterm.regular_file import present

if TYPE_CHECKING:
    from llterm.constraints.spec import Constraint
    from llterm.core.chat_messages import Chat
    from llterm.core.mixing.mix_recipe import Recipe
    from llterm.jobs.request import Request

Values = Mapping[str, Any]
"""A command's parameters, by name."""


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
    overrides: Mapping[str, Any] = field(default_factory=dict)
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
    def of(cls, values: Values) -> WeaveArguments:
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
        return self._recorded(load({**self._model, **self.weave, **self.sampling}, self.config))

    def load_app(self) -> Config:
        """The configuration as the app has it for every loom: what was typed for one story is
        checked, and not in it. Raises ConfigError."""
        config = load_app(self._model, self.config)
        self.typed_rules()
        check_sampling(checked(self.sampling), config)
        return self._recorded(config)

    @property
    def _model(self) -> dict[str, str | None]:
        return {"model": self.models[0] if self.models else None}

    def _recorded(self, config: Config) -> Config:
        model = self._model["model"]
        if self.recipe is not None:
            return with_recordings(config, self.models, self.record, self.replay)
        return with_recording(config, model, _single(self.record), _single(self.replay))

    def typed_rules(self) -> dict[str, Any]:
        """Typed weave settings by `WeaveSettings` field. Raises ConfigError."""
        return {
            setting(dotted).attribute: checked_flag(dotted, value)
            for dotted, value in self.weave.items()
        }

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
            rules=self.typed_rules(),
            sampling=checked(self.sampling),
            constraint=self.constraint,
        )


def check_sampling(typed: Mapping[str, Any], config: Config) -> None:
    """Raise ConfigError where typed sampler settings, by name, cannot be."""
    for name, value in typed.items():
        try:
            changed(config.sampling, name, value, config.presets)
        except ValueError as wrong:
            dotted = f"sampling.{name}"
            raise ConfigError(
                f"Wrong value for {dotted}", f"{flag_name(dotted)}: {wrong}.", setting(dotted).help
            ) from wrong


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
        raise UsageError("There is no text", "", "Name a file, - for standard input, or --prompt.")
    if str(file) == "-":
        return read_stdin(), None
    return (b"", file) if is_loom(file) else (read_text(file), None)


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text to be read, with what stands before it: a loom brings its own, what is typed counts
    more."""

    text: bytes
    prefix: str = ""
    """Hidden text before it; empty in a chat, which has it in its system message."""
    chat: Chat | None = None
    """What it is a reply to."""
    in_force: str = ""
    """Prefix and chat with who says them, in a line."""


def given_text(
    file: Path | None, prompt: str | None, chat: Chat | None = None, prefix: str | None = None
) -> ReadText:
    """The text to be read, of these parameters. Raises UsageError."""
    if file is None and prompt is None and chat is not None:
        raise UsageError(
            "There is no reply to read",
            "The chat is what stands before it.",
            "Name a file with the reply, or let a --chat-file end in the assistant's message.",
        )
    text, loom = story_of(file, prompt)
    origins = {"prefix": FLAG, "chat": FLAG}
    if loom is not None:
        from llterm.jobs.loom_story import read_story

        story = read_story(loom, tokens=False)
        if story.damage:
            say(f"llterm: {story.damage}")
        text = story.text
        if prefix is None:
            prefix, origins["prefix"] = story.prefix, loom.name
        if chat is None and story.chat:
            chat, origins["chat"] = story.chat, loom.name
    if not text:
        raise UsageError("The text is empty", "", "There is nothing in it to read.")
    pieces = {"prefix": memory_piece(prefix or ""), "chat": "chat" if chat else ""}
    in_force = in_force_line(pieces, origins)
    if chat:
        return ReadText(text, "", chat.with_prefix(prefix or ""), in_force)
    return ReadText(text, prefix or "", None, in_force)


def constraint_of(values: Values) -> Constraint | None:
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


def typed_chat(values: Values) -> tuple[Chat | None, str | None]:
    """The chat among a command's parameters, and the beginning of the text.

    Without a chat that is what --prompt says; in one --prompt is said to the model, and the
    reply's beginning is the last message of a file, where that is the assistant's. Raises
    UsageError where nothing is said.
    """
    system, message = as_text(values["system"]), as_text(values["prompt"])
    if values["chat_file"] is not None:
        return _of_file(values["chat_file"], system, message, values["file"])
    if not values["chat"] and system is None:
        return None, values["prompt"]
    from llterm.core.chat_messages import Chat

    chat = Chat(system or "", message or "")
    if not chat:
        raise UsageError(
            "There is nothing to reply to",
            "A chat needs what you say to the model.",
            "Say it with --prompt or --chat-file; a loom that has a chat keeps it without --chat.",
        )
    return chat, None


def _of_file(
    path: Path, system: str | None, message: str | None, begun: Path | None
) -> tuple[Chat, str | None]:
    from llterm.core.chat_messages import ChatMessage, chat_of
    from llterm.formats.dialogue import load_dialogue

    dialogue = load_dialogue(path)
    chat, reply = dialogue.chat, dialogue.reply
    if message:
        # An empty one is left out.
        said = (*chat.said(), ChatMessage("assistant", reply), ChatMessage("user", message))
        chat, reply = chat_of(said), ""
    if system is not None:
        if chat.system:
            raise UsageError(
                "There are two system messages",
                f"{path.name} has one, and so has --system.",
                "Leave one of them out.",
            )
        chat = replace(chat, system=system)
    if reply and begun is not None and (str(begun) == "-" or present(begun)):
        raise UsageError(
            "The reply begins twice",
            f"{path.name} ends in a message of the assistant, and {begun} is the reply too.",
            "Leave one of them out.",
        )
    return chat, reply or None


def as_text(text: str | None) -> str | None:
    """Settings are text, not bytes: what is not UTF-8 in them is replaced."""
    return (
        None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )


def typed_recipe(values: Values) -> Recipe | None:
    """What several `-m` and the flags beside them mean for a weave; None for one model.

    Raises UsageError.
    """
    models = tuple(values["model"] or ())
    if len(models) < 2:
        typed = [name for name in ("mode", "pool", "weight", "plausible", "turn") if values[name]]
        if typed:
            raise UsageError(f"--{typed[0]} needs several models", "", "Give -m for each of them.")
        return None
    return recipe_of(values, models, values["mode"] or "democratic")


def recipe_of(values: Values, models: Sequence[str], mode: str) -> Recipe:
    """What the flags say of these models. Raises UsageError for a weight of none of them."""
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
        weights[index_of(name, models)] = weight
    plausible = 0.1 if values["plausible"] is None else values["plausible"]
    pool = OpinionPool(tuple(weights), values["pool"] or "linear", plausible)
    return Recipe(mode, pool, values["turn"] or 1)  # type: ignore[arg-type]


def index_of(name: str, models: Sequence[str]) -> int:
    """Which of the models is meant: as typed with -m, or its file's name. Raises UsageError."""
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
