"""`llterm config …`: names, flags, help. What they do is in `settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llterm.cli import options
from llterm.output import put

config_app = typer.Typer(help="The configuration.", no_args_is_help=True, rich_markup_mode=None)


@config_app.command("init")
def config_init() -> None:
    """Write a configuration with every setting explained; never overwrites one."""
    from llterm.cli.settings import init

    put(init())


@config_app.command("show")
def config_show(
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from.")
    ] = False,
    config: options.ConfigPath = None,
) -> None:
    """Print every setting as it is in force."""
    from llterm.cli.settings import load, show

    put(show(load(file=config), origin=origin))


@config_app.command("check")
def config_check(config: options.ConfigPath = None) -> None:
    """Check the configuration, the keys included."""
    from llterm.cli.settings import check

    put(check(config))


@config_app.command("path")
def config_path(config: options.ConfigPath = None) -> None:
    """Print the configuration files that are read; the last one counts most."""
    from llterm.cli.settings import files

    put(files(config))


@config_app.command("trust")
def config_trust(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the llterm.toml lies.")
    ] = Path(),
    revoke: Annotated[bool, typer.Option("--revoke", help="Trust it no longer.")] = False,
) -> None:
    """Let a project's llterm.toml count whole, addresses and key sources too."""
    from llterm.cli.settings import trust_folder

    put(trust_folder(folder, revoke=revoke))
