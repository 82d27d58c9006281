"""A GGUF model's vocabulary: exact bytes both ways."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from types import ModuleType
from typing import Any

from llterm.core.tokens import EncodesHere, Tail, Token, split_utf8, vocabulary_fingerprint
from llterm.errors import ModelError


class LlamaVocabulary(EncodesHere):
    """Token bytes are read once; `encode` gives tokens whose bytes joined are exactly the text."""

    def __init__(self, llama: ModuleType, model: Any, ends: Collection[str] = ()) -> None:
        """`ends` name tokens that end a text besides the model's own. Raises ModelError where one
        is no token."""
        self._llama = llama
        self._vocab = llama.llama_model_get_vocab(model)
        self.size: int = llama.llama_vocab_n_tokens(self._vocab)
        self._tokens = self._own = [self._read(id) for id in range(self.size)]
        self._bytes = {token.data: token.id for token in self._tokens
                       if len(token.data) == 1 and not token.special}  # fmt: skip
        self._alters: dict[str, bool] = {}
        self._spaced = self._adds_space()
        bos = llama.llama_vocab_bos(self._vocab)
        adds = bos >= 0 and llama.llama_vocab_get_add_bos(self._vocab)
        self.prefix: Tail = (int(bos),) if adds else ()

        if ends:
            self._tokens = self._ending(ends)

    @cached_property
    def fingerprint(self) -> str:
        return vocabulary_fingerprint(self._llama.llama_vocab_type(self._vocab), self._own)

    def _ending(self, names: Collection[str]) -> list[Token]:
        """The tokens, those of these names being ends."""
        wanted = {name.encode("utf-8", "replace"): name for name in names}
        missing = wanted.keys() - {token.data for token in self._own}
        if missing:
            raise ModelError(
                f"{wanted[min(missing)]} is no token of this model",
                "The model's chat format says that it ends a reply.",
                "Correct the `end` of that format; `llterm models info` shows what the model is.",
            )
        return [
            replace(token, special=True, end=True) if token.data in wanted else token
            for token in self._own
        ]

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def alone(self, text: bytes | Tail, *, ends: bool = True) -> Tail:
        """A text as llama.cpp reads one that stands alone: with special tokens at its `ends`, and
        altered as the model wants it. Tokens are taken as they are."""
        return tuple(self._call(text, special=ends)) if isinstance(text, bytes) else text

    def encode(self, data: bytes) -> Tail:
        ids: list[int] = []
        for part, whole in split_utf8(data):
            ids += self._encoded(part) if whole else self._spelled(part)
        return tuple(ids)

    def _encoded(self, data: bytes) -> list[int]:
        """UTF-8 text: llama.cpp's tokens, but for what it would change, which is spelled."""
        ids = self._tokenize(data)
        if ids is not None:
            return ids
        ids = []
        for altered, part in groupby(data.decode(), self._altered):
            text = "".join(part)
            ids += self._spelled(text.encode()) if altered else self._halved(text)
        return ids

    def _altered(self, character: str) -> bool:
        """Whether llama.cpp reads another character for this one, as SentencePiece does for `▁`."""
        known = self._alters.get(character)
        if known is None:
            known = self._alters[character] = self._tokenize(character.encode()) is None
        return known

    def _halved(self, text: str) -> list[int]:
        """Text of which no character is altered alone; where a combination is, in smaller parts."""
        ids = self._tokenize(text.encode())
        if ids is not None:
            return ids
        if len(text) == 1:
            return self._spelled(text.encode())
        middle = len(text) // 2
        return self._halved(text[:middle]) + self._halved(text[middle:])

    def _tokenize(self, data: bytes) -> list[int] | None:
        """llama.cpp's tokens, where their bytes are the text; None where it changes the text."""
        text = b"\n" + data if self._spaced else data
        ids = self._call(text)
        if self._spaced:
            ids = self._without_first(ids, text)
        joined = b"".join(self._tokens[id].data for id in ids)
        return ids if joined == data else None

    def _without_first(self, ids: list[int], text: bytes) -> list[int]:
        """Drop what stands for the artificial space and the line break put before the text."""
        left = len(b" \n") if self._tokens[ids[0]].data[:1] == b" " else len(b"\n")
        while ids and left > 0:
            left -= len(self._tokens[ids[0]].data)
            ids = ids[1:]
        return ids

    def _call(self, data: bytes, *, special: bool = False) -> list[int]:
        """llama.cpp's tokens; with those that the model wants at the ends of a text."""
        room = len(data) + 8
        out = (self._llama.llama_token * room)()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), out, room, special, False)
        if count < 0:
            out = (self._llama.llama_token * -count)()
            count = self._llama.llama_tokenize(
                self._vocab, data, len(data), out, -count, special, False
            )
        return list(out[: max(count, 0)])

    def _spelled(self, data: bytes) -> list[int]:
        """Byte by byte; bytes that the vocabulary lacks are left out."""
        return [self._bytes[one] for one in (data[n : n + 1] for n in range(len(data)))
                if one in self._bytes]  # fmt: skip

    def _read(self, id: int) -> Token:
        llama = self._llama
        control = bool(llama.llama_vocab_is_control(self._vocab, id))
        end = bool(llama.llama_vocab_is_eog(self._vocab, id))
        room = 64
        while True:
            out = ctypes.create_string_buffer(room)
            size = llama.llama_token_to_piece(self._vocab, id, out, room, 0, True)
            if size >= 0:
                return Token(id, out.raw[:size], special=control or end, end=end)
            room = -size

    def _adds_space(self) -> bool:
        """Whether the tokenizer puts a space before the text (SentencePiece does)."""
        ids = self._call(b"a")
        return b"".join(self._tokens[id].data for id in ids) == b" a"
