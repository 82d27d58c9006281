"""The server's OpenAPI document, made from its routes and their bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llterm.serve.server_route import ServerRoute
from llterm.version import __version__

_PLACES = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "application/json": {"schema": {"type": "object"}},
    "text/plain": {"schema": {"type": "string"}},
    "application/octet-stream": {},
    "text/html": {"schema": {"type": "string"}},
    # Before version 3.2 there is no way to say what the events of a stream are.
    "text/event-stream": {},
}


def openapi_document(routes: Sequence[ServerRoute], *, keys: bool) -> Mapping[str, Any]:
    """Version 3.1. `keys`: the server asks for one."""
    bodies = [route.body for route in routes if route.body is not None]
    bodies += [route.query for route in routes if route.query is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_PLACES)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for path in route.paths:
            said = path.replace(":path}", "}")
            paths.setdefault(said, {})[route.method.lower()] = _operation(route, path)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "llterm", "version": __version__},
        "paths": paths,
        "components": {"schemas": {**schemas, "Error": _ERROR}},
    }
    if keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _operation(route: ServerRoute, path: str) -> dict[str, Any]:
    kinds = [route.kind]
    if "stream" in getattr(route.body, "__struct_fields__", ()):
        kinds.append("text/event-stream")
    contents = {kind: _SHAPES[kind] for kind in kinds}
    if route.lists:
        contents[route.kind] = {"schema": {"type": ["object", "array"]}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "200": {"description": "Done.", "content": contents},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": _PLACES.format(name="Error")}}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)", path)
    ]
    if route.query is not None:
        _, shapes = msgspec.json.schema_components([route.query], ref_template=_PLACES)
        fields = shapes[route.query.__name__]["properties"]
        parameters += [
            {"name": name, "in": "query", "schema": shape} for name, shape in fields.items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if route.open:
        operation["security"] = []
    if route.body is not None:
        (reference,), _ = msgspec.json.schema_components([route.body], ref_template=_PLACES)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference}},
        }
    return operation
