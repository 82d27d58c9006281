"""The story as the models of a mix see it, place by place, read in the background.

Never beside a weave or a play: whoever writes has the models. What was read stays as long as the
tokens up to it and the recipe are the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from llterm.core.comparison.mixed_place import NONE, MixedPlace, place_of, statistics_of
from llterm.core.comparison.quant_statistics import QuantStatistics
from llterm.core.loom_tree import Piece
from llterm.core.mixing.blend import Blend
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.tokens import Anchor, Path, Tail
from llterm.engine.mixture import Mix
from llterm.errors import UsageError
from llterm.session.inspection import force
from llterm.session.manuscript import Change
from llterm.session.reader import StoryReader, story_prompt
from llterm.session.session import Session

AT_HAND = 2
"""Places at the end that are asked for one by one: what is drawn from there is kept by the mix."""
CHUNK = 16
"""Places asked for at once: a step waits for no more than these."""
BEHIND = 8
"""Places before the cursor that are read before those after it."""
LEAST = 1e-30
"""A probability that is told as no less."""
PATIENCE = 0.05
"""Seconds without a change before the story is looked at again."""


@dataclass(frozen=True, slots=True)
class MixedToken:
    """A token of the story."""

    data: bytes
    start: int
    """Where its bytes begin in the story."""
    by: int | None
    """Index of the model that it came from; None: the person's, or no model's first choice."""
    person: bool


class MixReader(StoryReader):
    """What the models of a session's mix say along its story."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self._callbacks: list[Callable[[], None]] = []
        self._recipe: Recipe | None = None
        self._heard_mix: Mix | None = None
        """The mix whose news are listened to."""
        self._end_news: Callable[[], None] = lambda: None
        self._missing: object = ()
        """Who was left out, and who answers again, when the news were heard last."""
        self._tallies: dict[int, tuple[int, QuantStatistics]] = {}
        self._by_piece: dict[int, tuple[str, ...]] = {}
        self.pieces: Sequence[MixedToken] = ()
        self.places: list[MixedPlace | None] = [None]
        """One a token, and one for what may come after the last; None: not read yet."""
        self.unseen = 0
        """Bytes of the story's beginning that the models no longer see."""
        self.cursor = 0
        """Number of the place that is read first."""

    @property
    def mix(self) -> Mix | None:
        """The session's source, where it is a mix."""
        source = self.session.source
        return source if isinstance(source, Mix) else None

    @property
    def silent(self) -> tuple[int, ...]:
        """Models that are left out because they failed, then those that are waited for."""
        company = self.mix.company if self.mix is not None else None
        return (*company.lost, *company.awaited) if company is not None else ()

    @property
    def looked(self) -> bool:
        """Whether the story was looked at with a mix yet."""
        return self._recipe is not None

    @property
    def waiting(self) -> int:
        """Places that are still to be read."""
        return sum(one is None for one in self.places)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever something changed here or in the session; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def look_at(self, number: int) -> None:
        """Read this place and what is near it first."""
        self.cursor = number

    # --- changing it

    def change(self, recipe: Recipe) -> None:
        """Mix in another way from now on; a play goes on."""
        mix = self._here()
        mix.recipe = recipe
        mix.company.recall(n for n, weight in enumerate(recipe.pool.weights) if not weight)
        self._renew(mix)

    def retry(self) -> None:
        """Let the models that were left out speak again."""
        mix = self._here()
        mix.retry()
        self._renew(mix)

    def force(self, number: int, id: int) -> Change:
        """Let another token stand at a place; what stood there stays as a branch."""
        place = self.places[number]
        if place is None:
            raise UsageError("This place is not read yet", "", "Wait a moment.")
        listed = [p for side in (place.mix, *place.sides) if side for n, p in side.top if n == id]
        # The mix's own probability, or a model's where the mix does not list it.
        logprob = math.log(max(listed[0], LEAST)) if listed else math.log(LEAST)
        return force(self.session, self.offset(number), id, logprob)

    def offset(self, number: int) -> int:
        """Where a place is in the story's bytes."""
        if number < len(self.pieces):
            return self.pieces[number].start
        return len(self.session.document.bytes_before(len(self.session.document.text)))

    def branch(self, number: int) -> Change | None:
        """Another branch that begins at this place becomes the story; None: there is none."""
        loom, at = self.session.document.loom, 0
        for node in loom.path():
            if at == self.offset(number):
                others = loom.children[node.parent]
                if len(others) < 2:
                    return None
                chosen = others[(others.index(node.id) + 1) % len(others)]
                return self.session.document.choose(chosen)
            at += node.size
        return None

    # --- what there is to see

    def divergence(self, number: int, step: int, index: int | None = None) -> int | None:
        """The nearest place in a direction where a model's first choice, or any's, is not the
        mix's."""
        number += step
        while 0 <= number < len(self.places):
            place = self.places[number]
            models = range(len(place.sides)) if place is not None else ()
            if place and any(place.differs(n) for n in models if index in (None, n)):
                return number
            number += step
        return None

    def worst(self, index: int | None = None) -> int | None:
        """The place of the greatest divergence from the mix: of a model, or of any."""
        divergences = [
            (side.kld, -number)
            for number, place in enumerate(self.places)
            if place is not None
            for n, side in enumerate(place.sides)
            if side is not None and side.kld is not None and index in (None, n)
        ]
        return -max(divergences)[1] if divergences else None

    def statistics(self, index: int) -> QuantStatistics:
        """llama-perplexity's figures of a model against the mix, over what is read."""
        read = [one for one in self.places if one is not None]
        counted = self._tallies.get(index)
        if counted is None or counted[0] != len(read):
            counted = self._tallies[index] = len(read), statistics_of(read, index)
        return counted[1]

    # --- inner workings

    def _here(self) -> Mix:
        if self.mix is None:
            raise UsageError("There is no mix", "One model writes this story.",
                             "Start with several: `llterm mix -m A -m B`.")  # fmt: skip
        return self.mix

    def _renew(self, mix: Mix) -> None:
        """Suggestions and readings were those of another mix; nobody waits for their answers."""
        player = self.session.player
        playing = player.playing
        self.session.attach(mix)
        if self.open:
            self._task.start(self._work)
        self.stir()
        if playing:
            player.play()

    def _listen_to(self, mix: Mix) -> None:
        if mix is not self._heard_mix:
            self._end_news()
            self._heard_mix, self._end_news = mix, mix.news.listen(self._news_heard)
            self._missing = _missing(mix)

    def _news_heard(self) -> None:
        """A model was left out, or one of those answers again, or there is more to say of one."""
        mix = self.mix
        if mix is None or mix is not self._heard_mix:
            return
        if mix.company.back and not self.session.weaving:
            mix.admit()
            self._renew(mix)
        if self._missing != (missing := _missing(mix)):
            self._missing = missing
            self._stirred.set()
        self._changed()

    def _heard(self) -> None:
        super()._heard()
        self._changed()

    def _changed(self) -> None:
        for callback in tuple(self._callbacks):
            callback()

    def _depends_on(self) -> object:
        session = self.session
        return session.document.revision, session.source, self._busy(), session.returns

    def _busy(self) -> bool:
        return self.session.weaving or self.session.player.playing

    async def _rest(self) -> None:
        await asyncio.sleep(PATIENCE)

    async def _look(self) -> None:
        mix, document = self.mix, self.session.document
        if mix is None:
            return
        self._listen_to(mix)
        prompt = await story_prompt(document, mix)
        recipe = mix.in_force
        if self._recipe is None:
            mix.begin(Anchor(prompt.tokens))
        # The last place has nothing that stands there yet.
        same = min(self._take(prompt), len(self.places) - 1)
        if recipe != self._recipe:
            same = 0
        self._recipe = recipe
        self.unseen = prompt.sight.start
        self.pieces = self._told(mix, prompt.tokens[prompt.head :], prompt.sight.start)
        known = self.places[: max(same, 0)]
        self.places = known + [None] * (len(self.pieces) + 1 - len(known))
        self._tallies.clear()

    def _told(self, mix: Mix, ids: Tail, start: int) -> list[MixedToken]:
        """The story's tokens, and whose each is."""
        givers = self._givers()
        pieces = []
        for id in ids:
            token = mix.vocabulary.token(id)
            data = b"" if token.special else token.data
            name = givers.get(start)
            index = mix.names.index(name) if name in mix.names else None
            pieces.append(MixedToken(token.data, start, index, name is None))
            start += len(data)
        return pieces

    def _givers(self) -> dict[int, str]:
        """Where a model's tokens begin in the story's bytes, and which model gave each."""
        document, givers, at = self.session.document, dict[int, str](), 0
        for node in document.loom.path():
            for number, start, stop in node.slices:
                piece = document.loom.pieces[number]
                if piece.ids is not None:
                    by = self._by(number, piece)
                    place = at - start - piece.overlap
                    for size, name in zip(piece.sizes, by, strict=False):
                        if place + size > at and place < at + stop - start:
                            givers[max(place, at)] = name
                        place += size
                at += stop - start
        return givers

    def _by(self, number: int, piece: Piece) -> tuple[str, ...]:
        """Whose each token of a loom's piece is. Pieces grow only while they are written."""
        assert piece.ids is not None
        known = self._by_piece.get(number, ())
        if len(known) != len(piece.ids):
            born = self.session.document.undo_log.birth(number)
            known = self._by_piece[number] = born.by or (piece.author,) * len(piece.ids)
        return known

    def _next(self) -> range | None:
        """The places to read now; while somebody writes only the last, which is at hand."""
        start = max(self.cursor - BEHIND, 0)
        least = len(self.places) - AT_HAND if self._busy() else 0
        todo = [
            n
            for n, one in enumerate(self.places)
            if one is None and self._head + n > 0 and n >= least
        ]
        if not todo:
            return None
        first = next((n for n in todo if n >= start), None)
        if first is None:
            first = max(todo[-1] - CHUNK + 1, 0)
            first = next(n for n in todo if n >= first)
        at_hand = len(self.places) - AT_HAND
        end = len(self.places) if first >= at_hand else at_hand
        return range(first, min(first + CHUNK, end))

    async def _read(self) -> bool:
        mix, tokens = self.mix, self._tokens
        wanted = self._next()
        if mix is None or wanted is None or self.session.weaving:
            return False
        anchor, recipe = Anchor(tokens[: self._head + wanted[0]]), mix.in_force
        paths = {
            Path(anchor, tokens[self._head + wanted[0] : self._head + number]): number
            for number in wanted
            if self.places[number] is None
        }
        if wanted[0] >= len(self.places) - AT_HAND:
            for path, number in paths.items():
                await self._judge(await mix.look(path), number, tokens)
        else:
            async with aclosing(mix.blends(list(paths))) as blends:
                async for path, blend in blends:
                    await self._judge(blend, paths[path], tokens)
        if mix.in_force != recipe:
            self._stirred.set()
        return True

    async def _judge(self, blend: Blend, number: int, tokens: Tail) -> None:
        at = self._head + number
        token = tokens[at] if at < len(tokens) else NONE
        place = await asyncio.to_thread(place_of, blend, token)
        if tokens is self._tokens and number < len(self.places):
            self.places[number] = place


def _missing(mix: Mix) -> object:
    """Who is left out, and who of those answers again."""
    return frozenset(mix.company.lost), frozenset(mix.company.back)
