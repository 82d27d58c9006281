"""The same idea as a lazy pipeline: every stage runs over all leaves in one batch."""

from __future__ import annotations

import sys

import llterm


def main(name: str = "fable", *, tokens: int = 24) -> list[llterm.Node]:
    with llterm.open(name) as model:
        start = model.loom("Once upon a time").root.write(" there was a fox who")
        start.grow(8, temperature=0.9, tokens=tokens, seed=1)
        ends = (
            start.leaves()
            .where(lambda node: node.p_per_token > 0.1)
            .write(" But then,")
            .grow(2, tokens=tokens, sentence=True, seed=2)
            .best(5)
        )
        nodes: list[llterm.Node] = list(ends)
        for node in nodes:
            print(f"{node.p:.2e} {node.crown()!r}")
        return nodes


if __name__ == "__main__":
    main(*sys.argv[1:2])
