"""From a story to the tokens that a weave starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.core.chat_messages import ChatParts, chat_draft
from llterm.core.healing import residue_of
from llterm.core.pieces import Run
from llterm.core.tokens import Draft, Tail, Vocabulary, text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.core.windows import SeenStory, first_seen

MARGIN = 16
"""Tokens of the context kept free beside a suggestion's depth."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Where a weave starts."""

    tokens: Tail
    head: int
    """How many of them stand before the story: the model's own prefix, and the hidden text."""
    residue: bytes
    """Bytes at the end of the story that `tokens` leaves out, for the model to finish."""
    before: str
    """The story's last words."""
    sight: SeenStory
    """How much of the story the model sees."""


@dataclass(frozen=True, slots=True)
class PromptDraft:
    """Where a weave is to start, before its tokens are known."""

    head: Draft
    """What stands before the story."""
    story: Draft
    residue: bytes
    before: str
    context: int
    """Tokens that the model sees at most."""
    depth: int
    """Tokens that a suggestion may have."""
    chat: bool

    def known(self, vocabulary: Vocabulary) -> Prompt | None:
        """The prompt; None where somebody has to be asked for tokens of it."""
        head, story = self.head.known(vocabulary), self.story.known(vocabulary)
        return None if head is None or story is None else self._made(head, story, vocabulary)

    async def told(self, vocabulary: Vocabulary) -> Prompt:
        """The prompt, by the tokenizer. Raises LltermError where it cannot be asked."""
        head = await self.head.told(vocabulary)
        return self._made(head, await self.story.told(vocabulary), vocabulary)

    async def prompt(self, vocabulary: Vocabulary) -> Prompt:
        """The prompt: as it is known, else as it is told. Raises LltermError."""
        return self.known(vocabulary) or await self.told(vocabulary)

    def _made(self, head: Tail, ids: Tail, vocabulary: Vocabulary) -> Prompt:
        """Windowed to the context."""
        start = first_seen(len(ids), len(head), self.context, self.depth + MARGIN)
        return Prompt(
            tokens=head + ids[start:],
            head=len(head),
            residue=self.residue,
            before=self.before,
            sight=SeenStory(
                story=len(ids),
                dropped=start,
                start=len(text_bytes(vocabulary, ids[:start])),
                hidden=max(len(head) - len(vocabulary.prefix), 0),
                chat=self.chat,
            ),
        )


def draft_prompt(
    runs: Sequence[Run],
    prefix: str,
    vocabulary: Vocabulary,
    rules: WeaveSettings,
    context: int,
    chat: ChatParts = (),
) -> PromptDraft:
    """The story as a model is to read it, windowed to the context.

    The model's own runs keep their tokens; the person's text is encoded from the last model-made
    token on, so that two bursts of typing give the tokens of the whole. `prefix` is the hidden text
    before the story; it is always seen. A `chat` stands in its place, and the story is its reply.
    """
    parts, typed = _own_tokens(runs, vocabulary)
    residue = residue_of(typed) if rules.heal else b""
    head = chat_draft(chat, vocabulary) if chat else hidden_draft(prefix, vocabulary)
    if residue and not (parts or head.parts or head.prefix) and len(typed) == len(residue):
        residue = b""
    if text := typed[: len(typed) - len(residue)]:
        parts.append(text)
    joined = b"".join(run.data for run in runs)
    before = joined[-64:].decode("utf-8", "replace")
    return PromptDraft(
        head, Draft(tuple(parts)), residue, before, context, rules.depth, chat=bool(chat)
    )


def _own_tokens(runs: Sequence[Run], vocabulary: Vocabulary) -> tuple[list[bytes | Tail], bytes]:
    """The story up to the last model-made token, and the person's bytes after it."""
    parts: list[bytes | Tail] = []
    typed = b""
    for run in runs:
        if run.ids is None or run.fingerprint != vocabulary.fingerprint:
            typed += run.data
            continue
        before, rewritten = typed[: len(typed) - run.overlap], typed[len(typed) - run.overlap :]
        if run.overlap > len(typed) or text_bytes(vocabulary, run.ids) != rewritten + run.data:
            typed += run.data
            continue
        parts += [part for part in (before, run.ids) if part]
        typed = b""
    return parts, typed


def hidden_draft(prefix: str, vocabulary: Vocabulary) -> Draft:
    """What stands before a story that is no reply: the model's own prefix, and the hidden text."""
    begun: tuple[Tail, ...] = (vocabulary.prefix,) if vocabulary.prefix else ()
    if not prefix:
        return Draft(begun)
    return Draft((*begun, (prefix if prefix.endswith("\n") else prefix + "\n").encode()))
