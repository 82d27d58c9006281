"""Is a quantised model still the same? The figures of llama.cpp's perplexity tool, over a text."""

from __future__ import annotations

import sys

import llterm

TEXT = (
    "A fox once saw a crow fly off with a piece of cheese in its beak and settle on a branch of a"
    " tree. That is for me, as I am a fox, said Master Reynard, and he walked up to the foot of the"
    " tree. Good day, Mistress Crow, he cried. How well you are looking today: how glossy your"
    " feathers; how bright your eye."
)


def main(original: str = "fable", quantised: str = "fable-q8_0") -> llterm.ModelComparison:
    with llterm.open(original) as reference, llterm.open(quantised) as candidate:
        (figures,) = reference.compare(candidate, TEXT)
    print(f"{figures.name} against {original}")
    print(f"  divergence {figures['kld']:.6f} ± {figures.errors['kld']:.6f} nats")
    print(f"  perplexity {figures['ppl']:.3f}, {figures['ppl-ratio']:.4f} times the original's")
    return figures


if __name__ == "__main__":
    main(*sys.argv[1:3])
