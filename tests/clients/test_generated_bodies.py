"""Schemathesis makes bodies of all kinds from the server's OpenAPI document: none is a fault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
EXAMPLES = 50
"""Of each route."""
SECONDS = 1200
"""Most that the run may take."""
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance",
)  # fmt: skip
ANY_ID = '"exclusiveMaximum": 2147483648'
_TEXT = {"type": "string", "minLength": 1, "maxLength": 20}
_MESSAGES = {
    "type": "array", "minItems": 1, "maxItems": 3,
    "items": {
        "type": "object", "required": ["role", "content"], "additionalProperties": False,
        "properties": {"role": {"enum": ["system", "user"]}, "content": _TEXT},
    },
}  # fmt: skip
_LABELS = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 4, "uniqueItems": True}
_ID = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2147483648}
_FEW = {"type": "integer", "minimum": 0, "maximum": 4}
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "_ChatFields": {"messages": _MESSAGES, "max_tokens": _FEW},
    "_ResponseFields": {"input": _TEXT, "max_output_tokens": _FEW},
    "ClassifyBody": {"text": _TEXT, "labels": _LABELS},
    "_PreviewFields": {"prompt": _TEXT, "top": {"type": "integer", "minimum": 1, "maximum": 9}},
    "_StepFields": {"prompt": _TEXT, "temperature": {"type": "number", "minimum": 0, "maximum": 2}},
    "AttributionBody": {
        "prompt": _TEXT,
        "method": {"enum": ["attention"]},
        "completion_ids": {"type": "array", "items": _ID, "minItems": 1, "maxItems": 4},
    },
}
"""Fields that go together, of bodies whose fields seldom do by chance: half of all are so."""


def _plain(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    required = [*fields]
    return {"type": "object", "properties": fields, "required": required,
            "additionalProperties": False}  # fmt: skip


def document(address: str) -> Any:
    """The server's, with the names and ids that it has: what is refused as unknown tells little."""
    told = httpx2.get(f"{address}/openapi.json").json()
    (model,) = httpx2.get(f"{address}/v1/models").json()["data"]
    (own,) = httpx2.get(f"{address}/v1/llterm").json()["models"]
    known = {"model": {"enum": [model["id"]]}, "vocabulary": {"enum": [own["vocabulary"]]}}
    for schema in told["components"]["schemas"].values():
        fields = schema.get("properties", {})
        fields |= {name: known[name] for name in known.keys() & fields.keys()}
    schemas = told["components"]["schemas"]
    for name, fields in PLAIN.items():
        schemas[f"Any{name}"] = schemas[name]
        schemas[name] = {"anyOf": [_plain(fields), {"$ref": f"#/components/schemas/Any{name}"}]}
    for operation in (each for path in told["paths"].values() for each in path.values()):
        for parameter in operation.get("parameters", ()):
            assert parameter["name"] == "id"
            parameter["schema"] = known["model"]
    text = json.dumps(told)
    assert ANY_ID in text
    return text.replace(ANY_ID, f'"exclusiveMaximum": {model["meta"]["n_vocab"]}')


def test_no_generated_body_is_a_fault_of_the_server(
    hurried: ServedProgram, figure: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(document(hurried.address))
    ran = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", hurried.address,
         "--phases", "fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color",
         # How long it takes to think of a body says nothing of the server.
         "--suppress-health-check", "too_slow", "--checks", ",".join(CHECKS),
         "--report", "json", "--report-json-path", "report.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    cases, operations = report["test_cases"], report["operations"]
    rates = {route: rate["fuzzing"] for route, rate in report["valid_rates"].items()}
    figure(
        f"schemathesis: {operations['tested']} of {operations['total']} routes, "
        f"{cases['generated']} bodies, {sum(rate['accepted'] for rate in rates.values())} of the "
        f"well-formed taken, {len(report['failures'])} failures in {report['running_time']:.0f} s"
    )
    assert (report["failures"], report["errors"], report["complete"]) == ([], [], True)
    assert operations["tested"] == operations["total"]
    assert not [route for route, rate in rates.items() if not rate["accepted"]]
    answer = httpx2.post(
        f"{hurried.address}/v1/completions", json={"model": ALIAS, "prompt": "A", "max_tokens": 1}
    )
    assert answer.status_code == 200, "it still answers"
