"""`llterm models …`: names, flags, help. What they do is in `headless`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llterm.cli import options
from llterm.output import put

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
    format: Format = "text",
    config: options.ConfigPath = None,
) -> None:
    """List every model with a name: bundled, configured, found on this machine, and on servers.

    GGUF files are found in llterm's own folder and where Hugging Face's library, LM Studio, Ollama
    and llama.cpp keep theirs; servers are asked what they have. A star marks the model that is
    opened without -m.
    """
    from llterm.cli.settings import load
    from llterm.headless import models

    if hub is not None:
        put(models.hub_json(hub) if format == "json" else models.hub_text(hub))
        return
    found = load(file=config)
    show = models.list_json if format == "json" else models.list_text
    put(show(found, addresses or ()))


@models_app.command("info")
def info_command(name: Name, format: Format = "text", config: options.ConfigPath = None) -> None:
    """Say what a model's file holds; loads no weights."""
    from llterm.cli.settings import load
    from llterm.headless import models

    show = models.info_json if format == "json" else models.info_text
    put(show(name, load(file=config)))


@models_app.command("pull")
def pull_command(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/REPO[:QUANT]",
            help="A model on the Hugging Face hub; after the colon a quantisation (Q4_K_M) or a "
            "file's name.",
        ),
    ],
    config: options.ConfigPath = None,
) -> None:
    """Fetch a model from the Hugging Face hub, and print where it lies.

    What was stopped or cut off goes on where it was. The hub's checksum is compared. HF_TOKEN, or
    the hub's own login, opens repositories that need one; HF_ENDPOINT names another hub.
    """
    from llterm.cli.settings import load
    from llterm.headless.shelving import pull_model

    found = load(file=config)
    put(str(pull_model(reference, found)))


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
    from llterm.cli.settings import load
    from llterm.headless.shelving import quantise_model

    found = load(file=config)
    put(str(quantise_model(name, kind, found, output=output, again=again, threads=threads)))


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
    from llterm.cli.settings import load
    from llterm.headless.shelving import remove_model

    remove_model(name, load(file=config), yes=yes, outside=outside)
