"""Without the extra nothing here is collected: the suite runs the same with and without it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("transformers") is not None else ["test_*.py"]
