"""A weave: the facts known after an anchor, and the suggestions that the rules make of them.

State is facts, rules and where the person asked to grow; the tree is derived. So a weave can be
stopped, gone on with, and re-pruned under other rules with no inference.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from llterm.core.bans import Bans
from llterm.core.beams import Beam, Doubt, KnownDistributions, likeliest_first
from llterm.core.breadth_search import Breadth
from llterm.core.choices import ChoiceSearch
from llterm.core.distribution import Constrained, ConstraintState, Distribution, Mask
from llterm.core.diversity import WIDEST, fold
from llterm.core.healing import Healer
from llterm.core.query import Fact, Query
from llterm.core.search import Search
from llterm.core.stops import Stopper
from llterm.core.suggestion_tree import View, draw
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary
from llterm.core.weave_settings import WeaveSettings

Searching = Search | Breadth | ChoiceSearch


def _search(terrain: KnownDistributions, root: Beam) -> Searching:
    """The search that the rules' strategy names; a few given texts have one of their own."""
    if terrain.constraint is not None and terrain.constraint.texts:
        return ChoiceSearch(terrain, root)
    return Breadth(terrain, root) if terrain.rules.strategy == "breadth" else Search(terrain, root)


class Weave:
    """The search for the most probable suggestions after an anchor. Pure: no I/O, no clock."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        anchor: Anchor,
        rules: WeaveSettings,
        *,
        residue: bytes = b"",
        before: str = "",
        healer: Healer | None = None,
        facts: Mapping[Tail, Distribution] | None = None,
        grown: Iterable[tuple[Tail, int]] = (),
        constraint: Constrained | None = None,
        bans: Bans | None = None,
        carried: bool = False,
        earlier: Weave | None = None,
        canonical: Collection[Tail] = (),
        doubt: Doubt | None = None,
    ) -> None:
        """`residue` is what the first tokens must re-encode; `before` the story's last words.

        `facts` are distributions known already, by tail, under this very `constraint`; `grown` the
        branches gone on from, each with its own depth. A constraint goes without a residue.
        `carried` and `earlier`: see `at` and `anew`; `canonical` and `doubt`: see `read_again`.
        """
        self.constraint = constraint
        self.bans = bans or Bans()
        self.anchor = anchor
        self.rules = rules
        self.residue = residue
        self.before = before
        self._vocabulary = vocabulary
        self.healer = healer
        """What finishes a half-written word; None where nothing does."""
        self._facts = dict(facts or {})
        self.carried = carried
        """Whether facts were asked for after another anchor."""
        self._earlier = earlier
        self.canonical = frozenset(canonical)
        """Paths whose distributions are canonical."""
        self._doubt = doubt
        self._grown: list[tuple[Tail, int]] = []
        self._asked = 0
        self._again: dict[Tail, int] = {}
        """What was asked again, and how many candidates had been listed."""
        self._allowance = rules.budget
        terrain = self._terrain(rules)
        self._searches = [_search(terrain, self._root())]
        for tail, depth in grown:
            self.grow(tail, depth)

    @property
    def facts(self) -> Mapping[Tail, Distribution]:
        """Every distribution known, by the tokens after the anchor."""
        return self._facts

    @property
    def grown(self) -> Sequence[tuple[Tail, int]]:
        """Branches gone on from, and how many tokens further."""
        return self._grown

    @property
    def on_show(self) -> Weave:
        """The weave whose tree is shown: the one before it was begun anew, until this one has as
        many suggestions or will get no more."""
        earlier = self._earlier
        if earlier is None or self.spent or self.done:
            return self
        first, second = self._searches[0], earlier._searches[0]
        return self if len(first.finished) >= len(second.finished) else earlier

    def telling(self, tail: Tail) -> Weave:
        """The weave that knows a path of the tree: this one, or the one before it was begun anew.

        Raises KeyError where neither does.
        """
        try:
            self.beam(tail)
        except KeyError:
            if self._earlier is None:
                raise
            return self._earlier
        return self

    @property
    def done(self) -> bool:
        """Whether nothing is left to search under the rules."""
        return all(search.done and not self._short(search) for search in self._searches)

    @property
    def spent(self) -> bool:
        """Whether the evaluation budget is used up."""
        return self._asked >= self._allowance

    def wants(self, room: int, lines: int = 0, abreast: int = 1) -> list[Query]:
        """Up to `room` questions worth asking now. Each stays open until learned or released.

        `lines` and `abreast` are what the source says of itself (`Capabilities`).
        """
        room = min(room, self._allowance - self._asked)
        queries = self._questions(room, lines, abreast)
        while not queries and room > 0 and self._widen():
            queries = self._questions(room, lines, abreast)
        self._asked += len(queries)
        return queries

    def _questions(self, room: int, lines: int, abreast: int) -> list[Query]:
        queries: list[Query] = []
        for search in reversed(self._searches):
            for beam in search.wants(room - len(queries), lines, abreast):
                terrain = search.terrain
                path = Path(self.anchor, beam.tail)
                wanted = terrain.wanted(beam)
                # What is known and not enough is asked for again, whole.
                need = wanted if terrain.spelling else terrain.need(beam.depth)
                if (known := self._facts.get(beam.tail)) is not None:
                    need, self._again[beam.tail] = wanted, len(known.ids)
                ahead = search.ahead(beam)
                queries.append(Query(path, wanted, terrain.mask(beam), need=need, ahead=ahead))
        return queries

    def _short(self, search: Searching) -> bool:
        """Whether too few of what was found differ, and a larger limit may find more."""
        most = self.rules.goal
        if not self.rules.diverse or not search.full or search.goal >= WIDEST * most:
            return False
        return len(fold(search.finished, most, self.before)[0]) < most

    def _widen(self) -> bool:
        """Look at twice as many suggestions where too few of them differ; from what is known."""
        short = [search.done and self._short(search) for search in self._searches]
        for number, search in enumerate(self._searches):
            if short[number]:
                rules = replace(search.terrain.rules, beams=2 * search.goal)
                self._searches[number] = _search(self._terrain(rules), search.root)
        return any(short)

    def learn(self, fact: Fact) -> None:
        """Take in a distribution. Any order, any number of times, also ones not asked for."""
        tail = fact.path.tail
        distribution, before = fact.distribution, self._again.pop(tail, -1)
        if distribution.exact and len(distribution.ids) <= before:
            # Asked for more, it told no more: these are all.
            distribution = replace(distribution, exact=False)
        self._facts[tail] = distribution
        # What a line brings counts as asked for.
        brought = [search.learned(tail) for search in self._searches]
        self._asked += any(brought)
        if self.on_show is self:
            self._earlier = None

    def release(self, queries: Iterable[Query]) -> None:
        """These were cancelled or failed: they are open again. Known ones are passed over."""
        for query in queries:
            for search in self._searches:
                if search.release(query.path.tail):
                    self._asked -= 1
                    break

    def let_go(self) -> None:
        """The search was stopped: whatever was asked for is open again."""
        for search in self._searches:
            self._asked -= search.let_go()

    def refuse(self, tail: Tail) -> None:
        """The source cannot answer this one: its branch stays open and is not asked for again."""
        for search in self._searches:
            search.refuse(tail)

    def extend(self) -> None:
        """Allow another budget's worth of work."""
        self._allowance = self._asked + self.rules.budget

    def under(self, rules: WeaveSettings, bans: Bans | None = None) -> Weave:
        """The same facts under other rules, and bans; costs no inference."""
        return Weave(
            self._vocabulary, self.anchor, rules, residue=self.residue, before=self.before,
            healer=self.healer, facts=self._facts, grown=self._grown, constraint=self.constraint,
            bans=self.bans if bans is None else bans, carried=self.carried,
            earlier=self._earlier and self._earlier.under(rules, bans), canonical=self.canonical,
        )  # fmt: skip

    def read_again(
        self, facts: Mapping[Tail, Distribution], *, step: float = 0.0, path: float = 0.0
    ) -> Weave:
        """The same search with these canonical distributions in place of those known.

        `step` and `path`: how far the others may be off, as in `Doubt`; what so little decides is
        among the `contenders` then.
        """
        canonical = self.canonical.union(facts)
        weave = Weave(
            self._vocabulary, self.anchor, self.rules, residue=self.residue, before=self.before,
            healer=self.healer, facts={**self._facts, **facts}, grown=self._grown,
            constraint=self.constraint, bans=self.bans, carried=self.carried, canonical=canonical,
            doubt=Doubt(canonical, step, path) if step > 0 else None,
        )  # fmt: skip
        weave._asked, weave._allowance = self._asked, self._allowance
        while weave._widen():
            pass
        return weave

    @property
    def contenders(self) -> list[Beam]:
        """Beams, ended or not, that are suggestions or may be; most probable first."""
        beams = (beam for search in self._searches for beam in search.contenders)
        return sorted(beams, key=likeliest_first)

    def question(self, beam: Beam) -> Query:
        """Ask for what follows a beam once more, with as many candidates as are known."""
        terrain = self._terrain(self.rules)
        known = self._facts.get(beam.tail)
        keep = terrain.wanted(beam) if terrain.spelling else terrain.keep(beam.depth)
        keep = keep if known is None else max(keep, len(known.ids))
        return Query(Path(self.anchor, beam.tail), keep, terrain.mask(beam), need=keep)

    def anew(self) -> Weave:
        """The same search with nothing known, after an anchor of its own. Until it has found as
        much, what this one knows stays on show, and may be accepted."""
        shown = self.on_show
        return Weave(
            self._vocabulary, Anchor(self.anchor.tokens), self.rules, residue=self.residue,
            before=self.before, healer=self.healer, grown=self._grown, constraint=self.constraint,
            bans=self.bans, earlier=shown if shown.facts else None,
        )  # fmt: skip

    def at(self, tail: Tail, anchor: Anchor) -> Weave:
        """What remains when `tail` has been accepted: `anchor` must be the old one and `tail`."""
        size = len(tail)
        known = {**(self._earlier.facts if self._earlier else {}), **self._facts}
        facts = {key[size:]: fact for key, fact in known.items() if key[:size] == tail}
        grown = [(key[size:], depth) for key, depth in self._grown if key[:size] == tail]
        written = self._text(tail)
        before = self.before + written[len(self.residue) :].decode("utf-8", "replace")
        residue = self.residue[len(written) :]
        constraint = (
            ConstraintState(self.constraint, tail, written) if self.constraint is not None else None
        )
        return Weave(
            self._vocabulary, anchor, self.rules, residue=residue, before=before,
            healer=self.healer, facts=facts, grown=grown, constraint=constraint, bans=self.bans,
            carried=bool(facts),
        )  # fmt: skip

    def grow(self, tail: Tail, depth: int) -> None:
        """Go on from a branch: search for its own best N, `depth` tokens further."""
        beam = self.telling(tail).beam(tail)
        self._grown = [item for item in self._grown if item[0] != tail] + [(tail, depth)]
        self._searches = [search for search in self._searches if search.root.tail != tail]
        terrain = self._terrain(replace(self.rules, depth=beam.depth + depth))
        self._searches.append(_search(terrain, replace(beam, finish="open")))
        self.extend()

    def beam(self, tail: Tail) -> Beam:
        """The beam with this tail, from what is known.

        Raises KeyError when a token of it is not in a known distribution.
        """
        terrain = self._terrain(replace(self.rules, cutoff=0.0, split_limit=0))
        beam = self._root()
        for id in tail:
            children = terrain.children(beam, self._facts[beam.tail])
            following = next((child for child in children if child.tail[-1] == id), None)
            if following is None:
                raise KeyError(tail)
            beam = following
        return beam

    def mask(self, tail: Tail) -> Mask | None:
        """Which ids may follow `tail`, known or not; None when all may."""
        if self.constraint is not None:
            return self.constraint.mask(tail)
        residue = self.residue[len(self._text(tail)) :]
        return self.healer.mask(residue) if self.healer is not None and residue else None

    def view(self, *, running: bool = False, banned: bool = False) -> View:
        """The tree as it stands. Branches that have not ended are left out while it runs.

        With `banned`, what bans and the constraint took is in it too, as rows that say so.
        """
        if self.on_show is not self:
            return self.on_show.view(running=running, banned=banned)
        first = self._searches[0]
        if isinstance(first, ChoiceSearch):
            return first.view(spent=self.spent, banned=banned)
        best = max((search.best_open for search in self._searches), default=-math.inf)
        most, looked_at = self.rules.goal, 0
        folded: dict[Tail, list[Beam]] = {}
        searched = []
        for search in self._searches:
            finished = search.finished
            if self.rules.diverse:
                looked_at += len(finished)
                finished, alike = fold(finished, most, self.before)
                folded |= alike
            searched.append((finished, [] if running else search.open, most))
        return draw(
            self._root(),
            searched,
            bound=min(math.exp(best), 1.0),
            done=self.done,
            spent=self.spent and not self.done,
            banned=[one for search in self._searches for one in search.banned] if banned else (),
            folded=folded,
            looked_at=looked_at,
        )

    def _terrain(self, rules: WeaveSettings) -> KnownDistributions:
        return KnownDistributions(
            self._vocabulary,
            rules,
            Stopper(rules, self.before),
            self.healer,
            self._facts,
            self.constraint,
            self.bans,
            self.before.encode("utf-8", "replace"),
            doubt=self._doubt,
        )

    @property
    def dead_ends(self) -> int:
        """Paths after which the constraint allows nothing, not even the end."""
        return sum(found.permitted <= 0.0 for found in self._facts.values())

    @property
    def taken(self) -> float:
        """Raw mass of the first tokens that are not allowed; 0 until that is known."""
        first = self._facts.get(())
        return 1.0 - min(max(first.permitted, 0.0), 1.0) if first is not None else 0.0

    def _root(self) -> Beam:
        residue = self.residue if self.healer is not None else b""
        return Beam(None, (), None, 0.0, 0, residue, b"", b"")

    def _text(self, tail: Tail) -> bytes:
        tokens = (self._vocabulary.token(id) for id in tail)
        return b"".join(token.data for token in tokens if not token.special)
