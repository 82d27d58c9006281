"""`llterm weave --web`: the app in a browser on this machine, through textual-serve."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from llterm import child_processes
from llterm.errors import CapabilityMissing, UsageError, reason

HOST = "127.0.0.1"
"""Nothing else: whoever reaches the page writes with the person's rights."""


def serve(arguments: Sequence[str], port: int) -> int:
    """Serve `llterm` with these arguments until ctrl+c. Returns the exit code.

    Each page that is opened is an app of its own.
    """
    try:
        from llterm.cli.page_server import Gate, PageServer
    except ImportError as error:
        raise CapabilityMissing(
            "The app cannot be served to a browser",
            "The package textual-serve is not installed.",
            "pipx inject llterm textual-serve, or pip install textual-serve.",
        ) from error
    if not 0 < port < 65536:
        raise UsageError(f"There is no port {port}", "", "Ports go from 1 to 65535.")
    _refuse_taken(port)
    command = shlex.join(child_processes.command("llterm.cli", *arguments))
    PageServer(command, Gate(f"{HOST}:{port}"), port).serve()
    return 0


def without_web(arguments: Sequence[str]) -> list[str]:
    """The typed words less those about the browser."""
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--web" or word.startswith("--port="):
            continue
        if word == "--port":
            next(rest, None)
            continue
        words.append(word)
    return words


def _refuse_taken(port: int) -> None:
    """Say it before the server does, in a traceback."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} cannot be had", f"{reason(error)}.", "Choose another with --port."
            ) from error
