"""`python -m benchmarks [NAME…] [GGUF…]`: a table, and JSON in benchmarks/results/latest.json."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.rows import Row

NAMES = (
    "startup",
    "local",
    "scoring",
    "comparing",
    "drawing",
    "served",
    "remote",
    "replicas",
    "screen",
    "looms",
)
ON_FILES = ("drift", "exactness", "kernels", "perplexity")
"""Only when named, on the GGUF files that are named with it."""
ALSO_ON_FILES = ("batch", "classify", "draft", "drawing", "serve")
"""On the bundled model, or on those files."""


def main(arguments: list[str]) -> int:
    files = [Path(argument) for argument in arguments if argument.endswith(".gguf")]
    names = [argument for argument in arguments if not argument.endswith(".gguf")]
    rows: list[Row] = []
    for name in names or NAMES:
        print(f"measuring: {name}", file=sys.stderr)
        measure = importlib.import_module(f"benchmarks.{name}").measure
        rows += measure(files) if name in (*ON_FILES, *ALSO_ON_FILES) else measure()
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        budget = "" if row.budget is None else f"{'≥' if row.at_least else '≤'} {row.budget:g}"
        verdict = "" if row.budget is None else ("holds" if row.holds else "MISSED")
        value = f"{row.value:10.3f} {row.unit:8}"
        print(f"{row.name:{width}} {value} {budget:9} {verdict:6}  {row.note}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    report = {
        "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "os": platform.platform()},
        "rows": [{**asdict(row), "holds": row.holds} for row in rows],
    }
    (results / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


sys.exit(main(sys.argv[1:]))
