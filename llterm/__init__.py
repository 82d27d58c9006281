"""llterm: weave a story from a language model's own next-token probabilities.

A terminal application (`llterm weave`), commands, a server, and this library: `llterm.open` gives a
model, its methods the rest (docs/library.md). What is named here is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llterm.errors import (
        BackendUnavailable,
        CapabilityMissing,
        LltermError,
        ModelError,
        UsageError,
    )
    from llterm.library.async_loom import AsyncLoom, AsyncNode, AsyncNodeStream
    from llterm.library.async_model import AsyncModel, aopen
    from llterm.library.leaf_pipeline import (
        AsyncLeaves,
        LeafFailure,
        LeafResults,
        Leaves,
        LeavesFailed,
    )
    from llterm.library.loom import Loom, Node, NodeStream
    from llterm.library.loom_core import GrownToken
    from llterm.library.loop_thread import Stream
    from llterm.library.model import Model, open
    from llterm.library.text_results import (
        Classification,
        ContributingToken,
        MadeText,
        MixedText,
        MixToken,
        ModelComparison,
        NextCandidate,
        NextTokens,
        TextPiece,
        TextScoring,
        TextToken,
        TokenAttribution,
        TokenScoring,
    )
    from llterm.version import __version__

_HOMES = {
    "errors": (
        "BackendUnavailable", "CapabilityMissing", "LltermError", "ModelError", "UsageError",
    ),
    "library.async_loom": ("AsyncLoom", "AsyncNode", "AsyncNodeStream"),
    "library.async_model": ("AsyncModel", "aopen"),
    "library.leaf_pipeline": (
        "AsyncLeaves", "LeafFailure", "LeafResults", "Leaves", "LeavesFailed",
    ),
    "library.loom": ("Loom", "Node", "NodeStream"),
    "library.loom_core": ("GrownToken",),
    "library.loop_thread": ("Stream",),
    "library.model": ("Model", "open"),
    "library.text_results": (
        "Classification", "ContributingToken", "MadeText", "MixedText", "MixToken",
        "ModelComparison", "NextCandidate", "NextTokens", "TextPiece", "TextScoring", "TextToken",
        "TokenAttribution", "TokenScoring",
    ),
    "version": ("__version__",),
}  # fmt: skip
"""Public names by the module that has them."""
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncLeaves",
    "AsyncLoom",
    "AsyncModel",
    "AsyncNode",
    "AsyncNodeStream",
    "BackendUnavailable",
    "CapabilityMissing",
    "Classification",
    "ContributingToken",
    "GrownToken",
    "LeafFailure",
    "LeafResults",
    "Leaves",
    "LeavesFailed",
    "LltermError",
    "Loom",
    "MadeText",
    "MixToken",
    "MixedText",
    "Model",
    "ModelComparison",
    "ModelError",
    "NextCandidate",
    "NextTokens",
    "Node",
    "NodeStream",
    "Stream",
    "TextPiece",
    "TextScoring",
    "TextToken",
    "TokenAttribution",
    "TokenScoring",
    "UsageError",
    "__version__",
    "aopen",
    "open",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"llterm.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
