"""A whole run of the server: models opened, the address had, requests answered, all closed."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.backends.llamacpp import thread_budget
from llterm.backends.registry import find_model, open_model
from llterm.backends.remote.api_keys import Secret
from llterm.config import Config
from llterm.config.schema import ServeConfig
from llterm.core.query import Backend
from llterm.errors import UsageError
from llterm.jobs.runner import Listener, absences, load_progress
from llterm.serve.application import Access, application, loading_application
from llterm.serve.http_server import HttpServer, answering, listening, listening_file
from llterm.serve.model_process import open_process, opening_of
from llterm.serve.request_rules import RequestRules
from llterm.serve.routes import ServerState
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.served_models import ServedModel, ServedModels, served_model
from llterm.serve.server_status import ServerStatus, StatusLooks
from llterm.served_addresses import already_served, announced

STATUS_SECONDS = 0.5
"""Between two looks at how it is doing."""
Show = Callable[[ServerStatus], None]


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What a server is to be."""

    config: Config
    """Its table `[serve]` counts."""
    models: Sequence[tuple[str, Mapping[str, Any]]]
    """What names each model, and settings of its own."""
    keys: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerStart:
    """What a person is told when requests are answered."""

    models: Sequence[str]
    aliases: Mapping[str, str]
    address: str
    """Empty for a socket file."""
    file: Path | None = None
    new_key: str = field(default="", repr=False)
    """Made for this run, since none was given and one is needed."""
    keyed: bool = False


def limits_of(serve: ServeConfig) -> ServeLimits:
    """The bounds that are set."""
    return ServeLimits(
        body=serve.body_bytes,
        connections=serve.connections,
        queue=serve.queue,
        parallel=serve.parallel,
        slot_context=serve.slot_context,
        cache_memory=None if serve.cache_memory is None else serve.cache_memory << 20,
        head_seconds=serve.head_seconds,
        idle_seconds=serve.idle_seconds,
        stalled_seconds=serve.stalled_seconds,
        request_seconds=serve.request_seconds,
        drain_seconds=serve.drain_seconds,
    )


def aliases_of(serve: ServeConfig) -> dict[str, str]:
    """Other names of models. Raises UsageError."""
    aliases: dict[str, str] = {}
    for said in serve.aliases:
        name, equals, model = said.partition("=")
        if not (name and equals and model):
            raise UsageError(f"{said} is no alias", "", "Write it as NAME=MODEL.")
        aliases[name] = model
    return aliases


async def run_server(
    request: ServeRequest,
    listener: Listener,
    begun: Callable[[ServerStart], None],
    show: Show | None = None,
) -> None:
    """Serve until a signal ends it. `begun` is told when requests are answered, `show` again and
    again how it is doing.

    Raises LltermError: before a model is opened where the address cannot be had.
    """
    serve = request.config.serve
    limits, aliases = limits_of(serve), aliases_of(serve)
    if serve.preset not in request.config.presets:
        presets = ", ".join(request.config.presets)
        raise UsageError(f"There is no preset {serve.preset}", "", f"Known are {presets}.")
    known = [find_model(name, request.config) for name, _ in request.models]
    names = [model.name for model in known]
    if len(set(names)) < len(names):
        raise UsageError("Two models have one name", ", ".join(names), "Name them in llterm.toml.")
    async with AsyncExitStack() as stack:
        if serve.socket is not None:
            at: socket.socket = stack.enter_context(listening_file(serve.socket))
        else:
            at = listening(serve.host, serve.port)
            stack.callback(at.close)
        for each in known:
            if note := already_served(each.name, each.path):
                listener.warn(note)
        models: list[ServedModel] = []
        # The server itself takes the core that no decode does.
        files_served = sum(each.path is not None for each in known)
        cores = max((thread_budget.CORES - 1) // max(files_served, 1), 1)
        async with answering(loading_application(), at, limits):
            for each, (typed, settings) in zip(known, request.models, strict=True):
                name, progress = each.name, load_progress(listener, each.name)
                backend: Backend
                if each.path is not None:
                    opening = opening_of(each, request.config, settings, limits, cores)
                    backend = await open_process(opening, progress)
                else:
                    heard = absences(listener)
                    backend = await open_model(typed, request.config, settings, progress, heard)
                stack.push_async_callback(backend.close)
                model = served_model(name, backend, limits)
                stack.push_async_callback(model.generator.close)
                models.append(model)
        new_key = _new_key(request)
        keys = (*request.keys, *([Secret(new_key)] if new_key else []))
        rules = RequestRules(serve.preset, serve.seed, request.config.presets, limits)
        state = ServerState(ServedModels(models, aliases), rules, metrics=serve.metrics)
        bound = serve.host if serve.socket is None else None
        access = Access(bound, serve.allow_hosts, serve.allow_origins, keys)
        start = ServerStart(
            names, aliases, _address(serve, at), serve.socket, new_key, keyed=bool(keys)
        )
        app = application(state, access)
        files = [each.path for each in known if each.path is not None]
        stack.enter_context(announced(start.address or f"socket {serve.socket}", files))
        if show is not None:
            watching = asyncio.create_task(_watch(StatusLooks(state), show))
            stack.callback(watching.cancel)
        await HttpServer(app, limits, state.open, lambda: begun(start)).serve(sockets=[at])


async def _watch(looks: StatusLooks, show: Show) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        show(looks.look(loop.time()))


def is_local(host: str) -> bool:
    """Whether only this machine reaches this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _new_key(request: ServeRequest) -> str:
    serve = request.config.serve
    needed = serve.socket is None and not is_local(serve.host) and not request.keys
    return secrets.token_urlsafe(32) if needed else ""


def _address(serve: ServeConfig, at: socket.socket) -> str:
    if serve.socket is not None:
        return ""
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    return f"http://{host}:{at.getsockname()[1]}"
