"""Train the byte-level BPE tokenizer on a text file or a folder of text files.

The pre-tokeniser is GPT-2's, without a prefix space; all 256 bytes are in the vocabulary, so any
text can be written with it. Token 0 is ``<|endofstory|>``. A share of the stories is read with
curly quotes and dashes, so that these get tokens of their own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from corpus import SEPARATOR, read_stories, with_variants
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def train_tokenizer(stories: list[str], vocab_size: int) -> Tokenizer:
    """Return a BPE tokenizer with `vocab_size` entries trained on `stories`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories, trainer=trainer)
    return tokenizer


def main() -> None:
    """Read the command line, train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="text file (.txt or .txt.xz) or folder of them")
    parser.add_argument("out", type=Path, help="tokenizer file to write (JSON)")
    parser.add_argument("--vocab", type=int, default=4096, help="vocabulary size")
    parser.add_argument("--share", type=float, default=0.12, help="share of curly-quote stories")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice of those stories")
    args = parser.parse_args()

    stories = with_variants(read_stories(args.text), args.share, args.seed)
    tokenizer = train_tokenizer(stories, args.vocab)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out))
    print(f"{len(stories)} stories, vocabulary {tokenizer.get_vocab_size()}: {args.out}")


if __name__ == "__main__":
    main()
