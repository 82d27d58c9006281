"""Turn the training text and the held-out text into streams of uint16 tokens.

A stream is 0, story, 0, story, ..., 0. A seeded share of the training stories is written with curly
quotes, em dashes and ellipsis characters; the held-out text is taken as it is. Beside each stream
goes a small JSON file of the same name with its counts; train.py needs the byte count from there to
state bits per byte.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from corpus import read_stories, with_variants
from tokenizers import Tokenizer


def pack(stories: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """Return the token stream of `stories` with token 0 before, between and after them."""
    stream = [0]
    for encoding in tokenizer.encode_batch(stories, add_special_tokens=False):
        stream += encoding.ids
        stream.append(0)
    return np.array(stream, dtype=np.uint16)


def write_stream(stories: list[str], tokenizer: Tokenizer, path: Path) -> None:
    """Write the stream of `stories` and its counts."""
    stream = pack(stories, tokenizer)
    counts = {
        "stories": len(stories),
        "bytes": sum(len(story.encode("utf-8")) for story in stories),
        "tokens": len(stream),
    }
    stream.tofile(path)
    path.with_suffix(".json").write_text(json.dumps(counts) + "\n", encoding="utf-8")
    print(f"{path}: {counts}")


def main() -> None:
    """Read the command line, pack and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="text file (.txt or .txt.xz) or folder of them")
    parser.add_argument("heldout", type=Path, help="held-out text, never trained on")
    parser.add_argument("out", type=Path, help="folder for train.bin and heldout.bin")
    parser.add_argument("--tokenizer", type=Path, required=True, help="file from tokenizer.py")
    parser.add_argument("--share", type=float, default=0.12, help="share of curly-quote stories")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice of those stories")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    args.out.mkdir(parents=True, exist_ok=True)
    stories = with_variants(read_stories(args.text), args.share, args.seed)
    write_stream(stories, tokenizer, args.out / "train.bin")
    write_stream(read_stories(args.heldout), tokenizer, args.out / "heldout.bin")


if __name__ == "__main__":
    main()
