"""Compare exported GGUF files, run by llama.cpp, with the torch model; print a JSON report.

Three things are checked: that llama.cpp gives the probabilities that torch gives, that it splits
text into the same tokens as the tokenizer the model was trained with, and how many bits per byte
the files need on a held-out text that the model was not trained on. The exit status is 1 if the f32
file with an f32 cache is off by more than 1e-3 anywhere, or if one string is split differently.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import read_stories, typographic
from model import ModelConfig, StoryModel
from pack import pack
from runner import GgufModel, log_softmax
from tokenizers import Tokenizer

TOLERANCE = 1e-3
SPECIAL_TEXTS = (
    "It’s a café, “naïve” — isn't it… we'LL see 'em: 12 345,6.",
    "tabs\t\tand\r\nCRLF \r\n\r\n  three   spaces\n\n\nthree lines \u00a0\u2003wide ",
    "昔々、ある所に「猫」がいました。 옛날에 Жук",
    "🦊🐰 fox & rabbit 👩\u200d👩\u200d👧 🇫🇷!",
)
WORDS = "the| king|Rabbit|don't|I'LL|it's|'tis|DON'T|x_1|3.14|1919|we’ll|O’Neill"
SPACES = " |  |   |\t|\n|\n\n|\r\n|\r| \n|\n |\u00a0|\u3000|\u2009|\u200b|\ufeff"
MARKS = "“|”|‘|’|—|…|--|...|\"|'|''|!|?!|;|</s>|[INST]|{|}|\\n|@#$|\x00|\x7f"
FOREIGN = "猫|昔々|ある|고양이|Жук|א|é|e\u0301|İ|ß|ﬁ|½|٣|²"
EMOJI = "🦊|👩\u200d👧|🇫🇷|❤\ufe0f"
PIECES = "|".join((WORDS, SPACES, MARKS, FOREIGN, EMOJI)).split("|")


def random_strings(count: int, seed: int) -> list[str]:
    """Return seeded strings of awkward pieces and of random characters."""
    chooser = random.Random(seed)
    strings = []
    for _ in range(count):
        parts = chooser.choices(PIECES, k=chooser.randint(1, 24))
        for _ in range(chooser.randint(0, 6)):
            limit = chooser.choice((0x7F, 0x2FF, 0xD7FF, 0x1FAFF))
            point = chooser.randint(1, limit)
            if not 0xD800 <= point <= 0xDFFF:
                parts.insert(chooser.randint(0, len(parts)), chr(point))
        strings.append("".join(parts))
    return strings


def compare(model: GgufModel, reference: list[tuple[list[int], np.ndarray]]) -> dict[str, Any]:
    """Return how far llama.cpp's probabilities are from torch's at every position."""
    worst, same, positions = 0.0, 0, 0
    for tokens, expected in reference:
        model.clear()
        got = log_softmax(model.read(tokens))
        worst = max(worst, float(np.abs(np.exp(got) - np.exp(expected)).max()))
        same += int((got.argmax(-1) == expected.argmax(-1)).sum())
        positions += len(tokens)
    return {"largest_difference": worst, "same_first_token": same, "positions": positions}


def bits_per_byte(
    model: GgufModel, stream: np.ndarray, byte_count: int, context: int
) -> dict[str, Any]:
    """Return the held-out loss over windows of `context` tokens, whole and by position."""
    losses: list[np.ndarray] = []
    for start in range(0, len(stream) - 1, context):
        window = stream[start : start + context + 1].astype(np.int64)
        model.clear()
        scores = log_softmax(model.read(window[:-1].tolist()))
        losses.append(-scores[np.arange(len(window) - 1), window[1:]])
    every = np.concatenate(losses)
    full = np.stack([loss for loss in losses if len(loss) == context])
    edges = [0, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096]
    pairs = [(low, high) for low, high in itertools.pairwise(edges) if high <= context]
    return {
        "context": context,
        "nats_per_token": round(float(every.mean()), 4),
        "bits_per_byte": round(float(every.sum()) / math.log(2) / byte_count, 4),
        "nats_by_position": {f"{a}-{b}": round(float(full[:, a:b].mean()), 3) for a, b in pairs},
    }


def torch_reference(
    checkpoint_file: Path, weights: str, texts: list[str], tokenizer: Tokenizer
) -> list[tuple[list[int], np.ndarray]]:
    """Return each text's tokens and the torch model's log probabilities (f32, no autocast)."""
    checkpoint = torch.load(checkpoint_file, map_location="cpu", weights_only=True)
    model = StoryModel(ModelConfig(**checkpoint["config"])).eval()
    model.load_state_dict(checkpoint[checkpoint["best"] if weights == "best" else weights])
    reference = []
    for text in texts:
        tokens = [0, *tokenizer.encode(text, add_special_tokens=False).ids][:512]
        with torch.no_grad():
            logits = model(torch.tensor([tokens]))[0].numpy()
        reference.append((tokens, log_softmax(logits)))
    return reference


def tokenizer_report(
    model: GgufModel, tokenizer: Tokenizer, count: int, seed: int
) -> dict[str, Any]:
    """Return how many of the random strings are split alike, and come back byte for byte."""
    strings = random_strings(count, seed)
    different = []
    broken = 0
    for string in strings:
        got = model.tokenize(string)
        if got != tokenizer.encode(string, add_special_tokens=False).ids:
            different.append(string)
        broken += model.to_bytes(got) != string.encode("utf-8")
    return {
        "strings": count,
        "different": len(different),
        "examples": different[:5],
        "not_restored": broken,
    }


def main() -> None:
    """Read the command line, run the checks and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt from train.py")
    parser.add_argument("models", type=Path, help="folder with the files from export.py")
    parser.add_argument("heldout", type=Path, help="held-out text")
    parser.add_argument("--tokenizer", type=Path, required=True, help="file from tokenizer.py")
    parser.add_argument("--name", default="fable")
    parser.add_argument("--weights", choices=["best", "model", "ema"], default="best")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--score-types", nargs="*", default=["f16", "q8_0"])
    parser.add_argument("--strings", type=int, default=1000, help="random strings to tokenise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    stories = read_stories(args.heldout)
    texts = [*stories[:: max(1, len(stories) // 8)][:8], *SPECIAL_TEXTS]
    texts[1] = typographic(texts[1])
    reference = torch_reference(args.checkpoint, args.weights, texts, tokenizer)

    report: dict[str, Any] = {"probabilities": {}, "heldout": {}}
    files = {kind: args.models / f"{args.name}-{kind}.gguf" for kind in ("f32", "f16", "q8_0")}
    for kind, file in files.items():
        for cache in ("f32", "default"):
            with GgufModel(file, 512, args.threads, cache == "f32") as model:
                key = f"{kind} file, {cache} cache"
                report["probabilities"][key] = compare(model, reference)
    with GgufModel(files["q8_0"], 512, args.threads) as model:
        report["tokenizer"] = tokenizer_report(model, tokenizer, args.strings, args.seed)

    stream = pack(stories, tokenizer)
    byte_count = sum(len(story.encode("utf-8")) for story in stories)
    for kind in args.score_types:
        for context in args.contexts:
            with GgufModel(files[kind], context, args.threads) as model:
                score = bits_per_byte(model, stream, byte_count, context)
                report["heldout"][f"{kind}, windows of {context}"] = score
    report["files"] = {file.name: file.stat().st_size for file in files.values()}
    print(json.dumps(report, indent=2))

    exact = report["probabilities"]["f32 file, f32 cache"]["largest_difference"] <= TOLERANCE
    if not exact or report["tokenizer"]["different"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
