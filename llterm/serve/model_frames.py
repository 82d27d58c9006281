"""What crosses the pipe between the server and a model's process: frames of typed parts.

A frame is its size in four bytes and that many bytes of MessagePack: a list of parts. Nothing is
unpickled and no type but these is made of it: a file that owns the model's process does not own the
server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
import numpy as np
from msgspec import Struct

from llterm.config.schema import FormatConfig
from llterm.core.attention_weights import Attention
from llterm.core.chat_messages import ChatParts
from llterm.core.conversation import ChatTraits
from llterm.core.distribution import Distribution, Mask
from llterm.core.embeddings import Embeddings
from llterm.core.query import Capabilities, Cost, LogitRows, ScoreColumns
from llterm.core.tokens import Tail
from llterm.engine.generation import Busy, GeneratedToken, GenerationEnd, GenerationRequest
from llterm.errors import (
    BackendUnavailable,
    CapabilityMissing,
    ConditionFailed,
    ConfigError,
    Interrupted,
    LltermError,
    ModelError,
    UsageError,
)

MOST_FRAME = 256 << 20
"""Bytes of a frame; a longer one is no frame of ours."""
ANCHORS = 256
"""Anchors that both ends know by number."""
_SIZE = 4
Parts = TypeVar("Parts")
_ERRORS: Mapping[str, type[LltermError]] = {
    kind.__name__: kind
    for kind in (
        BackendUnavailable, Busy, CapabilityMissing, ConditionFailed, ConfigError, Interrupted,
        LltermError, ModelError, UsageError,
    )
}  # fmt: skip


ModelState = Literal["ok", "loading", "failed"]
"""Whether a model can be asked: now, when it is loaded again, or not any more."""


class Part(Struct, frozen=True, tag=True, array_like=True):
    """Of a frame."""


class NumberedPart(Part, frozen=True):
    """Of one question, or of its answer."""

    number: int


# --- from the server


class DraftFile(Part, frozen=True):
    """A model that writes ahead for another one. Settings are `ModelConfig`'s."""

    name: str
    path: Path
    settings: Mapping[str, int | str | tuple[float, ...] | None]


class OpenModel(Part, frozen=True):
    """The first: what the process is to open. Settings are `ModelConfig`'s."""

    name: str
    path: Path
    settings: Mapping[str, int | str | tuple[float, ...] | None]
    template_file: Path | None
    formats: Mapping[str, FormatConfig]
    parallel: int
    slot_context: int | None
    cache_size: int | None
    """Cells of all slots, in place of the memory that they may take."""
    cache_memory: int | None
    queue: int
    cores: int
    """That its decodes may take of those that the server shares out."""
    draft: DraftFile | None = None
    """What `settings` name as what writes ahead, where that is a file."""


class Generate(NumberedPart, frozen=True):
    request: GenerationRequest


class WireQuery(Part, frozen=True):
    """A `Query`, its anchor by number."""

    anchor: int
    tail: Tail
    keep: int
    mask: Mask | None
    full: bool
    need: int
    ahead: int


class Ask(NumberedPart, frozen=True):
    anchors: Mapping[int, Tail]
    """By numbers that mean the same anchors as long as the process lives."""
    queries: tuple[WireQuery, ...]
    beside: bool


class Score(NumberedPart, frozen=True):
    tokens: Tail
    start: int
    keep: int
    aside: bool


class GiveRows(NumberedPart, frozen=True):
    tokens: Tail
    start: int
    aside: bool


class ShowAttention(NumberedPart, frozen=True):
    tokens: Tail
    rows: int
    columns: int


class Embed(NumberedPart, frozen=True):
    texts: tuple[bytes | Tail, ...]


class Tokenize(NumberedPart, frozen=True):
    data: bytes


class WriteChat(NumberedPart, frozen=True):
    conversation: str
    """JSON of a `Conversation`: a client's numbers may have more than 64 bits."""


class Cancel(NumberedPart, frozen=True):
    """Nobody wants the rest of it."""


class Taken(NumberedPart, frozen=True):
    """So many parts of an answer were read: as many may follow."""

    count: int


# --- from the model's process


class Progress(Part, frozen=True):
    """The share of the file that is read."""

    share: float


class ModelOpened(Part, frozen=True):
    """The model can be asked."""

    capabilities: Capabilities
    tokens: tuple[tuple[bytes, bool, bool], ...]
    """Bytes, whether special, whether an end; by id."""
    prefix: Tail
    fingerprint: str
    room: int
    chats: ChatTraits


class OpenFailed(Part, frozen=True):
    """It cannot be asked, and the process ends."""

    kind: str
    title: str
    cause: str
    hint: str


class Counts(Part, frozen=True):
    """How it is doing, with every frame of answers."""

    running: int
    waiting: int
    spent: Cost


class Logged(Part, frozen=True):
    """What llterm's own code there logs, which is nobody's text."""

    level: int
    message: str


class TokenPart(NumberedPart, frozen=True):
    token: GeneratedToken


class GenerationEndPart(NumberedPart, frozen=True):
    end: GenerationEnd


class FactPart(NumberedPart, frozen=True):
    query: int
    """Its place in what was asked."""
    distribution: Distribution
    cost: Cost


class FailedPart(NumberedPart, frozen=True):
    query: int
    kind: str
    title: str
    cause: str
    hint: str


class ScorePart(NumberedPart, frozen=True):
    columns: ScoreColumns


class RowsPart(NumberedPart, frozen=True):
    rows: LogitRows


class AttentionPart(NumberedPart, frozen=True):
    attention: Attention


class EmbeddingsPart(NumberedPart, frozen=True):
    embeddings: Embeddings


class TokensPart(NumberedPart, frozen=True):
    ids: Tail


class ChatPartsPart(NumberedPart, frozen=True):
    parts: ChatParts


class Finished(NumberedPart, frozen=True):
    """Nothing more of this answer comes."""


class Refused(NumberedPart, frozen=True):
    """An answer ends with an error."""

    kind: str
    title: str
    cause: str
    hint: str


EvaluationQuestion = Ask | Score | GiveRows | ShowAttention | Embed | Tokenize | WriteChat
Question = Generate | EvaluationQuestion
ToModel = OpenModel | Question | Cancel | Taken
AnswerPart = (
    TokenPart | GenerationEndPart | FactPart | FailedPart | ScorePart | RowsPart | AttentionPart
    | EmbeddingsPart | TokensPart | ChatPartsPart | Finished | Refused
)  # fmt: skip
FromModel = Progress | ModelOpened | OpenFailed | Counts | Logged | AnswerPart


def utf8(text: str) -> str:
    """The text without what UTF-8 cannot say: the name of a file may hold such."""
    return text.encode("utf-8", "replace").decode()


def error_words(error: LltermError) -> tuple[str, str, str, str]:
    """Kind, title, cause and hint: the nearest kind that is known."""
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
    return kind, utf8(error.title), utf8(error.cause), utf8(error.hint)


def told_error(part: OpenFailed | FailedPart | Refused) -> LltermError:
    """The error again."""
    return _ERRORS.get(part.kind, LltermError)(part.title, part.cause, part.hint)


def _plain(value: object) -> object:
    match value:
        case np.ndarray():
            return value.shape, np.ascontiguousarray(value).tobytes()
        case np.generic():
            return value.item()
        case Path():
            return os.fsencode(value)
    raise NotImplementedError(type(value).__name__)


def _built(kind: Any, value: Any) -> object:
    if kind is Path:
        return Path(os.fsdecode(value))
    if get_origin(kind) is np.ndarray:
        (dtype,) = get_args(get_args(kind)[1])
        shape, data = value
        return np.frombuffer(data, dtype).reshape(tuple(map(int, shape)))
    raise NotImplementedError(str(kind))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
_TO_MODEL = msgspec.msgpack.Decoder(list[ToModel], dec_hook=_built)
_FROM_MODEL = msgspec.msgpack.Decoder(list[FromModel], dec_hook=_built)


class BrokenFrame(Exception):
    """What came is none of ours."""


def frame(parts: Sequence[ToModel] | Sequence[FromModel]) -> bytes:
    """The parts as bytes. Raises BrokenFrame where they are too many, OverflowError for an integer
    of more than 64 bits."""
    data = _ENCODER.encode(parts)
    if len(data) > MOST_FRAME:
        raise BrokenFrame(f"{len(data):,} bytes")
    return len(data).to_bytes(_SIZE, "big") + data


def read_questions(data: bytes) -> list[ToModel]:
    """A frame's parts. Raises BrokenFrame."""
    return _decoded(_TO_MODEL, data)


def read_answers(data: bytes) -> list[FromModel]:
    """A frame's parts. Raises BrokenFrame."""
    return _decoded(_FROM_MODEL, data)


def _decoded(decoder: msgspec.msgpack.Decoder[list[Parts]], data: bytes) -> list[Parts]:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise BrokenFrame(type(error).__name__) from error


async def next_frame(reader: asyncio.StreamReader) -> bytes | None:
    """A frame without its size; None at the end. Raises BrokenFrame."""
    try:
        size = int.from_bytes(await reader.readexactly(_SIZE), "big")
        if size > MOST_FRAME:
            raise BrokenFrame(f"{size:,} bytes")
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
