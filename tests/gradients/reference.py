"""Writes tests/backends/attention.json, the attention weights that transformers computes.

make test-gradients                                       # sets up .venv-gradients, checks the file
.venv-gradients/bin/python -m tests.gradients.reference   # writes it anew
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.tokens import Tail
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED

FILE = Path(__file__).parents[1] / "backends" / "attention.json"
COMMAND = "python -m tests.gradients.reference"
SIZE = 20
"""Tokens a context."""


async def contexts() -> list[Tail]:
    """The beginnings of three starting stories."""
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1))
    try:
        vocabulary = backend.vocabulary
        texts = [story.text.encode() for story in STORIES[:3]]
        return [(vocabulary.prefix + vocabulary.encode(text))[:SIZE] for text in texts]
    finally:
        await backend.close()


def reference_model() -> Any:
    """The bundled model in transformers, of 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        str(BUNDLED.parent),
        gguf_file=BUNDLED.name,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
    ).eval()


def attention(tokens: Tail) -> list[list[list[float]]]:
    """By layer and row: the mean over heads, up to the row's own token."""
    import torch

    model = reference_model()
    with torch.no_grad():
        layers = model(torch.tensor([tokens]), output_attentions=True).attentions
    means: list[Any] = [layer[0].mean(dim=0) for layer in layers]
    return [
        [[round(float(one), 5) for one in row[: number + 1]] for number, row in enumerate(mean)]
        for mean in means
    ]


def reference() -> dict[str, Any]:
    """All that the file holds."""
    found = [{"tokens": list(one), "layers": attention(one)} for one in asyncio.run(contexts())]
    return {"made by": COMMAND, "model": BUNDLED.name, "contexts": found}


if __name__ == "__main__":
    FILE.write_text(json.dumps(reference()) + "\n", "utf-8")
