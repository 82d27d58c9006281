"""Attribution: which tokens led the model to the next one, by leaving each out."""

from __future__ import annotations

import sys

import llterm

TEXT = "The fox looked up at the grapes. They hung too high for the"


def main(name: str = "fable", candidate: str = " fox") -> llterm.TokenAttribution:
    with llterm.open(name) as model:
        end = len(model.tokenize(TEXT))
        answer = model.attribute(TEXT, at=end, candidate=candidate, method="leave-one-out")
    print(f"What makes {candidate!r} likely (logprob {answer.target.logprob:.2f}):")
    for token in answer.strongest(5):
        print(f"  {token.value:+.2f} {token.text!r}")
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:2])
