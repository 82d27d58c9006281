"""Texts that tokenizers stumble over, and what llama.cpp itself makes of them."""

from __future__ import annotations

from pathlib import Path
from random import Random

from llterm.backends.llamacpp.binding import library
from llterm.core.tokens import Tail, Vocabulary, text_bytes
from tests.helpers.known_tokens import tokens_of

NASTY = (
    "a", "the", " the", " cat", "cat.", "  ", "\n", "\r\n", "\t", "\u2581", "\u2581the",
    "\u2581\u2581", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "\x1b[2J", "\x85", "\u2028",
    "e\u0301", "\u0130", "ﬁ", "½", "日本語", "猫は", "👩\u200d🚀", "🏳️\u200d🌈", "\U0010ffff",
    "\ue000", "مرحبا", "\u202e", "<|end|>", "</s>", "<s>", "<unk>", "<0x41>", "Ġt", "Ċ", "'s",
    "1234", "....", "=" * 40, "A", "ß",
)  # fmt: skip


def nasty(count: int) -> list[str]:
    """Texts made of what tokenizers stumble over; the same ones each time."""
    random = Random(13)
    return ["".join(random.choices(NASTY, k=random.randint(1, 9))) for _ in range(count)]


def tokens_of_llama_cpp(path: Path, texts: list[str]) -> list[Tail]:
    """What llama.cpp makes of texts, asked without any of our care."""
    llama = library()
    settings = llama.llama_model_default_params()
    settings.vocab_only = True
    model = llama.llama_model_load_from_file(str(path).encode(), settings)
    vocabulary = llama.llama_model_get_vocab(model)
    found = []
    for data in map(str.encode, texts):
        room = (llama.llama_token * (len(data) + 8))()
        count = llama.llama_tokenize(vocabulary, data, len(data), room, len(room), False, False)
        found.append(tuple(room[:count]))
    llama.llama_model_free(model)
    return found


def check_against_llama_cpp(vocabulary: Vocabulary, path: Path, count: int) -> int:
    """The same ids wherever llama.cpp keeps the text; how many texts that were."""
    texts, compared = nasty(count), 0
    for text, theirs in zip(texts, tokens_of_llama_cpp(path, texts), strict=True):
        assert text_bytes(vocabulary, tokens_of(vocabulary, text.encode())) == text.encode()
        # A blank that the tokenizer puts before a text is part of the text here.
        for data in (text.encode(), b" " + text.encode()):
            if text_bytes(vocabulary, theirs) == data:
                assert tokens_of(vocabulary, data) == theirs, data
                compared += 1
    return compared


def check_altered_alone(vocabulary: Vocabulary, around: bytes) -> None:
    """What the tokenizer would alter is spelled; what stands around it stays as it is."""
    usual = tokens_of(vocabulary, around)
    for altered in ("\u2581", "\u2581\u2581", "\xff"):
        mixed = tokens_of(vocabulary, around + altered.encode() + around)
        assert mixed[: len(usual)] == usual == mixed[-len(usual) :]
