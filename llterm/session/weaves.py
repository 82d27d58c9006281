"""The weaves of a session: the one on show, and lately used ones to come back to after an undo."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from llterm.core.bans import Bans
from llterm.core.constraint import Constrained
from llterm.core.healing import Healer
from llterm.core.prompt import Prompt, make_prompt
from llterm.core.query import Source
from llterm.core.rules import Rules
from llterm.core.tokens import Anchor, Asking
from llterm.core.weave_state import Weave
from llterm.session.chatting import chat_parts
from llterm.session.document import Document
from llterm.session.keeping import Kept
from llterm.session.lines import unpack_lines
from llterm.session.woven import Place, Woven

MOST_CANDIDATES = 2_500_000
"""Candidates kept for weaves that are not on show: some 25 MB."""


def rules_for(rules: Rules, source: Source | None) -> Rules:
    """The weave settings for this source: depth counts its own tokens, which may be bytes, and
    only one that takes masks can heal."""
    if source is None:
        return rules
    able = source.capabilities
    return replace(rules, depth=rules.depth * able.pieces, heal=rules.heal and able.masks)


async def story_prompt(document: Document, source: Source) -> Prompt:
    """The whole story as a model reads it, with nothing left for it to finish."""
    runs = document.runs_before(len(document.text))
    rules = replace(document.rules, heal=False)
    context = source.capabilities.context
    chat = await asyncio.to_thread(chat_parts, document, source)
    return await asyncio.to_thread(
        make_prompt, runs, document.prefix, source.vocabulary, rules, context, chat
    )


class Weaves:
    """Lately used weaves by place; the oldest go when they are too large."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Place, Woven] = OrderedDict()
        self._healer: Healer | None = None

    def keep(self, woven: Woven) -> None:
        last = next(reversed(self._kept.values()), woven)
        if last is not woven and not last.weave.facts and not last.samples:
            # Nothing was woven there: a play passes by many such places.
            del self._kept[last.place]
        self._kept[woven.place] = woven
        self._kept.move_to_end(woven.place)
        while len(self._kept) > 1 and self._candidates() > MOST_CANDIDATES:
            self._kept.popitem(last=False)

    def find(self, place: Place, rules: Rules, bans: Bans, source: Source) -> Woven | None:
        """An earlier weave of this very text, put under these rules and bans."""
        rules = rules_for(rules, source)
        found = self._kept.get(place)
        if found is None or not found.has_room(source.capabilities.context):
            return None
        if found.weave.constraint is None and found.weave.rules.heal != rules.heal:
            return None
        if (found.weave.rules, found.weave.bans) != (rules, bans):
            found.weave = found.weave.under(rules, bans)
        elif found.weave.spent:
            found.weave.extend()
        return found

    def begin(
        self,
        place: Place,
        document: Document,
        source: Source,
        constraint: Constrained | None,
        bans: Bans,
        kept: Kept | None = None,
    ) -> Woven:
        """A weave at the document's cursor, with what the loom kept of it."""
        vocabulary, rules = source.vocabulary, rules_for(document.rules, source)
        if constraint is not None:
            # What the constraint is about begins at the cursor, not in the word before it.
            rules = replace(rules, heal=False)
        runs = document.runs_before(document.cursor)
        context = source.capabilities.context
        chat = chat_parts(document, source)
        if kept is not None and isinstance(vocabulary, Asking):
            vocabulary.learn(kept.names)
        prompt = make_prompt(runs, document.prefix, vocabulary, rules, context, chat)
        prompt = kept.prompt(prompt, vocabulary) if kept is not None else prompt
        if prompt.residue and self._healer is None:
            self._healer = Healer(vocabulary)
        weave = Weave(
            vocabulary,
            Anchor(prompt.tokens),
            rules,
            residue=prompt.residue,
            before=prompt.before,
            healer=self._healer,
            facts=kept.facts if kept else None,
            grown=kept.grown if kept else (),
            constraint=constraint,
            bans=bans,
        )
        blob = document.load_lines(place[0])
        return Woven(weave, place, prompt, samples=unpack_lines(blob, weave, source))

    def forget_vocabulary(self) -> None:
        """Another model: what was made of the former one's tokens goes."""
        self._healer = None

    def _candidates(self) -> int:
        woven = self._kept.values()
        found = [one for each in woven for one in each.weave.facts.values()]
        drawn = [one for each in woven for sample in each.samples for one in sample.found]
        return sum(len(one.ids) for one in (*found, *drawn))
