"""A model that a server has in hand: who draws with it, and who answers all else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from llterm.core.conversation import ChatTraits, Conversation
from llterm.core.query import Backend
from llterm.core.reasoning_markers import ReasoningMarkers, reasoning_markers
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.special_tokens import SpecialTokens, special_tokens
from llterm.core.tokens import LearnsTokens, Tail, Token, Vocabulary, grows
from llterm.core.tool_format import TemplateTools
from llterm.core.tool_probes import probed_tools
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.generation import Generator
from llterm.engine.prompt_heads import chat_traits, written_chat
from llterm.errors import CapabilityMissing
from llterm.serve.api_errors import ApiError
from llterm.serve.model_frames import ModelState
from llterm.serve.model_process import ModelProcess
from llterm.serve.serve_limits import ServeLimits

ModelKind = Literal["text", "embedding"]
_LONGEST = 512
"""Bytes that no token has, where not all are known."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model: who draws with it, and who answers all else."""

    name: str
    generator: Generator
    backend: Backend
    _tools: list[TemplateTools] = field(default_factory=list, init=False)
    """Empty until it is asked for."""

    @property
    def vocabulary(self) -> Vocabulary:
        return self.generator.vocabulary

    @property
    def room(self) -> int:
        """Most tokens of a prompt with what is drawn after it."""
        return self.generator.room

    @cached_property
    def longest(self) -> int:
        """Bytes of its longest token; of a vocabulary that grows, that no token has."""
        if grows(self.vocabulary):
            return _LONGEST
        return max(len(token.data) for token in self.known_tokens)

    @property
    def ends(self) -> Tail:
        """The tokens that end a text, of those that are known."""
        return self._known_ends if grows(self.vocabulary) else self._ends

    @cached_property
    def _ends(self) -> Tail:
        return self._known_ends

    @property
    def _known_ends(self) -> Tail:
        return tuple(token.id for token in self.known_tokens if token.end)

    @property
    def state(self) -> ModelState:
        """Whether it can be asked now."""
        return self.backend.state if isinstance(self.backend, ModelProcess) else "ok"

    async def close(self) -> None:
        """End what is drawn, and the model."""
        await self.generator.close()
        await self.backend.close()

    @property
    def chats(self) -> ChatTraits:
        """What writes its chats."""
        return chat_traits(self.backend)

    @cached_property
    def reasoning(self) -> ReasoningMarkers | None:
        """What stands around its thoughts; None where it does not think aloud."""
        return reasoning_markers(self.chats.template)

    @cached_property
    def marker_ids(self) -> frozenset[int]:
        """The special tokens that such markers are made of."""
        return self.special.named_in(self.special.marked("".join(self.reasoning or ())))

    @cached_property
    def special(self) -> SpecialTokens:
        """Its special tokens."""
        return special_tokens(self.known_tokens)

    async def template_tools(self) -> TemplateTools:
        """What its chat template does for tools; asked of it once. Raises LltermError."""
        if not self.chats.template:
            return TemplateTools()
        if not self._tools:
            self._tools.append(await probed_tools(self._written))
        return self._tools[0]

    async def _written(self, conversation: Conversation) -> str:
        return "".join(part.text for part in await written_chat(self.backend, conversation))

    @property
    def known_tokens(self) -> Iterator[Token]:
        """Every token that is known; of a server that tells one by one, not all there are."""
        vocabulary = self.vocabulary
        if isinstance(vocabulary, LearnsTokens):
            ids = [id for id in range(vocabulary.bound) if vocabulary.knows(id)]
        else:
            ids = list(range(vocabulary.size))
        return map(vocabulary.token, ids)

    @cached_property
    def chains(self) -> Chains:
        """How tokens are drawn of distributions that are told here."""
        return Chains(self.vocabulary)

    @property
    def predicts(self) -> bool:
        """Whether it tells what may follow a text; an encoder tells embeddings alone."""
        return self.backend.capabilities.predicts

    @property
    def kind(self) -> ModelKind:
        """What it is for."""
        return "text" if self.predicts else "embedding"

    def check_predicts(self) -> None:
        """Raise CapabilityMissing where it does not predict text."""
        if not self.predicts:
            raise CapabilityMissing(
                f"{self.name} does not predict text", "It tells embeddings alone.",
                "Ask another model, or /v1/embeddings.",
            )  # fmt: skip

    def check_ids(self, ids: Sequence[int], param: str) -> Tail:
        """The ids, if they are this model's. Raises ApiError naming the first that is not."""
        vocabulary = self.vocabulary
        size = vocabulary.size
        told = vocabulary if isinstance(vocabulary, LearnsTokens) else None
        for place, id in enumerate(ids):
            if not 0 <= id < size or (told is not None and not told.knows(id)):
                raise ApiError(
                    400,
                    f"There is no token {id}",
                    f"This model has {size:,}, from 0 on.",
                    param=f"{param}[{place}]",
                    code="invalid_token",
                )
        return tuple(ids)


def served_model(name: str, backend: Backend, limits: ServeLimits) -> ServedModel:
    """A model under this name: one of a file draws in its process, any other is asked token by
    token."""
    if isinstance(backend, ModelProcess):
        return ServedModel(name, backend, backend)
    return ServedModel(name, BackendGenerator(backend, limits.parallel, limits.queue), backend)
