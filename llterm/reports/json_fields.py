"""What the JSON of several results has in common. Figures that JSON has no word for become null.

`core.jsontext` writes them so: an infinite perplexity, a divergence that is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llterm.core.jsontext import json_text
from llterm.core.query import Cost
from llterm.core.tokens import Token


def text_of(data: bytes) -> str:
    """Bytes as JSON can say them; what is no text is `�`, and the bytes stand beside it."""
    return data.decode("utf-8", "replace")


def token_fields(token: Token) -> dict[str, Any]:
    """A token, its text and its exact bytes."""
    return {"id": token.id, "text": text_of(token.data), "bytes": list(token.data)}


def cost_fields(cost: Cost, seconds: float) -> dict[str, Any]:
    """What a result took."""
    return {
        "seconds": round(seconds, 6),
        "tokens_evaluated": cost.tokens,
        "decodes": cost.decodes,
        "requests": cost.requests,
    }


def streamed(
    head: Mapping[str, Any], name: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """An object with one more field, a list with a row a line, in parts as the rows are made."""
    text = json_text(head, indent=2)
    yield text[: text.rindex("\n")] + f',\n  "{name}": ['
    between = "\n"
    for row in rows:
        yield between + "    " + json_text(row)
        between = ",\n"
    yield "\n  ]\n}\n"
