"""N8Loom's own example (its README, examples/reflection.py), line for line in llterm's names.

Eight ways to solve a problem; those that came to an end are told to look again, twice each.
"""

from __future__ import annotations

import sys

import llterm

PROMPT = (
    "Tobias is buying a new pair of shoes that costs $95. He has been saving up his money each "
    "month for the past three months. He gets a $5 allowance a month. He also mows lawns and "
    "shovels driveways. He charges $15 to mow a lawn and $7 to shovel. After buying the shoes, he "
    "has $15 in change. If he mows 4 lawns, how many driveways did he shovel?"
)
AGAIN = (
    "\n...Wait. I need to look at the problem again. Let's think about what I could've gotten "
    "wrong. I could've"
)


def main(name: str = "fable", *, tokens: int = 512) -> list[str]:
    # Load the model
    with llterm.open(name) as model:
        # Create a loom: its root is the problem in the model's chat template
        root = model.loom(PROMPT, chat=True).root

        # Add a text to guide the model's reasoning
        start = root.write("I will solve this problem step by step and be mindful of mistakes.")

        # Eight branches, in one batch
        start.ramify(n=8, temperature=0.6, tokens=tokens, min_p=0.05, seed=1)

        # Further reasoning at all leaves, with reflection
        answers: list[str] = start.apply_at_leaves(
            lambda x: x.ramify(AGAIN) if x.terminal else None,
            lambda x: x.ramify(n=2, temperature=0.6, tokens=tokens, min_p=0.05, seed=2),
            lambda x: x.crown(),
        )

        for number, answer in enumerate(answers, 1):
            print(f"Answer {number}:\n{answer}\n")
        return answers


if __name__ == "__main__":
    main(*sys.argv[1:2])
