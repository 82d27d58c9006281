"""The addresses of looms, where a folder of them is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from llterm.core.chat_messages import Chat, chat_text
from llterm.core.loom_tree import ROOT
from llterm.formats.export_source import source_of
from llterm.formats.exports import ExportOptions, exported, holds_history
from llterm.formats.file_formats import file_format
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.body_reader import read_body
from llterm.serve.classified_texts import classified_texts
from llterm.serve.inspections import TextInspection, plan_inspection
from llterm.serve.loom_bodies import (
    AcceptBody,
    ChildrenBody,
    ClipBody,
    EventsQuery,
    ExportQuery,
    GrowBody,
    ImportBody,
    LoomsQuery,
    MarksBody,
    NewLoomBody,
    NodeAttributionBody,
    NodeLabelsBody,
    NodePreviewBody,
    NodeStepBody,
    NothingBody,
    PageQuery,
    TitleBody,
    TreeQuery,
    TrimBody,
    WeaveBody,
)
from llterm.serve.loom_growth import (
    begin_growth,
    check_children,
    grown,
    node_place,
    stepped_run,
)
from llterm.serve.loom_records import (
    held,
    loom_record,
    node_record,
    page_record,
    path_record,
    summary_record,
    text_record,
    tokens_record,
)
from llterm.serve.loom_requests import LoomRequest
from llterm.serve.loom_weaves import NodeWeave, begin_weave
from llterm.serve.pages.browser_page import browser_page
from llterm.serve.request_gates import WHOSE
from llterm.serve.server_route import Respond, ServerRoute, read_whole, send_bytes
from llterm.serve.server_state import ServerState, using
from llterm.session.document import Document
from llterm.session.manuscript import encoded

LOOMS = "/v1/llterm/looms"
_LOOM = f"{LOOMS}/{{loom}}"
_NODES = f"{_LOOM}/nodes"
_NODE = f"{_NODES}/{{node}}"
Record = Mapping[str, Any]
Work = Callable[[Document, Any, int], object]


def _route(respond: Callable[[LoomRequest], Awaitable[None]]) -> Respond:
    async def answer(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(LoomRequest(state, scope, receive, send))

    return answer


async def _body(request: LoomRequest, kind: Any) -> Any:
    return read_body(await read_whole(request.receive), kind)


# --- looms


@_route
async def _list(request: LoomRequest) -> None:
    query = request.query(LoomsQuery)
    summaries, more = await request.folder.list(query.after, query.limit)
    await request.answer({
        "object": "list",
        "data": [summary_record(summary) for summary in summaries],
        "has_more": more,
        "after": summaries[-1].title if more else None,
        "deleted": list(await request.folder.deleted()),
    })  # fmt: skip


async def _told(request: LoomRequest, title: str, **more: Any) -> None:
    loom = await request.folder.get(title)
    record = await loom.read(lambda document: loom_record(document, title))
    await request.answer({**record, **more})


@_route
async def _create(request: LoomRequest) -> None:
    body = await _body(request, NewLoomBody)

    def begin() -> Document:
        document = Document.scratch(encoded(body.text))
        document.prefix = body.prefix
        document.chat = chat_text(Chat(body.system, body.message))
        return document

    await request.folder.create(body.title, begin)
    await _told(request, body.title)


@_route
async def _import(request: LoomRequest) -> None:
    body = await _body(request, ImportBody)
    data = body.data.encode("utf-8", "replace")
    imported = await request.folder.take_in(body.title, data, body.format)
    await _told(request, body.title, format=imported.format, notes=list(imported.notes))


@_route
async def _read(request: LoomRequest) -> None:
    await _told(request, request.title)


@_route
async def _rename(request: LoomRequest) -> None:
    body = await _body(request, TitleBody)
    await request.folder.rename(request.title, body.title)
    await _told(request, body.title)


@_route
async def _delete(request: LoomRequest) -> None:
    await request.folder.delete(request.title)
    await request.answer({"id": request.title, "object": "loom", "deleted": True})


@_route
async def _restore(request: LoomRequest) -> None:
    await _body(request, NothingBody)
    await _told(request, await request.folder.restore(request.title))


@_route
async def _export(request: LoomRequest) -> None:
    query, title = request.query(ExportQuery), request.title

    def export(document: Document) -> bytes:
        whole = document.whole(history=holds_history(query.format))
        return exported(source_of(whole, title), query.format, ExportOptions(every=query.every))

    data = await (await request.loom()).read(export)
    suffix = file_format(query.format).suffixes[0]
    name = title.encode("ascii", "replace").decode().replace('"', "'").replace("?", "_")
    # Never shown as a page of this server: it would run what a text says.
    headers = (("Content-Disposition", f'attachment; filename="{name}{suffix}"'),)
    await send_bytes(data, "application/octet-stream", request.send, headers=headers)


@_route
async def _events(request: LoomRequest) -> None:
    query = request.query(EventsQuery)
    loom = await request.loom()
    events = loom.events(query.after)
    await request.state.open.stream(events, request.receive, request.send)


def _travel(label: str) -> Respond:
    """Undo or redo: the last step of the loom, whoever did it."""

    @_route
    async def answer(request: LoomRequest) -> None:
        await _body(request, NothingBody)
        expected, title = request.revision(needed=True), request.title

        def work(document: Document) -> Record:
            if getattr(document, label)() is None:
                raise ApiError(409, f"There is nothing to {label}", code=f"nothing_to_{label}",
                               headers={"x-should-retry": "false"})  # fmt: skip
            return loom_record(document, title)

        await request.answer(await (await request.loom()).write(work, expected))

    return answer


# --- nodes, as they are


def _reading(record: Callable[[Document, int, Any], Record], query: Any = None) -> Respond:
    """Answers with what is so of a node."""

    @_route
    async def answer(request: LoomRequest) -> None:
        asked = request.query(query) if query is not None else None
        node = request.node
        loom = await request.loom()
        await request.answer(await loom.read(lambda document: record(document, node, asked)))

    return answer


def _node_told(document: Document, node: int) -> Record:
    record = node_record(document, held(document, node))
    return {**record, "revision": document.undo_log.revision}


@_route
async def _pages(request: LoomRequest) -> None:
    query = request.query(TreeQuery)
    loom = await request.loom()
    await request.answer(await loom.read(
        lambda document: page_record(document, query.under, query.after, query.limit, query.depth)
    ))  # fmt: skip


_node = _reading(lambda document, node, _: _node_told(document, node))
_children = _reading(
    lambda document, node, query: page_record(document, node, query.after, query.limit, 1),
    PageQuery,
)
_path = _reading(
    lambda document, node, query: path_record(document, node, query.after, query.limit), PageQuery
)
_text = _reading(lambda document, node, _: text_record(document, node))
_tokens = _reading(lambda document, node, _: tokens_record(document, node))


# --- nodes, as they become


def _writing(kind: Any, work: Work) -> Respond:
    """Changes a node as a body says, or by the address alone, and answers with what it is then, or
    with nodes that were made."""

    @_route
    async def answer(request: LoomRequest) -> None:
        body = await _body(request, kind) if kind is not None else None
        node, expected = request.node, request.revision()

        def written(document: Document) -> Record:
            made = work(document, body, held(document, node))
            if isinstance(made, list):
                nodes = [node_record(document, id) for id in made]
                return {"revision": document.undo_log.revision, "nodes": nodes}
            if not document.loom.holds(node):
                return {"id": node, "deleted": True, "revision": document.undo_log.revision}
            return _node_told(document, node)

        await request.answer(await (await request.loom()).write(written, expected))

    return answer


def _noted(document: Document, body: Any, node: int) -> None:
    branches = document.branches
    if body.bookmark is not None:
        branches.bookmark(node, body.bookmark)
    if body.rating is not None:
        branches.rate(node, body.rating)
    if body.tags is not None:
        branches.tag(node, *body.tags)
    if body.note is not None:
        branches.note(node, body.note)


def _clipped(document: Document, body: Any, node: int) -> None:
    if (body.tokens is None) == (body.size is None):
        raise bad_field("tokens", "There is to be tokens or size, one of the two")
    if body.tokens is not None:
        document.branches.clip_tokens(_no_root(node), body.tokens)
    else:
        document.branches.clip(_no_root(node), body.size)


def _no_root(node: int) -> int:
    if node == ROOT:
        raise ApiError(400, "The root has no text", "Everything hangs under it.",
                       "Name a node below it.", code="invalid_value")  # fmt: skip
    return node


_write = _writing(ChildrenBody, lambda document, body, node: document.branches.write(
    [(node, text) for text in check_children(body)]
))  # fmt: skip
_mark = _writing(MarksBody, _noted)
_remove = _writing(None, lambda document, _, node: document.branches.delete(_no_root(node)))
_clip = _writing(ClipBody, _clipped)
_trim = _writing(
    TrimBody, lambda document, body, node: document.branches.trim(_no_root(node), body.tokens)
)


@_route
async def _accept(request: LoomRequest) -> None:
    body = await _body(request, AcceptBody)
    if (body.weave is None) != (body.ids is None):
        raise bad_field("ids", "weave and ids go together")
    node, expected = request.node, request.revision()
    loom = await request.loom()
    run = None
    woven: NodeWeave | None = None
    if body.weave is not None:
        woven = request.folder.weaves.get(body.weave, request.title, node)
        run = await asyncio.to_thread(woven.taken, body.ids)

    def work(document: Document) -> Record:
        held(document, node)
        if run is None:
            document.choose(node) if node != ROOT else document.clear()
            document.branches.read(node)
            return _node_told(document, node)
        if woven is not None and document.loom.text(node) != woven.text:
            raise ApiError(409, "The weave is of another text", "The node has changed since.",
                           "Weave again.", code="weave_stale",
                           headers={"x-should-retry": "false"})  # fmt: skip
        made = document.branches.accept(node, run)
        return {"revision": document.undo_log.revision, "nodes": [node_record(document, made)]}

    await request.answer(await loom.write(work, expected))


@asynccontextmanager
async def _with_model(request: LoomRequest, body: Any) -> AsyncGenerator[Any]:
    async with using(request.state, body.model, request.receive) as model:
        yield model


@_route
async def _grow(request: LoomRequest) -> None:
    body = await _body(request, GrowBody)
    node, expected, rules = request.node, request.revision(), request.state.rules
    loom = await request.loom()
    await loom.write(lambda document: held(document, node), expected)
    async with _with_model(request, body) as model:
        growth = await loom.plan(lambda document: begin_growth(body, document, node, model, rules))
        await _drawn(request, grown(growth, loom), streams=body.stream)


@_route
async def _weave(request: LoomRequest) -> None:
    body = await _body(request, WeaveBody)
    node, title = request.node, request.title
    loom = await request.loom()
    async with _with_model(request, body) as model:
        woven = await loom.plan(lambda document: begin_weave(body, document, title, node, model))
        await _drawn(request, _woven(woven, request), streams=body.stream)


async def _woven(woven: NodeWeave, request: LoomRequest) -> AsyncGenerator[Record]:
    last = None
    async with aclosing(woven.run()) as views:
        async for view in views:
            if last is not None:
                yield {"type": "suggestions", **woven.record(last, 50)}
            last = view
    assert last is not None
    id = request.folder.weaves.keep(woven)
    yield {"type": "weave", "weave": id, **woven.record(last)}


async def _drawn(request: LoomRequest, parts: AsyncGenerator[Record], *, streams: bool) -> None:
    """Answer with all parts as they come, or with the last one alone."""
    if streams:
        await request.state.open.stream(parts, request.receive, request.send)
        return

    async def whole() -> Record:
        told: Record = {}
        async with aclosing(parts):
            async for part in parts:
                told = part
        return told

    await request.answer(await request.state.open.finish(whole(), request.receive))


@asynccontextmanager
async def _inspecting(request: LoomRequest, body: Any) -> AsyncGenerator[TextInspection]:
    state, node = request.state, request.node
    loom = await request.loom()
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(_with_model(request, body))
        place = await loom.plan(lambda document: node_place(document, node, model))
        place = type(place)(place.tokens, ())
        whose = request.scope.get(WHOSE, "")
        yield await plan_inspection(body, model, state.rules, state.anchors, whose, place)


@_route
async def _preview(request: LoomRequest) -> None:
    body = await _body(request, NodePreviewBody)
    async with _inspecting(request, body) as inspection:
        told = await request.state.open.finish(inspection.preview(), request.receive)
    await request.answer(told)


@_route
async def _step(request: LoomRequest) -> None:
    body = await _body(request, NodeStepBody)
    node, expected = request.node, request.revision()
    loom = await request.loom()
    await loom.write(lambda document: held(document, node), expected)
    async with _inspecting(request, body) as inspection:
        told = await request.state.open.finish(inspection.step(), request.receive)
        run = stepped_run(told, inspection.model)

    def work(document: Document) -> Record:
        made = document.branches.plant(held(document, node), [] if run is None else [run])
        document.branches.read(*made)
        nodes = [node_record(document, id) for id in made]
        return {**told, "revision": document.undo_log.revision, "nodes": nodes}

    await request.answer(await loom.write(work))


@_route
async def _attribution(request: LoomRequest) -> None:
    body = await _body(request, NodeAttributionBody)
    node, state = request.node, request.state
    loom = await request.loom()
    async with _with_model(request, body) as model:
        place = await loom.plan(lambda document: node_place(document, node, model))
        work = state.attributions.answer(body, model, place)
        told = await state.open.finish(work, request.receive)
    await request.answer(told)


@_route
async def _classify(request: LoomRequest) -> None:
    body = await _body(request, NodeLabelsBody)
    node = request.node

    def text(document: Document) -> str:
        held(document, node)
        own = body.own and node != ROOT
        data = document.loom.data(document.loom.nodes[node]) if own else document.loom.text(node)
        return data.decode("utf-8", "replace")

    said = await (await request.loom()).read(text)
    async with _with_model(request, body) as model:
        work = classified_texts(body, [said], model)
        told = await request.state.open.finish(work, request.receive)
    await request.answer(told)


@_route
async def _page(request: LoomRequest) -> None:
    await browser_page("looms", "llterm: looms").send(request.send)


def _at(
    path: str, method: Any, summary: str, respond: Respond, body: Any = None, **more: Any
) -> ServerRoute:
    return ServerRoute((path,), method, summary, respond, body, looms=True, **more)


LOOM_ROUTES: tuple[ServerRoute, ...] = (
    _at("/looms", "GET", "A page on which a person reads and writes looms.", _page,
        kind="text/html", open=True),
    _at(LOOMS, "GET", "The looms.", _list, query=LoomsQuery),
    _at(LOOMS, "POST", "Make a loom.", _create, NewLoomBody),
    _at(f"{LOOMS}/import", "POST", "Make a loom of another program's file.", _import, ImportBody),
    _at(_LOOM, "GET", "One loom.", _read),
    _at(_LOOM, "PATCH", "Give it another title.", _rename, TitleBody),
    _at(_LOOM, "DELETE", "Delete it; it can be restored.", _delete),
    _at(f"{_LOOM}/restore", "POST", "Bring back the one of this title.", _restore, NothingBody),
    _at(f"{_LOOM}/export", "GET", "It in another format.", _export, query=ExportQuery,
        kind="application/octet-stream"),
    _at(f"{_LOOM}/events", "GET", "Its steps as they are done, by whomever.", _events,
        query=EventsQuery, kind="text/event-stream"),
    _at(f"{_LOOM}/undo", "POST", "Take back its last step.", _travel("undo"), NothingBody),
    _at(f"{_LOOM}/redo", "POST", "Do again what was undone.", _travel("redo"), NothingBody),
    _at(_NODES, "GET", "Its tree, page by page.", _pages, query=TreeQuery),
    _at(_NODE, "GET", "One node.", _node),
    _at(_NODE, "PATCH", "Note something on it.", _mark, MarksBody),
    _at(_NODE, "DELETE", "Delete it with all below it.", _remove),
    _at(f"{_NODE}/children", "GET", "What hangs right below it.", _children, query=PageQuery),
    _at(f"{_NODE}/children", "POST", "Write below it.", _write, ChildrenBody),
    _at(f"{_NODE}/path", "GET", "The nodes from the root to it.", _path, query=PageQuery),
    _at(f"{_NODE}/text", "GET", "The text from the root to its end.", _text),
    _at(f"{_NODE}/tokens", "GET", "Its tokens, with what they were born with.", _tokens),
    _at(f"{_NODE}/grow", "POST", "Draw children of it.", _grow, GrowBody),
    _at(f"{_NODE}/weave", "POST", "The most probable suggestions after it.", _weave, WeaveBody),
    _at(f"{_NODE}/accept", "POST", "Let the story go this way.", _accept, AcceptBody),
    _at(f"{_NODE}/clip", "POST", "Keep its beginning.", _clip, ClipBody),
    _at(f"{_NODE}/trim", "POST", "Take tokens off its end.", _trim, TrimBody),
    _at(f"{_NODE}/preview", "POST", "What may follow it.", _preview, NodePreviewBody),
    _at(f"{_NODE}/step", "POST", "A token more, drawn or forced.", _step, NodeStepBody),
    _at(f"{_NODE}/attribution", "POST", "What led to a token of it.", _attribution,
        NodeAttributionBody),
    _at(f"{_NODE}/classify", "POST", "Which labels fit it.", _classify, NodeLabelsBody),
)  # fmt: skip
