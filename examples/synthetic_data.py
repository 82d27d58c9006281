"""Synthetic data: objects that fit a JSON schema, drawn side by side, with their probabilities."""

from __future__ import annotations

import json
import sys

import llterm

SCHEMA = {
    "type": "object",
    "properties": {
        "animal": {"enum": ["fox", "hen", "wolf", "goose"]},
        "age": {"type": "integer", "minimum": 1, "maximum": 20},
    },
    "required": ["animal", "age"],
    "additionalProperties": False,
}


def main(name: str = "fable", *, count: int = 6) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with llterm.open(name) as model:
        for drawn in model.sample(
            "An animal of the forest, as JSON: ", count, tokens=40, json_schema=SCHEMA, seed=1
        ):
            if drawn.finish == "end":
                rows.append({**json.loads(drawn.text), "p": drawn.p})
    for row in rows:
        print(json.dumps(row))
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:2])
