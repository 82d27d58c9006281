"""Let a GGUF file go on with a few story beginnings, and print the results as they are.

The next token is drawn from the model's own distribution at the given temperature, with no other
sampler; prompt number n (from 0) uses seed + n. A story that ends is cut there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from runner import GgufModel, log_softmax

PROMPTS = (
    "Once upon a time there was a little",
    "Peter Rabbit sat in the dear Old Briar-patch and",
    '"Where are you going?" asked the',
    "In the middle of the forest stood a house, and in the house",
    "\u201cI am not afraid,\u201d said the mouse,",
    "The king had three daughters.",
)


def continuation(model: GgufModel, prompt: str, count: int, temperature: float, seed: int) -> bytes:
    """Return up to `count` sampled tokens after `prompt`, as bytes."""
    chooser = np.random.default_rng(seed)
    model.clear()
    logits = model.read([0, *model.tokenize(prompt)])[-1]
    tokens: list[int] = []
    while len(tokens) < count:
        probabilities = np.exp(log_softmax(logits / temperature))
        token = int(chooser.choice(len(probabilities), p=probabilities / probabilities.sum()))
        if token == 0:
            break
        tokens.append(token)
        logits = model.read([token])[-1]
    return model.to_bytes(tokens)


def main() -> None:
    """Read the command line and print the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="GGUF file")
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    with GgufModel(args.model, 1024, args.threads) as model:
        for number, prompt in enumerate(args.prompts):
            seed = args.seed + number
            text = continuation(model, prompt, args.tokens, args.temperature, seed)
            print(f"[seed {seed}] {prompt}|{text.decode('utf-8', 'replace')}\n")


if __name__ == "__main__":
    main()
