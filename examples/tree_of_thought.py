"""Tree of thought: grow, have the model judge every leaf by classifying it, go on from the best."""

from __future__ import annotations

import sys

import llterm


def main(name: str = "fable", *, rounds: int = 2, width: int = 3) -> str:
    with llterm.open(name) as model:
        loom = model.loom("The fox wanted to cross the river, but he could not swim.")

        def promise(node: llterm.Node) -> float:
            """How sure the model is that this is a good way on."""
            verdict = model.classify(
                node.path_text(),
                ["good", "bad"],
                template="{text}\nIs this plan good or bad? It is{label}",
            )
            return verdict.p["good"]

        best = loom.root
        for number in range(rounds):
            leaves = best.leaves().grow(width, tokens=20, sentence=True, seed=number)
            (best,) = leaves.best(1, key=promise)
            print(f"{promise(best):.2f} {best.text!r}")
        best.choose()
        return loom.story


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
