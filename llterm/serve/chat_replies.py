"""One choice of a chat while it comes, as parts of a message in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llterm.engine.generation import GeneratedToken, GenerationEnd
from llterm.serve.chat_calls import ChatCalls
from llterm.serve.chat_deltas import ChatDeltas, Delta
from llterm.serve.chat_forms import ArtifactDeltas, ChatForms, FormDeltas
from llterm.serve.chat_logprobs import ChatLogprobs
from llterm.serve.chat_tools import ChatTools
from llterm.serve.drawn_choices import DrawnChoice
from llterm.serve.served_models import ServedModel

Told = Mapping[str, Any]


class DeltaStep(Protocol):
    """What takes something out of the text of a reply, and tells it apart."""

    def add(self, delta: Delta) -> Sequence[Delta]: ...

    def rest(self) -> Sequence[Delta]: ...


@dataclass(slots=True, eq=False)
class ChatReply:
    """How one choice is told."""

    body: Any
    """A `ChatBody`."""
    model: ServedModel
    choice: DrawnChoice
    thinking: bool
    """The prompt ends within thoughts."""
    tools: ChatTools | None
    forms: ChatForms | None
    thoughts: int = 0
    """Tokens of them."""
    message: dict[str, str] = field(default_factory=dict)
    """Its texts, as far as they go."""
    logprobs: ChatLogprobs | None = field(init=False)
    _deltas: ChatDeltas = field(init=False)
    _form: FormDeltas | None = field(init=False)
    _calls: ChatCalls | None = field(init=False)
    _artifacts: ArtifactDeltas | None = field(init=False)

    def __post_init__(self) -> None:
        tools, forms = self.tools, self.forms
        self._deltas = ChatDeltas(self.model.reasoning, thinking=self.thinking)
        self._form = FormDeltas(forms.form, forms.shown) if forms and forms.form else None
        self._calls = tools.calls() if tools and tools.choice != "none" else None
        self._artifacts = ArtifactDeltas() if forms and forms.artifacts else None
        by_id = bool(self.body.return_tokens_as_token_ids)
        self.logprobs = ChatLogprobs(self.model.vocabulary, by_id) if self.body.logprobs else None

    def add(self, drawn: GeneratedToken | GenerationEnd, text: str) -> Sequence[Delta]:
        """What a step adds to the message."""
        thinking = self._is_thinking
        deltas = [self._deltas.add(text)]
        last = isinstance(drawn, GenerationEnd)
        if last:
            deltas.append(self._deltas.rest())
        else:
            self.thoughts += thinking or self._is_thinking
            if self.logprobs is not None and isinstance(drawn, GeneratedToken):
                self.logprobs.add(drawn, self.choice.request.watched)
        steps: tuple[DeltaStep | None, ...] = (self._form, self._calls, self._artifacts)
        for step in filter(None, steps):
            deltas = [told for delta in deltas if delta for told in step.add(delta)]
            deltas += step.rest() if last else ()
        told = [delta for delta in deltas if delta]
        for delta in told:
            for name, value in delta.items():
                if isinstance(value, str):
                    self.message[name] = self.message.get(name, "") + value
        return told

    @property
    def _is_thinking(self) -> bool:
        return self._deltas.thinking or (self._form is not None and self._form.thinking)

    def first(self) -> Told:
        """What a stream begins with."""
        content = None if self._artifacts is None else ""
        return self.part({"role": "assistant", "content": content}, [])

    def parts(self, drawn: GeneratedToken | GenerationEnd, text: str) -> Iterator[Told]:
        """What a step adds to the stream: nothing for a token of which nothing is shown yet."""
        tokens = [drawn] if isinstance(drawn, GeneratedToken) else []
        deltas = self.add(drawn, text)
        if not deltas and tokens and (self.logprobs is not None or self.body.return_token_ids):
            deltas = [{"content": ""}]
        for place, delta in enumerate(deltas):
            yield self.part(delta, [] if place else tokens)
        if isinstance(drawn, GenerationEnd):
            yield {**self.part({}, []), **self._ending()}

    def part(self, delta: Delta, tokens: Sequence[GeneratedToken]) -> dict[str, Any]:
        """What goes into `choices` of a stream."""
        if self._artifacts is not None:
            delta = {"content": "", "artifact_meta": self._artifacts.meta, **delta}
        told: dict[str, Any] = {
            "index": self.choice.index,
            "delta": delta,
            "logprobs": None if self.logprobs is None else self.logprobs.taken(),
            "finish_reason": None,
        }
        if self.body.return_token_ids:
            told["token_ids"] = [token.id for token in tokens]
        return told

    def whole(self) -> Iterator[Told]:
        """What goes into `choices` of a whole answer: as gallama has it, a choice for each part of
        one that is made of artifacts."""
        message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        message |= self.message
        if self._calls is not None and self._calls.made:
            content = self.message.get("content")
            message |= {"content": content, "tool_calls": self._calls.made}
        told: dict[str, Any] = {
            "index": self.choice.index,
            "message": message,
            "logprobs": None if self.logprobs is None else self.logprobs.whole(),
            **self._ending(),
        }
        if self.body.return_token_ids:
            told["token_ids"] = [token.id for token in self.choice.tokens]
        if self._artifacts is None:
            yield told
            return
        for index, (meta, text) in enumerate(self._artifacts.parts or [(self._artifacts.meta, "")]):
            part = {**message, "content": text, "artifact_meta": meta}
            yield {**told, "index": index, "message": part}

    def typed_parts(self) -> Sequence[Told] | None:
        """The parts of a reply that is made of artifacts, by their types; None of others."""
        if self._artifacts is None:
            return None
        return [
            {"type": meta["tag_type"], **{k: v for k, v in meta.items() if k != "tag_type"},
             "text": text}
            for meta, text in self._artifacts.parts
        ]  # fmt: skip

    def _ending(self) -> dict[str, Any]:
        reason = self.choice.finish_reason
        if self._calls is not None and self._calls.made and reason != "length":
            reason = "tool_calls"
        return {"finish_reason": reason, "stop_reason": self.choice.stop_reason}
