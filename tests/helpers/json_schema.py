"""As much of JSON Schema as docs/schema uses, and what a command prints held to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.program import run

_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}  # fmt: skip
_KNOWN = {
    "$schema", "$defs", "$ref", "title", "type", "additionalProperties", "required", "properties",
    "items", "const", "enum", "oneOf", "minimum", "maximum", "exclusiveMinimum", "maxLength",
    "maxItems",
}  # fmt: skip


def run_json(home: Path, *arguments: str | Path, stdin: bytes = b"") -> dict[str, Any]:
    """What a command prints with `--format json`, after its schema."""
    ran = run(home, *arguments, "--format", "json", stdin=stdin)
    assert ran.code == 0, ran.err
    assert ran.out.isascii()
    printed: dict[str, Any] = json.loads(ran.out)
    root = schema("attribution" if "--attribution" in arguments else str(arguments[0]))
    assert faults(printed, root, root) == []
    return printed


def schema(name: str) -> dict[str, Any]:
    """One of those that docs/schema has."""
    path = Path(__file__).parents[2] / "docs" / "schema" / f"{name}.json"
    read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return read


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Where the value breaks the schema."""
    assert set(schema) <= _KNOWN, f"this validator does not know all of {set(schema)}"
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "oneOf" in schema:
        fits = [not faults(value, one, root, at) for one in schema["oneOf"]]
        return [] if sum(fits) == 1 else [f"{at}: fits {sum(fits)} of oneOf"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is not one of {schema['enum']}"]
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(_is(value, name) for name in names):
        return [f"{at}: {value!r} is not {names}"]
    return [*_number(value, schema, at), *_inside(value, schema, root, at)]


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])  # type: ignore[arg-type]


def _number(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    if not isinstance(value, int | float):
        return []
    low, high, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    wrong = (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
    )
    return [f"{at}: {value} is out of range"] if wrong else []


def _inside(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found: list[str] = []
    for kind, name in ((str, "maxLength"), (list, "maxItems")):
        if isinstance(value, kind) and len(value) > schema.get(name, len(value)):
            found.append(f"{at}: {value!r} is longer than {schema[name]}")
    if isinstance(value, list) and "items" in schema:
        for index, one in enumerate(value):
            found += faults(one, schema["items"], root, f"{at}[{index}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [
            f"{at}.{key} is missing" for key in schema.get("required", ()) if key not in value
        ]
        for key, one in value.items():
            if key in properties:
                found += faults(one, properties[key], root, f"{at}.{key}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{at}.{key} is not in the schema")
    return found
