"""Texts as generators draw them."""

from __future__ import annotations

from contextlib import aclosing

from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest, Generator


async def generated(
    generator: Generator, request: GenerationRequest
) -> tuple[list[GeneratedToken], GenerationEnd]:
    """The tokens of a request, and its end, which is the last that comes."""
    tokens: list[GeneratedToken] = []
    end: GenerationEnd | None = None
    async with aclosing(generator.generate(request)) as news:
        async for item in news:
            assert end is None
            if isinstance(item, GenerationEnd):
                end = item
            else:
                tokens.append(item)
    assert end is not None
    return tokens, end
