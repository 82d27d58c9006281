"""Tokenizers whose tokens may be parts of characters, as servers join and cut them; and a vLLM with
one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from llterm.backends.remote.transport import Transport
from llterm.core.tokens import Tail, Token
from tests.helpers.fake_servers import VllmServer, file_spelling
from tests.helpers.random_model import RandomModel

BYTES = tuple(bytes([byte]) for byte in range(256))
CAT = " 🐈".encode()
PIECES = (
    b"\n\n", b" the", b"the\n", b"a\n", b" .", b" ,", b"'s", b" 's", b"n't", b" n't", b"...", CAT,
    CAT[:3], CAT[1:3], CAT[3:], "猫".encode(), "猫".encode()[:2], "猫".encode()[1:],
    "は猫".encode()[2:4], "は猫".encode()[:5], "\ufffd".encode(), b" said",
    b" \n", b"  ", "é".encode(), b" caf",
)  # fmt: skip
"""With line breaks, and parts of characters of each sort."""
MARKED = (b"a\x1fa\x1f", b"\x7f\x7f", b".\x7f")
"""With what could stand between tokens."""
END = b"<|endoftext|>"
UNTELLABLE = frozenset(byte for byte in BYTES if byte[0] in (0xC0, 0xC1) or byte[0] > 0xF4)
"""In no text, and so in none that tells them."""
_CLEANED = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
            (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))  # fmt: skip
Style = Literal["bytes", "fallback", "cleaning"]
"""How bytes become text: as in GPT-2's tokenizers; a run of single bytes as one, all of it lost or
none (SentencePiece's `<0xNN>`); or as GPT-2's, with the spaces before punctuation taken away."""


class ByteTokenizer:
    """One token a byte, and pieces; the longest that fit. It counts what it is asked."""

    def __init__(
        self, pieces: Sequence[bytes] = PIECES, style: Style = "bytes",
        singles: Sequence[bytes] = BYTES,
    ) -> None:  # fmt: skip
        if style == "fallback":
            # What a text can show has tokens of its own there; single bytes are for the rest.
            pieces = [bytes([byte]) for byte in range(0x20, 0x7F)] + [*filter(_is_text, pieces)]
        self.pieces = (*singles, *pieces)
        self.asked = 0
        self._style = style
        self._singles = len(singles)
        self._ids = {data: id for id, data in enumerate(self.pieces)}
        self._longest = max(map(len, self.pieces))

    async def cut(self, transport: Transport, text: str) -> Sequence[int]:
        self.asked += 1
        return self.ids(text.encode())

    async def joined(self, transport: Transport, ids: Sequence[int]) -> str:
        self.asked += 1
        return self.text(ids)

    def ids(self, data: bytes) -> Tail:
        ids: list[int] = []
        while data:
            sizes = range(self._longest, 0, -1)
            piece = next(data[:size] for size in sizes if data[:size] in self._ids)
            ids.append(self._ids[piece])
            data = data[len(piece) :]
        return tuple(ids)

    def text(self, ids: Sequence[int]) -> str:
        """Ids that are none are left out."""
        known = [id for id in ids if id < len(self.pieces)]
        if self._style == "fallback":
            return self._by_fallback(known)
        text = b"".join(self.pieces[id] for id in known).decode("utf-8", "replace")
        if self._style == "cleaning":
            for dirty, clean in _CLEANED:
                text = text.replace(dirty, clean)
        return text

    def _by_fallback(self, ids: Sequence[int]) -> str:
        text, run = "", b""
        for id in (*ids, None):
            if id is not None and id < self._singles:
                run += self.pieces[id]
                continue
            try:
                text += run.decode()
            except UnicodeDecodeError:
                text += "\ufffd" * len(run)
            run = b""
            text += self.pieces[id].decode() if id is not None else ""
        return text


def _is_text(piece: bytes) -> bool:
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False


class ByteModel(RandomModel):
    """A random model of bytes and pieces; of those bytes that stand in texts."""

    def __init__(self, seed: int, sharpness: float = 3.0) -> None:
        super().__init__(seed, sharpness)
        singles = [byte for byte in BYTES if byte not in UNTELLABLE]
        self.tokenizer = ByteTokenizer(singles=singles)
        self._tokens = [Token(id, data) for id, data in enumerate(self.tokenizer.pieces)]
        self._tokens.append(Token(len(self._tokens), END, special=True, end=True))
        self.tokenizer.pieces += (END,)
        self.size = len(self._tokens)
        self.prefix: Tail = ()

    def encode(self, data: bytes) -> Tail:
        return self.tokenizer.ids(data)


class ByteVllmServer(VllmServer):
    """vLLM with such a model. `/tokenize` spells as the vocabulary's file does; `/detokenize`
    leaves out ids that are none."""

    paths: ClassVar[Mapping[str, Any]] = {
        **VllmServer.paths,
        "/v1/models": {"data": [{"id": "bytes", "owned_by": "vllm", "max_model_len": 512}]},
    }

    def __init__(self, model: ByteModel, padded: float = 0.0) -> None:
        """`padded`: the share of each place that goes to an id that the tokenizer does not know, as
        where a model has more of them."""
        super().__init__()
        self.model = model
        self._padded = padded

    def count(self, path: str) -> int:
        """Requests to this path so far."""
        return sum(asked == path for asked, _ in self.requests)

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        tokenizer = self.model.tokenizer
        if path == "/tokenize" and "prompt" in body:
            ids = tokenizer.ids(body["prompt"].encode())
            spelled = [file_spelling(tokenizer.pieces[id]) for id in ids]
            return {"tokens": list(ids), "count": len(ids), "token_strs": spelled}
        if path == "/detokenize":
            return {"prompt": tokenizer.text(body["tokens"])}
        return super().answer(path, body)

    def decoded(self, id: int) -> str:
        return self.model.tokenizer.text([id])

    def line(self, tokens: Tail, count: int) -> list[tuple[int, dict[int, float]]]:
        steps = []
        for _ in range(count):
            row = self.model.logprobs(tokens) + math.log1p(-self._padded)
            before = dict(enumerate(row.tolist()))
            if self._padded:
                before[self.model.size] = math.log(self._padded)
            before = dict(sorted(before.items(), key=lambda item: (-item[1], item[0])))
            chosen = next(iter(before))
            steps.append((chosen, before))
            tokens = (*tokens, chosen)
            if chosen == self.model.size - 1:
                break
        return steps
