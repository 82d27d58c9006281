"""`llterm models …`: names, flags, help, and what is said on the way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llterm.cli import options
from llterm.errors import Interrupted, LltermError, UsageError
from llterm.output import put, say, say_drawn

if TYPE_CHECKING:
    from llterm.config import Config

models_app = typer.Typer(
    help="The models there are: list, look, fetch, shrink, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME|PATH", help="A model.")]
Format = Annotated[Literal["text", "json"], typer.Option("--format", help="What to print.")]


@models_app.command("list")
def list_command(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]...", help="Servers whose models are to be listed too."),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(
            "--hub",
            metavar="OWNER/REPO|WORDS",
            help="List what can be pulled: the models of a repository on the Hugging Face hub, or "
            "repositories that fit these words.",
        ),
    ] = None,
    available: Annotated[
        bool,
        typer.Option(
            "--available", help="List popular models, which can be pulled by these names."
        ),
    ] = False,
    format: Format = "text",
    config: options.ConfigPath = None,
) -> None:
    """List every model with a name: bundled, configured, found on this machine, and on servers.

    GGUF files are found in llterm's own folder and where Hugging Face's library, LM Studio, Ollama
    and llama.cpp keep theirs; servers are asked what they have. A star marks the model that is
    opened without -m.
    """
    from llterm.reports import models_json, models_text

    as_json = format == "json"
    if available and (hub is not None or addresses):
        raise UsageError(
            "--available lists popular models alone",
            "It goes neither with --hub nor with addresses.",
            "Leave one of them out.",
        )
    if available:
        from llterm.backends.catalogue import read_catalogue
        from llterm.backends.pull import repositories_here

        here = repositories_here()
        entries = {entry: entry.repository.lower() in here for entry in read_catalogue().values()}
        put((models_json.catalogue_json if as_json else models_text.catalogue_text)(entries))
    elif hub is not None and "/" in hub:
        from llterm.backends.hub import remote_models
        from llterm.backends.hub_reference import read_reference
        from llterm.backends.pull import here_already

        models = {
            model: here_already(model) is not None
            for model in remote_models(read_reference(hub).repository)
        }
        put((models_json.hub_json if as_json else models_text.hub_text)(models))
    elif hub is not None:
        from llterm.backends.hub import search_hub

        show = models_json.repositories_json if as_json else models_text.repositories_text
        put(show(search_hub(hub)))
    else:
        from llterm.backends.caches import unfinished
        from llterm.backends.inventory import take_inventory
        from llterm.cli.settings import load

        settings = load(file=config)
        entries_here = take_inventory(settings, addresses or ())
        list_all = models_json.list_json if as_json else models_text.list_text
        put(list_all(entries_here, unfinished(), settings.model))


@models_app.command("info")
def info_command(
    name: Name,
    format: Format = "text",
    kernels: options.Kernels = None,
    config: options.ConfigPath = None,
) -> None:
    """Say what a model's file holds; loads no weights, but where --kernels fast tries these."""
    from llterm.backends.inventory import describe_model
    from llterm.cli.settings import load
    from llterm.reports import models_json, models_text

    kernels = options.checked({"models.kernels": kernels})["kernels"] if kernels else None
    description = describe_model(name, load(file=config), kernels)
    show = models_json.info_json if format == "json" else models_text.info_text
    put(show(description))


@models_app.command("pull")
def pull_command(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="NAME|OWNER/REPO[:QUANT]",
            help="A popular model's name (models list --available), or a repository of the Hugging "
            "Face hub; after the colon a quantisation (Q4_K_M), bits a weight (4.0: the nearest), "
            "or a file's name.",
        ),
    ],
    config: options.ConfigPath = None,
) -> None:
    """Fetch a model from the Hugging Face hub, and print where it lies.

    What was stopped or cut off goes on where it was. The hub's checksum is compared. HF_TOKEN, or
    the hub's own login, opens repositories that need one; HF_ENDPOINT names another hub.
    """
    from llterm.backends.hub_reference import find_remote, read_reference
    from llterm.backends.inventory import size_text
    from llterm.backends.pull import here_already, pull
    from llterm.cli.settings import load
    from llterm.output import ProgressLine

    settings = load(file=config)
    model = find_remote(read_reference(reference))
    path = here_already(model)
    if path is not None:
        say(f"{model.reference} is on this machine already.")
    else:
        say(f"Pulling {model.reference}: {size_text(model.size)}")
        received = 0

        def tell(done: int, total: int) -> None:
            nonlocal received
            received = done
            line.say(f"{done / max(total, 1):.0%} of {size_text(total)}")

        try:
            with ProgressLine() as line:
                path = pull(model, tell)
        except KeyboardInterrupt:
            raise Interrupted(
                "The pull was stopped",
                f"{size_text(received)} of {size_text(model.size)} are here.",
                "The same command goes on from there.",
            ) from None
    _say_name(path, settings)
    put(str(path))


@models_app.command("quantize")
def quantize_command(
    name: Name,
    kind: Annotated[
        str, typer.Argument(metavar="QUANT", help="q8_0, q6_K, q5_K_M, q4_K_M, q3_K_M, q2_K, …")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write; never overwritten.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also where the model is quantised already.")
    ] = False,
    threads: options.Threads = None,
    config: options.ConfigPath = None,
) -> None:
    """Write a model in another quantisation, as a rule a smaller one, and print where it lies.

    Goes into llterm's own folder, named after the model and the quantisation.
    """
    from llterm.backends.caches import size_of
    from llterm.backends.inventory import size_text
    from llterm.backends.llamacpp.gguf_header import inspect_gguf
    from llterm.backends.llamacpp.quantize import expected_size, file_type, quantize
    from llterm.backends.model_files import quantized_path
    from llterm.backends.registry import find_model
    from llterm.cli.settings import load
    from llterm.output import ProgressLine

    settings = load(file=config)
    kind = file_type(kind)
    known = find_model(name, settings)
    if known.path is None:
        raise UsageError(f"{name} has no file", "", "It cannot be quantised.")
    target = output or quantized_path(known, kind)
    if target.is_dir():
        raise UsageError(f"{target} is a folder", "", "Name the file to write.")
    info = inspect_gguf(known.path)
    before = size_of(known.path)
    if not target.exists() and expected_size(info, kind) > before:
        say(
            f"{kind} is wider than what the file has ({info.quantisation}): it will grow, and gain "
            "nothing, for what was rounded away does not come back."
        )
    try:
        with ProgressLine() as line:
            quantize(
                known.path,
                target,
                kind,
                again=again,
                threads=threads,
                progress=lambda share: line.say(f"Quantising to {kind}: {share:.0%}"),
            )
    except KeyboardInterrupt:
        raise Interrupted("Quantising was stopped", "Nothing was written.") from None
    after = size_of(target)
    grown = " It grew: the file before is the smaller one." if after > before else ""
    say(f"{size_text(before)} became {size_text(after)}.{grown}")
    _say_name(target, settings)
    put(str(target))


@models_app.command("remove")
def remove_command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    outside: Annotated[
        bool, typer.Option("--outside", help="Also where the file is not llterm's own.")
    ] = False,
    config: options.ConfigPath = None,
) -> None:
    """Delete a model's file from llterm's own folder, after asking."""
    from llterm.backends.inventory import size_text
    from llterm.backends.model_files import removable_files, remove_files
    from llterm.backends.registry import find_model
    from llterm.cli.settings import load

    files = removable_files(name, find_model(name, load(file=config)), outside=outside)
    size = sum(path.stat().st_size for path in files)
    names = "\n".join(f"  {path}" for path in files)
    say(f"To be removed ({size_text(size)}):\n{names}")
    if not yes and not _confirmed():
        raise LltermError("Nothing was removed", "", "")
    remove_files(files)
    say("Removed.")


def _confirmed() -> bool:
    """A yes from the person. Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("Nobody can be asked here", "", "Say --yes to remove without a question.")
    say_drawn("Remove? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say_name(path: Path, config: Config) -> None:
    """How the model is called from now on."""
    from llterm.backends.model_files import typed_name

    say(f"Use it: llterm weave -m {typed_name(path, config)}")
