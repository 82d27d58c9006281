"""From a story to the tokens that a weave starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.core.chat_messages import ChatParts, encode_parts
from llterm.core.healing import residue_of
from llterm.core.pieces import Run
from llterm.core.tokens import Tail, Vocabulary, text_bytes
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


def make_prompt(
    runs: Sequence[Run],
    prefix: str,
    vocabulary: Vocabulary,
    rules: WeaveSettings,
    context: int,
    chat: ChatParts = (),
) -> Prompt:
    """The story's tokens, windowed to the context.

    The model's own runs keep their tokens; the person's text is encoded from the last model-made
    token on, so that two bursts of typing give the tokens of the whole. `prefix` is the hidden text
    before the story; it is always seen. A `chat` stands in its place, and the story is its reply.
    """
    ids, typed = _encode(runs, vocabulary)
    residue = residue_of(typed) if rules.heal else b""
    hidden = vocabulary.prefix + _hidden(prefix, vocabulary)
    head = encode_parts(chat, vocabulary) if chat else hidden
    if residue and not head and not ids and len(typed) == len(residue):
        residue = b""
    ids.extend(vocabulary.encode(typed[: len(typed) - len(residue)]))
    start = first_seen(len(ids), len(head), context, rules.depth + MARGIN)
    text = b"".join(run.data for run in runs)
    return Prompt(
        tokens=head + tuple(ids[start:]),
        head=len(head),
        residue=residue,
        before=text[-64:].decode("utf-8", "replace"),
        sight=SeenStory(
            story=len(ids),
            dropped=start,
            start=len(text_bytes(vocabulary, ids[:start])),
            hidden=max(len(head) - len(vocabulary.prefix), 0),
            chat=bool(chat),
        ),
    )


def _encode(runs: Sequence[Run], vocabulary: Vocabulary) -> tuple[list[int], bytes]:
    """Tokens up to the last model-made one, and the person's bytes after it."""
    ids: list[int] = []
    typed = b""
    for run in runs:
        if run.ids is None or run.fingerprint != vocabulary.fingerprint:
            typed += run.data
            continue
        before, rewritten = typed[: len(typed) - run.overlap], typed[len(typed) - run.overlap :]
        if run.overlap > len(typed) or text_bytes(vocabulary, run.ids) != rewritten + run.data:
            typed += run.data
            continue
        ids.extend(vocabulary.encode(before))
        ids.extend(run.ids)
        typed = b""
    return ids, typed


def _hidden(prefix: str, vocabulary: Vocabulary) -> Tail:
    if not prefix:
        return ()
    return vocabulary.encode((prefix if prefix.endswith("\n") else prefix + "\n").encode())
