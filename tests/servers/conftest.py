"""Without the extra, or an address, nothing here is collected: the suite runs the same with and
without them."""

from __future__ import annotations

import os
from importlib.util import find_spec

_NEEDED = ("uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")

collect_ignore = [] if all(map(find_spec, _NEEDED)) else ["test_llama_cpp_python.py"]
if "LLTERM_TEST_ADDRESS" not in os.environ:
    collect_ignore.append("test_address.py")
