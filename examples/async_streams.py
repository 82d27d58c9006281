"""The async face: a model that tells a story while its loom grows on."""

from __future__ import annotations

import asyncio
import sys

import llterm


async def told(model: llterm.AsyncModel) -> str:
    text = "The sea"
    async for piece in model.generate(text, tokens=24, seed=1):
        text += piece.text
    return text


async def main(name: str = "fable") -> tuple[str, list[llterm.AsyncNode]]:
    async with llterm.aopen(name) as model:
        loom = await model.loom("Once upon a time")
        growing = loom.root.stream(3, tokens=12, seed=1)
        story = asyncio.create_task(told(model))
        async for token in growing:
            print(f"{token.number}: {token.text!r} {token.p:.2f}")
        print(await story)
        return await story, growing.children


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
