"""The operator's routes: models are loaded and let go."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from llterm.serve.admin_bodies import GallamaBody, GallamaModel, GallamaName, LoadBody, UnloadBody
from llterm.serve.body_reader import read_body
from llterm.serve.model_administration import gallama_parts, load_record
from llterm.serve.server_route import ServerRoute, read_whole, send_json
from llterm.serve.server_state import ServerState


async def _administered(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(await state.administration.models(), send)


async def _queue(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(state.administration.loads(), send)


async def _load(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), LoadBody)
    loads = state.administration.load(body.models)
    await send_json({"object": "list", "data": [load_record(load) for load in loads]}, send)


async def _unload(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), UnloadBody)
    work = state.administration.unload(body.model, remove=body.remove)
    await state.open.finish(work, receive)
    await send_json({"model": body.model, "state": "removed" if body.remove else "unloaded"}, send)


async def _gallama_add(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body: GallamaModel | list[GallamaModel] = read_body(await read_whole(receive), GallamaBody)
    loads = state.administration.load(gallama_parts(body), further=True)
    ids = ",".join(dict.fromkeys(load.id for load in loads))
    await send_json({"message": "Model(s) queued for loading", "task_id": ids}, send)


async def _gallama_task(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    id = scope["path_params"]["id"]
    await send_json({"task_id": id, "status": state.administration.task_status(id)}, send)


async def _gallama_remove(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), GallamaName)
    await state.open.finish(state.administration.unload(body.model_id, remove=True), receive)
    await send_json({"message": f"All instances of model {body.model_id} removed"}, send)


ADMIN_ROUTES: tuple[ServerRoute, ...] = (
    ServerRoute(("/v1/llterm/admin/models",), "GET", "Every model, and how it is doing.",
                _administered, admin=True),
    ServerRoute(("/v1/llterm/admin/queue",), "GET", "What is loaded, and how far.", _queue,
                admin=True),
    ServerRoute(("/v1/llterm/admin/load",), "POST", "Load models.", _load, LoadBody, admin=True),
    ServerRoute(("/v1/llterm/admin/unload",), "POST", "Let a model go.", _unload, UnloadBody,
                admin=True),
    ServerRoute(("/add_model", "/v1/add_model"), "POST", "Load models, in gallama's words.",
                _gallama_add, GallamaBody, admin=True),
    ServerRoute(("/task_status/{id}", "/v1/task_status/{id}"), "GET", "How far that is.",
                _gallama_task, admin=True),
    ServerRoute(("/remove_model", "/v1/remove_model"), "POST", "Serve a model no more.",
                _gallama_remove, GallamaName, admin=True),
)  # fmt: skip
