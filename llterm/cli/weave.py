"""`llterm weave`: from typed words to a launch of the app."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm import paths, terminal
from llterm.cli.arguments import WeaveArguments
from llterm.cli.error_report import guarded
from llterm.cli.options import checked
from llterm.config import Config
from llterm.errors import UsageError
from llterm.jobs.inputs import argument_text, is_loom, read_text
from llterm.output import say
from llterm.regular_file import present
from llterm.served_addresses import already_served

if TYPE_CHECKING:
    from llterm.core.query import Backend
    from llterm.core.server_news import HearNews
    from llterm.ui.launch import Launch


def weave(arguments: WeaveArguments) -> int:
    """Open the app on a terminal; do one weave elsewhere. Returns the exit code."""
    reason = terminal.why_not_interactive(os.environ)
    if reason:
        from llterm.cli.suggest import weave_once

        return weave_once(arguments, arguments.load(), reason)
    config = arguments.load_app()
    log = paths.log_file()
    ui = config.ui
    terminal.prepare(os.environ, color=ui.color, monochrome=ui.monochrome, fps=ui.fps)
    from llterm.supervise import supervise

    def app() -> int:
        return guarded(lambda: _run_app(arguments, config, log))

    return supervise(app, log)


def _run_app(arguments: WeaveArguments, config: Config, log: Path) -> int:
    """In the child: what can be wrong is told before the screen is taken."""
    # What imports make is no garbage: looking through it takes a tenth of the start, then nothing.
    gc.disable()
    launch = _launch(arguments, config)
    with terminal.stderr_to(log):
        from llterm.ui.llterm_app import run_app

        gc.freeze()
        gc.enable()
        return run_app(launch)


def _launch(arguments: WeaveArguments, config: Config) -> Launch:
    from llterm.backends.registry import find_model, open_model
    from llterm.store.backups import back_up
    from llterm.ui.launch import Launch

    models = arguments.models if arguments.recipe is not None else (config.model,)
    for known in [find_model(model, config) for model in models]:
        if note := already_served(known.name, known.path):
            config = replace(config, notices=(*config.notices, f"{note}."))
        if known.path is not None:
            from llterm.backends.llamacpp.gguf_header import check_gguf

            check_gguf(known.path)
    if arguments.file is not None and arguments.file.is_file():
        # Before anything opens it: an older loom is brought to the present form then.
        back_up(arguments.file, config.store.backups)
    path, text = _story(arguments)
    typed = arguments.typed_rules()
    overrides = arguments.overrides

    def opening(progress: Callable[[float], None], hear: HearNews) -> Awaitable[Backend]:
        if arguments.recipe is not None:
            from llterm.engine.mixture import open_mix

            return open_mix(
                models, arguments.recipe, config, overrides, progress, hear, forgiving=True
            )
        return open_model(config.model, config, overrides, progress, hear)

    return Launch(
        path=path,
        text=text,
        prefix=arguments.prefix,
        rules=_rules(path, config, typed) if typed else None,
        config=config,
        opening=opening,
        model_name=" + ".join(find_model(model, config).name for model in models),
        auto_weave=config.ui.auto_weave and not arguments.beside,
        sampling=checked(arguments.sampling),
        constraint=arguments.constraint,
        chat=arguments.chat,
        overrides=overrides,
        offer=path is None and text is None and arguments.chat is None,
        mix=arguments.beside,
    )


def _story(arguments: WeaveArguments) -> tuple[Path | None, bytes | None]:
    """The loom's path, and the text of one that is made now."""
    text = argument_text(arguments.prompt) if arguments.prompt is not None else None
    file = arguments.file
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
        if present(loom):
            say(f"{loom} is there already and is opened; {file.name} is not read again.")
            return loom, None
        _check_folder(loom)
        say(f"{file.name} is imported into {loom}; the text file stays as it is.")
        return loom, imported
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "", "Name a .loom or a text file in it.")
    if present(file) and text is not None:
        raise UsageError(
            f"{file} has a story already",
            "--prompt is the beginning of a new one.",
            "Leave --prompt out, or name another loom.",
        )
    if present(file):
        from llterm.session.document import Document

        Document.open(file, say).close()  # Whether it opens is told before the screen is taken.
    else:
        _check_folder(file)
    return file, text


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
    if path is None or not present(path):
        return replace(config.weave, **typed)
    from llterm.jobs.loom_story import read_story

    return replace(read_story(path, tokens=False).rules, **typed)
