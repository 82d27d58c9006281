"""What a person must know of the kernels that models are evaluated with."""

from __future__ import annotations

from collections.abc import Iterator

from llterm.core.query import OnServers, Source, members_of


def kernel_notes(source: Source) -> Iterator[str]:
    """Of each model whose figures are not those of exact kernels, or where a choice of kernels
    came to nothing: a sentence without its full stop."""
    for member in members_of(source):
        kernels = member.capabilities.kernels
        if kernels is not None and (note := kernels.note(member.name)):
            yield note
        if isinstance(member, OnServers) and member.news.own_kernels:
            yield f"--kernels does not apply to {member.name}: its server has its own"
