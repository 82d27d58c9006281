"""The kinds of servers, one module for each, and the one list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llterm.backends.remote.dialect import Dialect
from llterm.backends.remote.dialects.chat_dialect import ChatDialect
from llterm.backends.remote.dialects.completions import CompletionsDialect
from llterm.backends.remote.dialects.kobold import KoboldDialect
from llterm.backends.remote.dialects.llama import LlamaDialect
from llterm.backends.remote.dialects.mlx import MlxDialect
from llterm.backends.remote.dialects.ollama import OllamaDialect
from llterm.backends.remote.dialects.sglang import SglangDialect
from llterm.backends.remote.dialects.tabby import TabbyDialect
from llterm.backends.remote.dialects.vllm import VllmDialect
from llterm.backends.remote.dialects.webui import WebuiDialect


class RegisteredDialect(NamedTuple):
    """A row of the registry."""

    dialect: type[Dialect]
    order: int
    """Its turn among those that match: some servers imitate those after them."""
    by_itself: bool = True
    """Its servers say what they are; any other server is tried with the rest, one after another."""
    owner: str = ""
    """What its servers alone call the owner of their models: where it stands nobody else is asked
    for. Empty where they say nothing of the kind, or others imitate them."""


REGISTRY: Mapping[str, RegisteredDialect] = {
    row.dialect.name: row
    for row in (
        RegisteredDialect(LlamaDialect, 6),
        RegisteredDialect(VllmDialect, 3, owner="vllm"),
        RegisteredDialect(SglangDialect, 2),
        RegisteredDialect(TabbyDialect, 4, owner="tabbyAPI"),
        RegisteredDialect(OllamaDialect, 7),
        RegisteredDialect(KoboldDialect, 1),
        RegisteredDialect(WebuiDialect, 5),
        RegisteredDialect(CompletionsDialect, 8, by_itself=False),
        RegisteredDialect(MlxDialect, 9, by_itself=False),
        RegisteredDialect(ChatDialect, 10, by_itself=False),
    )
}
"""Every dialect by its name in the configuration, in the order in which people are shown them."""


def dialects_to_probe(*, by_themselves: bool) -> list[type[Dialect]]:
    """Those whose servers say what they are, or the others; in the order of probing."""
    rows = sorted(REGISTRY.values(), key=lambda row: row.order)
    return [row.dialect for row in rows if row.by_itself == by_themselves]
