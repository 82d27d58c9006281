"""What a server can do and what its gaps mean, in words."""

from __future__ import annotations

from collections.abc import Sequence

from llterm.backends.remote.steps import Traits


def explained(traits: Traits) -> Sequence[tuple[str, str]]:
    """What a server can do, row by row, each gap with what it means."""
    ids = traits.ids_in and traits.ids_out
    return [
        ("server", traits.server),
        ("model", traits.model),
        ("context", f"{traits.context:,} tokens" + (
            "" if traits.context_told else " (a guess: it does not say; `context` sets it)")),
        ("candidates", "as many as are asked for" if traits.top is None
            else f"{traits.top} at most: what is less probable is not seen"),
        ("token ids", "in and out" if ids
            else "no: paths go as text, and the server may cut it into other tokens"),
        ("token bytes", "exact" if traits.bytes_out
            else "as text: parts of characters may be left out"),
        ("probabilities", {True: "the model's own, before any filter",
                           False: "after the server's filters",
                           None: "not known whether before or after its filters"}[traits.raw]),
        ("several at once", f"lists of prompts; {traits.slots} served at once" if traits.lists
            else "one prompt a request"),
        ("lines ahead", "yes: one request goes on for several tokens" if traits.lines
            else "no: one request a token"),
        ("heat", "yes: it scores a given text" if traits.reads
            else "yes, place by place" if traits.favours
            else "no heat: this server does not score given text"),
        ("healing, constraints", "yes" if traits.favours
            else "no: it cannot be held to certain tokens"),
        ("begun answers", traits.prefill or "no: it always opens a new turn"),
        ("cache", traits.cache or "not known"),
    ]  # fmt: skip
