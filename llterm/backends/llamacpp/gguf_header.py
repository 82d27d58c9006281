"""Reads a GGUF file's header: what it is, and whether it is whole. Loads no weights."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from llterm.core.display_text import visible
from llterm.errors import ModelError, reason
from llterm.regular_file import open_file, present

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
            10: "<Q", 11: "<q", 12: "<d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MOST = 1 << 26
"""No count in a sound header is larger; a damaged one may claim anything."""
FILE_TYPES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1",
               10: "q2_K", 11: "q3_K_S", 12: "q3_K_M", 13: "q3_K_L", 14: "q4_K_S", 15: "q4_K_M",
               16: "q5_K_S", 17: "q5_K_M", 18: "q6_K", 32: "bf16"}  # fmt: skip
_SEEN = 1 << 20
"""Bytes of a file, at its beginning and at its end, by which it is known again."""
_PER_LAYER = ".attention.head_count_kv"
"""One number, or one a layer."""
_TOKENS = "tokenizer.ggml.tokens"
UNKNOWN = "unknown"
_NOT_TEXT = {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert",
             "neo-bert", "gemma-embedding", "t5encoder", "clip", "mmproj", "wavtokenizer-dec",
             "eurobert", "llama-embed"}  # fmt: skip
_NO_ENCODERS = {"clip", "mmproj", "wavtokenizer-dec"}
"""Those of them that are for pictures or sounds."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a GGUF file says about its model. Sizes in bytes.

    A brief look leaves `parameters` and `vocabulary` at 0 and `template` and `licence` empty.
    """

    path: Path
    name: str
    architecture: str
    parameters: int
    size: int
    quantisation: str
    context: int
    vocabulary: int
    layers: int
    embedding: int
    heads: int
    """Attention heads of a layer; 0 where there are none."""
    text: bool
    """Whether it predicts text at all."""
    encoder: bool
    """Whether it does not, and tells what texts are to it."""
    cell: int
    """Bytes that one token takes in an f16 cache, where every layer attends to everything."""
    template: str
    """Its chat template, in Jinja."""
    licence: str


def inspect_gguf(path: Path, *, brief: bool = False) -> ModelInfo:
    """Read the header. Raises ModelError where the file is missing, cut off, or no GGUF.

    A brief look ends before the vocabulary, which is most of a header: for lists of many files.
    """
    size = _size(path)
    try:
        with open_file(path) as file:
            return _Header(file, path, size, brief=brief).info
    except (struct.error, EOFError, UnicodeDecodeError, OverflowError, MemoryError) as broken:
        raise _cut(path) from broken
    except OSError as error:
        raise ModelError(
            f"{path.name} could not be read", f"{reason(error)}.", "Name a .gguf file."
        ) from error


def check_gguf(path: Path) -> ModelInfo:
    """The header of a file that is whole and predicts text. Raises ModelError otherwise."""
    info = inspect_gguf(path)
    if not info.text:
        raise ModelError(
            f"{path.name} does not predict text",
            f"Its architecture is {info.architecture}: it has no next-token probabilities.",
            "Choose a model for text generation.",
        )
    return info


def check_vocabulary(path: Path) -> None:
    """Raise ModelError where llama.cpp would end the program, or read beyond an array.

    Looks at every token, which must differ: 0.1 s for 262,144 of them.
    """
    with open_file(path) as file:
        header = _Header(file, path, _size(path), brief=False)
    size = len(header.tokens)
    for key, what in (("scores", "scores"), ("token_type", "types")):
        listed = header.values.get(f"tokenizer.ggml.{key}", size)
        if listed != size:
            raise _unsound(path, f"It has {size:,} tokens and {listed} {what} of them.")
    if len(set(header.tokens)) < size:
        counts = Counter(one for one in header.tokens if one)
        equal, count = max(counts.items(), key=lambda one: one[1], default=(b"", 1))
        if count > 1:
            first = header.tokens.index(equal)
            second = header.tokens.index(equal, first + 1)
            name = visible(equal)[:40]
            raise _unsound(path, f"Tokens {first:,} and {second:,} are both {name}.")


def _unsound(path: Path, cause: str) -> ModelError:
    return ModelError(
        f"{path.name} has a broken vocabulary",
        cause,
        "llama.cpp would end the program: look for a newer conversion of this model.",
    )


def _size(path: Path) -> int:
    if not present(path):
        hint = "Check the path; `llterm models list` shows the models that are known."
        raise ModelError(f"There is no file {path}", "", hint)
    if path.is_dir():
        raise ModelError(f"{path} is a folder", "", "Name the .gguf file in it.")
    return path.stat().st_size


def _cut(path: Path) -> ModelError:
    return ModelError(
        f"{path.name} is damaged or cut off",
        "The file ends before what its header promises.",
        "Download it again, and compare its size.",
    )


class _Header:
    """One pass over a header."""

    def __init__(self, file: BinaryIO, path: Path, size: int, *, brief: bool) -> None:
        self._file = file
        self._path = path
        self._size = size
        magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(
                f"{path.name} is not a GGUF file",
                "It does not begin with the letters GGUF.",
                "llterm reads models in llama.cpp's format; look for a .gguf of this model.",
            )
        version = self._number("<I")
        if version not in (2, 3):
            raise ModelError(
                f"{path.name} has an unknown GGUF version",
                f"It says version {version}; llterm knows 2 and 3.",
                "Convert the model again with a present llama.cpp.",
            )
        self.tokens: list[bytes] = []
        """The vocabulary as it is written; empty after a brief look."""
        tensors, pairs = self._count("<Q"), self._count("<Q")
        self.values: dict[str, object] = {}
        for _ in range(pairs):
            key = self._string()
            if brief and key.startswith("tokenizer."):
                tensors = 0
                break
            kind = self._count("<I")
            if kind == _ARRAY and key.endswith(_PER_LAYER):
                self.values[key] = self._numbers()
            elif kind == _ARRAY:
                self.values[key] = self._array(key)
            else:
                self.values[key] = self._value(kind)
        self._parameters = 0
        end = 0
        for _ in range(tensors):
            self._string()
            elements = 1
            for _ in range(self._count("<I")):
                elements *= self._count("<Q")
            self._number("<I")
            end = max(end, self._count("<Q", most=1 << 50))
            self._parameters += elements
        if tensors and file.tell() + end >= size:
            raise _cut(path)

    @cached_property
    def info(self) -> ModelInfo:
        values = self.values
        architecture = str(values.get("general.architecture", ""))
        tokens = values.get(_TOKENS, 0)

        def number(key: str) -> int:
            found = values.get(f"{architecture}.{key}", 0)
            return found if isinstance(found, int) else 0

        kind = values.get("general.file_type", -1)
        return ModelInfo(
            path=self._path,
            name=str(values.get("general.name") or self._path.stem),
            architecture=architecture or UNKNOWN,
            parameters=self._parameters,
            size=self._size,
            quantisation=FILE_TYPES.get(kind if isinstance(kind, int) else -1, UNKNOWN),
            context=number("context_length"),
            vocabulary=tokens if isinstance(tokens, int) else 0,
            layers=number("block_count"),
            embedding=number("embedding_length"),
            heads=number("attention.head_count"),
            text=bool(architecture) and architecture not in _NOT_TEXT,
            encoder=architecture in _NOT_TEXT - _NO_ENCODERS,
            cell=self._cell(number, values.get(f"{architecture}{_PER_LAYER}", 0)),
            template=str(values.get("tokenizer.chat_template", "")),
            licence=str(values.get("general.license", "")),
        )

    def _cell(self, number: Callable[[str], int], key_heads: object) -> int:
        """Two bytes for each number of a token's keys and values, in all layers."""
        if latent := number("attention.kv_lora_rank"):
            # Keys and values are kept as one short row for all heads.
            return 2 * number("block_count") * (latent + number("rope.dimension_count"))
        heads = number("attention.head_count")
        width = number("embedding_length") // max(heads, 1)
        sides = (number("attention.key_length") or width) + (
            number("attention.value_length") or width
        )
        if isinstance(key_heads, list):
            return 2 * sum(key_heads) * sides
        each = key_heads if isinstance(key_heads, int) and key_heads else heads
        return 2 * number("block_count") * each * sides

    def _number(self, form: str) -> int:
        data = self._file.read(struct.calcsize(form))
        return int(struct.unpack(form, data)[0])

    def _count(self, form: str, most: int = _MOST * 1024) -> int:
        count = self._number(form)
        if not 0 <= count <= most:
            raise EOFError
        return count

    def _string(self) -> str:
        size = self._count("<Q")
        if size > self._size:
            raise EOFError
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data.decode("utf-8", "replace")

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string()
        form = _SCALARS.get(kind)
        if form is None:
            raise EOFError
        return struct.unpack(form, self._file.read(struct.calcsize(form)))[0]

    def _numbers(self) -> list[int]:
        """An array of whole numbers."""
        kind, count = self._count("<I"), self._count("<Q", most=1 << 16)
        return [self._number(_SCALARS[kind]) for _ in range(count)]

    def _array(self, key: str) -> int:
        """Only the length is of use here, and a vocabulary's tokens; the rest is passed over."""
        kind, count = self._count("<I"), self._count("<Q")
        if kind in _SCALARS:
            self._file.seek(struct.calcsize(_SCALARS[kind]) * count, 1)
        elif kind != _STRING or count > self._size:
            raise EOFError
        else:
            self._strings(count, self.tokens if key == _TOKENS else None)
        return count

    def _strings(self, count: int, strings: list[bytes] | None) -> None:
        """Hundreds of thousands of them: read through a map, a fifth of the time."""
        length = struct.Struct("<Q").unpack_from
        with mmap(self._file.fileno(), 0, access=ACCESS_READ) as data:
            at = self._file.tell()
            for _ in range(count):
                (size,) = length(data, at)
                at += 8 + size
                if strings is not None:
                    strings.append(data[at - size : at])
            if at > self._size:
                raise EOFError
        self._file.seek(at)


def weights_digest(path: Path) -> str:
    """Equal for equal files; of a large one not all is read."""
    with open_file(path) as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(size - _SEEN, 0)):
            file.seek(start)
            digest.update(file.read(_SEEN))
    return digest.hexdigest()
