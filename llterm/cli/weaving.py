"""`llterm weave` and `llterm suggest`: from typed words to a launch of the app, or to a job."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm import paths, terminal
from llterm.cli.mixing import mix_of
from llterm.cli.options import checked, model_flags, sampling_flags, weave_flags
from llterm.cli.settings import load, log_to_file
from llterm.cli.taping import all_taped, taped
from llterm.config import Config
from llterm.config.schema import setting
from llterm.errors import LltermError, UsageError

if TYPE_CHECKING:
    from llterm.constraints.spec import Constraint
    from llterm.core.chat import Chat
    from llterm.core.query import Backend
    from llterm.engine.opening import MixOf
    from llterm.headless.job import Job, Woven
    from llterm.ui.launch import Launch


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
    """What the story is a reply to; --prompt is part of it then, and not of the story."""
    mix: MixOf | None = None
    beside: bool = False
    """Begin with the mix's models side by side."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Asked:
        """From a command's parameters. Raises UsageError."""
        chat = _chat(values)
        return cls(
            file=values["file"],
            prompt=None if chat else values["prompt"],
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


def suggest(asked: Asked, format: str) -> int:
    """Print suggestions; the exit code."""
    config = asked.load()
    log_to_file()
    replying = asked.chat is not None and asked.file is None
    text, loom = (b"", None) if replying else story_of(asked.file, asked.prompt)
    if text.endswith(b"\n"):
        say("The text ends in a line break: suggestions begin a new line.")
    woven = _weave(_job(asked, config, text, loom))
    _print(woven, format)
    return 0


def story_of(file: Path | None, prompt: str | None) -> tuple[bytes, Path | None]:
    """The text to go on from, or the loom that holds it. Raises UsageError."""
    from llterm.headless.inputs import argument_text, is_loom, read_stdin, read_text

    if file is not None and prompt is not None:
        raise UsageError(
            "Both a file and --prompt are given", "", "Leave one of them out: there is one text."
        )
    if prompt is not None:
        return argument_text(prompt), None
    if file is None:
        raise UsageError(
            "There is no text to go on from", "", "Name a file, - for standard input, or --prompt."
        )
    if str(file) == "-":
        return read_stdin(), None
    return (b"", file) if is_loom(file) else (read_text(file), None)


def weave(asked: Asked) -> int:
    """Open the app on a terminal; do one weave elsewhere. The exit code."""
    config = asked.load()
    reason = terminal.why_not_interactive(os.environ)
    if reason:
        return _weave_once(asked, config, reason)
    log = paths.log_file()
    ui = config.ui
    terminal.prepare(os.environ, color=ui.color, monochrome=ui.monochrome, fps=ui.fps)
    from llterm.cli.problems import guarded
    from llterm.supervise import supervise

    def app() -> int:
        return guarded(lambda: _run_app(asked, config, log))

    return supervise(app, log)


def _run_app(asked: Asked, config: Config, log: Path) -> int:
    """In the child: what can be wrong is told before the screen is taken."""
    log_to_file()
    launch = _launch(asked, config)
    with terminal.stderr_to(log):
        from llterm.ui.app import run_app

        return run_app(launch)


def _weave_once(asked: Asked, config: Config, reason: str) -> int:
    """One weave of the story, or of the first starting story; nothing is written to disk."""
    from llterm.core.stories import STORIES
    from llterm.headless.inputs import argument_text, is_loom, read_text

    log_to_file()
    text, loom, what = STORIES[0].text.encode(), None, f"the starting story “{STORIES[0].title}”"
    if asked.prompt is not None:
        text, what = argument_text(asked.prompt), "the prompt"
    elif asked.file is not None and is_loom(asked.file):
        text, loom, what = b"", asked.file, f"the story of {asked.file}"
    elif asked.file is not None:
        text, what = read_text(asked.file), str(asked.file)
    elif asked.chat is not None:
        text, what = b"", "the reply in a chat"
    say(f"One weave of {what}, because {reason}; on a terminal this opens the app.")
    _print(_weave(_job(asked, config, text, loom)), "tree")
    return 0


def _launch(asked: Asked, config: Config) -> Launch:
    from llterm.backends.registry import find_model, open_model
    from llterm.store.backups import back_up
    from llterm.ui.launch import Launch

    models = asked.mix.models if asked.mix else (config.model,)
    for known in [find_model(model, config) for model in models]:
        if known.path is not None:
            from llterm.backends.llamacpp.info import check_gguf

            check_gguf(known.path)
    if asked.file is not None and asked.file.is_file():
        # Before anything opens it: an older loom is brought to the present form then.
        back_up(asked.file, config.store.backups)
    path, text = _story(asked)
    typed = asked.typed_rules(config)
    overrides = asked.overrides

    def opening(progress: Callable[[float], None]) -> Awaitable[Backend]:
        if asked.mix is not None:
            from llterm.engine.opening import open_mix

            mix = asked.mix
            return open_mix(mix.models, mix.recipe, config, overrides, progress, forgiving=True)
        return open_model(config.model, config, overrides, progress)

    return Launch(
        path=path,
        text=text,
        prefix=asked.prefix,
        rules=_rules(path, config, typed) if typed else None,
        config=config,
        opening=opening,
        model_name=" + ".join(find_model(model, config).name for model in models),
        auto_weave=config.ui.auto_weave and not asked.beside,
        sampling=checked(asked.sampling),
        constraint=asked.constraint,
        chat=asked.chat,
        overrides=overrides,
        offer=path is None and text is None and asked.chat is None,
        mix=asked.beside,
    )


def _story(asked: Asked) -> tuple[Path | None, bytes | None]:
    """The loom's path, and the text of one that is made now."""
    from llterm.headless.inputs import argument_text, is_loom, read_text

    text = argument_text(asked.prompt) if asked.prompt is not None else None
    file = asked.file
    if file is None:
        return None, text
    if str(file) == "-":
        raise UsageError(
            "The app reads keys from standard input, not a story", "", "Name a file, or --prompt."
        )
    if not is_loom(file):
        loom = file.with_suffix(".loom")
        imported = read_text(file)
        if text is not None:
            raise UsageError("Both a text file and --prompt are given", "", "Leave one out.")
        if loom.exists():
            say(f"{loom} is there already and is opened; {file.name} is not read again.")
            return loom, None
        _check_folder(loom)
        say(f"{file.name} is imported into {loom}; the text file stays as it is.")
        return loom, imported
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "", "Name a .loom or a text file in it.")
    if file.exists() and text is not None:
        raise UsageError(
            f"{file} has a story already",
            "--prompt is the beginning of a new one.",
            "Leave --prompt out, or name another loom.",
        )
    if file.exists():
        _check_loom(file)
    else:
        _check_folder(file)
    return file, text


def _check_loom(path: Path) -> None:
    """Whether it opens, told before the screen is taken. Raises UsageError."""
    from llterm.session.document import Document

    Document.open(path).close()


def _check_folder(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}", "", "Make it first, or name another.")
    if not os.access(folder, os.W_OK):
        raise UsageError(
            f"The folder {folder} cannot be written to",
            f"{path.name} would be kept there.",
            "Name a loom elsewhere: `llterm weave ~/name.loom`.",
        )


def _rules(path: Path | None, config: Config, typed: Mapping[str, Any]) -> Any:
    """Typed settings over the loom's own; over the configured ones where it is new."""
    if path is None or not path.exists():
        return config.weave
    from llterm.session.document import Document

    document = Document.open(path)
    try:
        return replace(document.rules, **typed)
    finally:
        document.close()


def _job(asked: Asked, config: Config, text: bytes, loom: Path | None) -> Job:
    from llterm.headless.job import Job

    typed = asked.typed_rules(config)
    return Job(
        text,
        loom,
        asked.prefix,
        typed,
        config,
        config.model,
        asked.overrides,
        asked.constraint,
        checked(asked.sampling),
        asked.chat,
        asked.mix,
    )


def _chat(values: Mapping[str, Any]) -> Chat | None:
    """The one that was typed. Raises UsageError where it says nothing."""
    system, message = as_text(values["system"]), as_text(values["prompt"])
    if not values["chat"] and system is None:
        return None
    from llterm.core.chat import Chat

    chat = Chat(system or "", message or "")
    if not chat:
        raise UsageError(
            "There is nothing to reply to",
            "A chat needs what you say to the model.",
            "Say it with --prompt; a loom that has a chat keeps it without --chat.",
        )
    return chat


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
    from llterm.headless.inputs import read_text

    return read_text(path).decode("utf-8", "replace")


def _weave(job: Job) -> Woven:
    from llterm.headless.job import run

    return run(job)


def _print(woven: Woven, format: str) -> None:
    from llterm.core.chat import OWN, UNSEEN
    from llterm.headless import formats, results

    write = {
        "text": formats.as_text,
        "tree": formats.as_tree,
        "json": results.as_json,
        "dot": formats.as_dot,
    }[format]
    text = write(woven)
    sys.stdout.write(text + "\n" if text else "")
    sys.stdout.flush()
    say(formats.summary(woven))
    if woven.chat and woven.chat_format == UNSEEN:
        say(f"{woven.model} reads the chat by {UNSEEN}.")
    elif woven.chat and woven.chat_format != OWN:
        say(f"{woven.model} brings no chat template: the {woven.chat_format} format was used.")
    if not woven.view.suggestions and woven.constraint is not None:
        raise LltermError(
            "The constraint leads nowhere",
            "After what it allows first, no token can follow and the text may not end.",
            "Loosen it, or try another beginning.",
        )
    if not woven.view.suggestions:
        raise LltermError(
            "There are no suggestions",
            "The model's next tokens could not be woven under these settings.",
            "Try more --depth, or a longer text.",
        )


def as_text(text: str | None) -> str | None:
    """Settings are text, not bytes: what is not UTF-8 in them is replaced."""
    return (
        None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )


def say(text: str) -> None:
    from llterm.core.display import display_text

    sys.stderr.write(display_text(text.encode("utf-8", "surrogateescape")) + "\n")
