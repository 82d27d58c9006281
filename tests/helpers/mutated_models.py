"""GGUF files as strangers may write them: the tiny model with one thing changed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.helpers.tiny_models import tiny_llama

Fields = dict[str, list[Any]]
"""Type, type of an array's elements, and value by key."""
Change = Callable[[Fields], object]
_TOKENIZER = "tokenizer.ggml."
_NUMBERS = (0, 1, 3, 7, 65, 600, 4096, 99_999, 2**31 - 1, 2**31, 2**32 - 1)


def changed(path: Path, change: Change) -> Path:
    """The tiny model with a change of its metadata."""
    import gguf

    sound = path.with_suffix(".sound")
    reader = gguf.GGUFReader(str(sound if sound.exists() else tiny_llama(sound)))
    fields: Fields = {
        name: [one.types[0], one.types[-1] if len(one.types) > 1 else None, one.contents()]
        for name, one in reader.fields.items()
        if not name.startswith("GGUF.")
    }
    architecture = fields.pop("general.architecture")[2]
    change(fields)
    writer = gguf.GGUFWriter(str(path), architecture)
    for name, (kind, inner, value) in fields.items():
        writer.add_key_value(name, value, kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    sound.unlink()
    return path


def value(key: str, new: object) -> Change:
    return lambda fields: fields[key].__setitem__(2, new)


def element(key: str, index: int, new: object) -> Change:
    def change(fields: Fields) -> None:
        fields[key][2] = [*fields[key][2][:index], new, *fields[key][2][index + 1 :]]

    return change


def shortened(key: str, size: int) -> Change:
    return lambda fields: fields[key].__setitem__(2, fields[key][2][:size])


def without(key: str) -> Change:
    return lambda fields: fields.pop(key)


def equal_tokens(fields: Fields) -> None:
    tokens = fields[f"{_TOKENIZER}tokens"][2]
    tokens[5] = tokens[98]


def added(key: str, new: int) -> Change:
    from gguf import GGUFValueType

    return lambda fields: fields.__setitem__(key, [GGUFValueType.UINT32, None, new])


def scores(size: int) -> Change:
    from gguf import GGUFValueType

    kinds = [GGUFValueType.ARRAY, GGUFValueType.FLOAT32]
    return lambda fields: fields.__setitem__(f"{_TOKENIZER}scores", [*kinds, [0.0] * size])


def as_text(key: str) -> Change:
    """The value's type is another than it should be."""
    from gguf import GGUFValueType

    return lambda fields: fields.__setitem__(key, [GGUFValueType.STRING, None, "x"])


def changes() -> Iterator[tuple[str, Change]]:
    """Each key with what it must not say, and each array cut, emptied of a word, or its like."""
    whole = ("context_length", "embedding_length", "block_count", "feed_forward_length",
             "attention.head_count", "attention.head_count_kv", "rope.dimension_count",
             "vocab_size")  # fmt: skip
    for number in _NUMBERS:
        yield from ((f"{key} {number}", value(f"llama.{key}", number)) for key in whole)
    for key in ("bos_token_id", "eos_token_id"):
        for number in (269, 99_999, 2**31, 2**32 - 1):
            yield f"{key} {number}", value(_TOKENIZER + key, number)
    for key in ("expert_count", "expert_used_count", "attention.key_length",
                "attention.sliding_window"):  # fmt: skip
        for number in (0, 8, 100_000):
            yield f"{key} {number}", added(f"llama.{key}", number)
    for key in ("tokens", "token_type", "merges"):
        for size in (1, 3):
            yield f"{key} cut to {size}", shortened(_TOKENIZER + key, size)
        yield f"no {key}", without(_TOKENIZER + key)
    for key in ("llama.context_length", f"{_TOKENIZER}tokens", f"{_TOKENIZER}bos_token_id"):
        yield f"{key} as text", as_text(key)
    yield "equal tokens", equal_tokens
    yield "an empty token", element(f"{_TOKENIZER}tokens", 7, "")
    yield "a type of no token", element(f"{_TOKENIZER}token_type", 9, 77)
    yield "a merge of one", element(f"{_TOKENIZER}merges", 0, "alone")
    yield "an empty merge", element(f"{_TOKENIZER}merges", 0, "")
    yield "an unknown tokenizer", value(f"{_TOKENIZER}model", "zzz")
    yield "an unknown splitter", value(f"{_TOKENIZER}pre", "zzz")
    yield "few scores", scores(1)
    yield "a negative epsilon", value("llama.attention.layer_norm_rms_epsilon", -1.0)
    yield "a frequency of nothing", value("llama.rope.freq_base", float("nan"))


def noisy(path: Path, seed: int) -> Path:
    """The tiny model with a few bytes of its header changed."""
    data = bytearray(tiny_llama(path).read_bytes())
    chance = random.Random(seed)
    header = data.index(b"blk.0.") + 600
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(8, header)] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
    path.write_bytes(data)
    return path


def gguf_header(**values: object) -> bytes:
    """The beginning of a GGUF file that says this architecture and nothing else."""
    pairs = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQ", 8, len(str(value)))
        + str(value).encode()
        for key, value in ((name.replace("__", "."), one) for name, one in values.items())
    )  # fmt: skip
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + pairs
