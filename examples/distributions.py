"""Distributions: what may stand next, what the sampler makes of it, and how sure the model is."""

from __future__ import annotations

import sys

import llterm


def main(name: str = "fable") -> llterm.NextTokens:
    with llterm.open(name) as model:
        start = model.loom("The fox and the").root
        places = start.next(top=8, temperature=0.8, min_p=0.05)
        print(f"{places.entropy:.2f} bits; the sampler keeps {places.kept}")
        for token in places:
            fate = f"{token.p_final:6.1%}" if token.kept else f"dropped by {token.dropped_by}"
            print(f"  {token.p_base:6.1%}  {fate:22} {token.text!r}")
        for child in start.write([places[0].text, places[1].text]):
            print(f"after {child.text!r}: {child.next(top=1)[0].text!r}")
        return places


if __name__ == "__main__":
    main(*sys.argv[1:2])
