"""Without the extra nothing here is collected: the suite runs the same with and without it."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = ("uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")

collect_ignore_glob = [] if all(map(find_spec, _NEEDED)) else ["test_*.py"]
