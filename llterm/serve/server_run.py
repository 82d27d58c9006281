"""A whole run of the server: models opened, the address had, requests answered, all closed."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.llamacpp.memory_estimate import machine_memory
from llterm.backends.registry import find_model
from llterm.backends.remote.api_keys import Secret
from llterm.config import Config
from llterm.config.model_settings import TypedModel
from llterm.config.schema import ServeConfig
from llterm.errors import LltermError, UsageError
from llterm.jobs.runner import Listener
from llterm.serve.application import Access, application, loading_application
from llterm.serve.http_server import HttpServer, answering, listening, listening_file
from llterm.serve.loom_folder import LoomFolder, folder_of
from llterm.serve.model_administration import ModelAdministration, OfferedNames
from llterm.serve.model_opener import ModelOpener, ModelSource
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import PooledModel
from llterm.serve.request_rules import RequestRules
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.server_state import ServerState
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
    models: Sequence[TypedModel]
    """Those that are named, the same one several times for as many replicas."""
    keys: tuple[Secret, ...] = ()
    admin_keys: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerStart:
    """What a person is told when requests are answered."""

    models: Sequence[str]
    """All of them by name."""
    on_use: Sequence[str]
    """Those that are loaded when they are asked for."""
    text_model: str | None
    """The first that goes on with texts; None where all tell embeddings alone."""
    aliases: Mapping[str, str]
    address: str
    """Empty for a socket file."""
    file: Path | None = None
    new_key: str = field(default="", repr=False)
    """Made for this run, since none was given and one is needed."""
    keyed: bool = False
    looms: bool = False
    """Looms are served; where it is not `keyed`, the new key is theirs alone."""


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


def aliases_of(request: ServeRequest) -> dict[str, str]:
    """Other names of models. Raises UsageError."""
    aliases: dict[str, str] = {}

    def add(alias: str, name: str) -> None:
        if aliases.setdefault(alias, name) != name:
            raise UsageError(f"The alias {alias} is for two models", "", "Give each another one.")

    for said in request.config.serve.aliases:
        alias, equals, name = said.partition("=")
        if not (alias and equals and name):
            raise UsageError(f"{said} is no alias", "", "Write it as NAME=MODEL.")
        add(alias, name)
    for typed in request.models:
        for alias in typed.aliases:
            add(alias, find_model(typed.name, request.config).name)
    return aliases


def _folders(serve: ServeConfig) -> list[Path]:
    """The folders whose models are served. Raises UsageError for one that there is not."""
    folders = [Path(folder).expanduser() for folder in serve.model_folders]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", "", "Name one that holds .gguf files.")
    return folders


def _models(
    request: ServeRequest, offered: OfferedNames
) -> tuple[list[PooledModel], list[PooledModel]]:
    """All models that are served, and those of them that are loaded at the start. Raises
    LltermError."""
    models: dict[str, PooledModel] = {}
    on_start: list[PooledModel] = []
    for typed in request.models:
        known = find_model(typed.name, request.config)
        model = models.setdefault(known.name, PooledModel(known, []))
        if model.known != known:
            raise UsageError(
                "Two models have one name", f"{known.name}.", "Name them in llterm.toml."
            )
        model.sources.append(ModelSource(known, typed.settings))
        if not typed.on_use and model not in on_start:
            on_start.append(model)
    serve = request.config.serve
    for known in (*(offered.configured() if serve.configured else ()), *offered.filed()):
        models.setdefault(known.name, PooledModel(known, [ModelSource(known)]))
    if not models:
        raise UsageError(
            "There is no model to serve",
            "Neither llterm.toml nor a folder that was named has one.",
            "Name one with -m.",
        )
    return list(models.values()), on_start


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
    limits, aliases = limits_of(serve), aliases_of(request)
    if serve.preset not in request.config.presets:
        presets = ", ".join(request.config.presets)
        raise UsageError(f"There is no preset {serve.preset}", "", f"Known are {presets}.")
    if any(key.is_same(admin) for key in request.keys for admin in request.admin_keys):
        raise UsageError("A key is both clients' and the operator's", "", "Take two keys.")
    offered = OfferedNames(request.config, _folders(serve))
    models, on_start = _models(request, offered)
    async with AsyncExitStack() as stack:
        if serve.socket is not None:
            at: socket.socket = stack.enter_context(listening_file(serve.socket))
        else:
            at = listening(serve.host, serve.port)
            stack.callback(at.close)
        for model in on_start:
            if note := already_served(model.name, model.known.path):
                listener.warn(note)
        opener = ModelOpener(request.config, limits, listener)
        memory = machine_memory() if serve.models_memory is None else serve.models_memory << 20
        pool = ModelPool(models, aliases, opener, memory)
        stack.push_async_callback(pool.close)
        looms: LoomFolder | None = None
        if serve.looms is not None:
            looms = LoomFolder(folder_of(serve.looms))
            stack.push_async_callback(looms.close)
        async with answering(loading_application(), at, limits):
            await pool.start(on_start)
        for_all = _needs_key(request)
        new_key = secrets.token_urlsafe(32) if for_all or (looms and not request.keys) else ""
        new = (Secret(new_key),) if new_key else ()
        keys = (*request.keys, *(new if for_all else ()))
        rules = RequestRules(serve.preset, serve.seed, request.config.presets, limits)
        administration = ModelAdministration(pool, offered)
        state = ServerState(pool, rules, administration, metrics=serve.metrics, looms=looms)
        bound = serve.host if serve.socket is None else None
        access = Access(
            bound, serve.allow_hosts, serve.allow_origins, keys, new, request.admin_keys
        )
        start = ServerStart(
            [model.name for model in models],
            [model.name for model in models if model not in on_start],
            next((model.name for model in models if not _is_encoder(model)), None),
            aliases,
            _address(serve, at),
            serve.socket,
            new_key,
            keyed=bool(keys),
            looms=looms is not None,
        )
        app = application(state, access)
        files = [model.known.path for model in models if model.known.path is not None]
        stack.enter_context(announced(start.address or f"socket {serve.socket}", files))
        if show is not None:
            watching = asyncio.create_task(_watch(StatusLooks(state), show))
            stack.callback(watching.cancel)
        await HttpServer(app, limits, state.open, lambda: begun(start)).serve(sockets=[at])


def _is_encoder(model: PooledModel) -> bool:
    """Whether it tells embeddings alone: of one that is not loaded its file says so."""
    if model.replicas:
        return not model.replicas[0].model.predicts
    with suppress(LltermError):
        path = model.known.path
        return path is not None and inspect_gguf(path, brief=True).encoder
    return False


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


def _needs_key(request: ServeRequest) -> bool:
    """Whether a key has to be made, for others reach the address and none was given."""
    serve = request.config.serve
    return serve.socket is None and not is_local(serve.host) and not request.keys


def _address(serve: ServeConfig, at: socket.socket) -> str:
    if serve.socket is not None:
        return ""
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    return f"http://{host}:{at.getsockname()[1]}"
