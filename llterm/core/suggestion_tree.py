"""The suggestion tree: what a weave shows at one moment, for faces and for JSON.

Finished and open beams are drawn as a tree: common prefixes once, equal texts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llterm.core.beams import CONSTRAINT, Beam, Finish, Step, likeliest_first
from llterm.core.healing import healed
from llterm.core.tokens import Tail

SearchLeaves = tuple[Sequence[Beam], Sequence[Beam], int]
"""A search's finished beams, open beams, and how many it is after; most probable first."""


def adding(steps: Sequence[Step], residue: bytes) -> Sequence[Step]:
    """Those of a path's tokens that add text: less the first, where all that they write is the
    residue once more (healing)."""
    left = len(residue)
    for number, step in enumerate(steps):
        left -= len(step.data)
        if left < 0:
            return steps[number:]
    return ()


def mean_of(steps: Sequence[Step]) -> float:
    """Mean logprob of these tokens; 0 without any."""
    return math.fsum(step.logprob for step in steps) / len(steps) if steps else 0.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A token path that the weave offers."""

    tail: Tail
    """Tokens after the anchor; with healing they begin with those that re-encode the residue."""
    steps: tuple[Step, ...]
    data: bytes
    """What accepting it adds to the story: its tokens' bytes less the residue."""
    logprob: float
    """Joint, given the anchor (while healing: given the residue)."""
    finish: Finish
    merged: float = 0.0
    """Probability of other token paths with the same text, drawn with this one."""
    alike: tuple[bytes, ...] = ()
    """Other texts that say the same (diverse ranking), most probable first."""
    alike_p: float = 0.0
    """Their probability together."""
    share: float | None = None
    """Of a choice: its part of the probability that all choices have together."""
    residue: bytes = b""
    """What of the story its first tokens write again (healing)."""

    @property
    def logprob_per_token(self) -> float:
        """Mean over the tokens that add text."""
        return mean_of(adding(self.steps, self.residue))


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the suggestion tree: a run of tokens up to the next fork."""

    tail: Tail
    """Tokens from the anchor to the end of this row: accepting the row takes all of them."""
    steps: tuple[Step, ...]
    """The row's own tokens."""
    data: bytes
    """The row's own text (less what remains of the residue)."""
    p: float
    """Probability of the row given its parent row, equal texts added."""
    logprob: float
    """Joint logprob of the whole path to the end of this row; of a fork that other tokens spell
    too, theirs added."""
    children: tuple[Branch, ...] = ()
    finish: Finish | None = None
    """Set on leaves."""
    banned: str = ""
    """What forbids it, such as `banned "once upon"` or `constraint`; `p` is what that takes."""
    sampled: str = ""
    """Which samples it is, such as `sample 3`; `p` is joint then."""
    alike: int = 0
    """How many other texts, which say the same, are folded into it; `p` has theirs where they hung
    under the same parent and no other row holds them."""
    alike_p: float = 0.0
    """Their joint probability."""
    share: float | None = None
    """Of a choice: its part of the probability that all choices have together."""
    healed: tuple[str, str] | None = None
    """Where it goes on with the word that was typed last: that word, and what it becomes."""


@dataclass(frozen=True, slots=True)
class View:
    """A weave at one moment."""

    suggestions: tuple[Suggestion, ...] = ()
    """Most probable first, one a token path; at most as many as `WeaveSettings.goal` a root."""
    branches: tuple[Branch, ...] = ()
    """The same as a tree, most probable first."""
    settled: int = 0
    """How many of the first suggestions no further work can change."""
    bound: float = 1.0
    """No suggestion that is not shown is more probable than this (joint)."""
    coverage: tuple[float, ...] = field(default=())
    """Share of all probability mass that the tree holds at each depth, from depth 1 on."""
    done: bool = False
    """Nothing is left to search under the rules (or `spent`)."""
    looked_at: int = 0
    """How many suggestions the list was chosen from, where it is of such that differ."""
    spent: bool = False
    """The evaluation budget ended the search before it was done."""


@dataclass(slots=True)
class _Node:
    """A token in the tree that is being drawn."""

    beam: Beam
    children: dict[int, _Node] = field(default_factory=dict)
    extra: float = 0.0
    """Probability of equal texts by other tokens, joint."""
    alike: Sequence[Beam] = ()
    """What says the same and is not drawn."""
    beside: list[tuple[int, float]] = field(default_factory=list)
    """Those of them that no other row holds: from which depth on, and their probability."""


def draw(
    anchor: Beam,
    searches: Sequence[SearchLeaves],
    *,
    bound: float,
    done: bool,
    spent: bool,
    banned: Sequence[Beam] = (),
    folded: Mapping[Tail, Sequence[Beam]] | None = None,
    looked_at: int = 0,
) -> View:
    """Make a view. `bound`: joint probability that nothing unseen exceeds.

    `banned` are drawn where the branch that they would go on from is. `folded` are, by the tail of
    one that is drawn, those that say the same and are not; `looked_at` is how many there were.
    """
    leaves = _leaves(searches)
    heads, merged = _merge(leaves)
    alike: dict[Tail, Sequence[Beam]] = {}
    for beam in heads:
        if others := (folded or {}).get(beam.tail):
            same = [equal for equal in others if _text_key(equal) == _text_key(beam)]
            merged[beam.tail] = merged.get(beam.tail, 0.0) + _mass(same)
            alike[beam.tail] = [equal for equal in others if equal not in same]
    suggestions = tuple(
        _suggestion(beam, anchor, merged.get(beam.tail, 0.0), alike.get(beam.tail, ()))
        for beam in leaves
    )
    root = _Node(anchor)
    nodes = {anchor.tail: root}
    for beam in heads:
        _hang(nodes, beam)
    for tail, extra in merged.items():
        nodes[tail].extra = extra
    for tail, others in alike.items():
        _fold_in(nodes, tail, others)
    coverage = _coverage(root)
    for beam in banned:
        if beam.parent is not None and beam.parent.tail in nodes:
            _hang(nodes, beam)
    settled = 0
    for suggestion in suggestions:
        if suggestion.finish == "open" or math.exp(suggestion.logprob) < bound:
            break
        settled += 1
    return View(
        suggestions=suggestions,
        branches=_branches(root),
        settled=len(suggestions) if done else settled,
        bound=0.0 if done and not suggestions else bound,
        coverage=coverage,
        done=done,
        looked_at=looked_at,
        spent=spent,
    )


def _leaves(searches: Sequence[SearchLeaves]) -> list[Beam]:
    """What to draw, most probable first; a branch that was gone on from is no leaf any more."""
    chosen: dict[Tail, Beam] = {}
    for finished, waiting, goal in searches:
        beams = [*finished, *waiting[: max(goal - len(finished), 0)]]
        chosen.update((beam.tail, beam) for beam in beams if beam.tail)
    leaves = list(chosen.values())
    if len(searches) > 1:
        # Only a branch that was gone on from can hang above another search's leaf.
        inner = {tail[:size] for tail in chosen for size in range(1, len(tail))}
        leaves = [beam for beam in leaves if beam.tail not in inner]
    return sorted(leaves, key=likeliest_first)


def _text_key(beam: Beam) -> tuple[bytes, bytes, bool, Tail]:
    """Equal for leaves that mean the same to a reader. Unwritten residue and open ones never do."""
    tail = beam.tail if beam.residue or beam.finish == "open" else ()
    return beam.data, beam.residue, beam.finish == "end", tail


def _merge(leaves: Sequence[Beam]) -> tuple[list[Beam], dict[Tail, float]]:
    """The first leaf of each text, and by its tail the probability of the later equal ones."""
    first: dict[tuple[bytes, bytes, bool, Tail], Beam] = {}
    merged: dict[Tail, float] = {}
    for beam in leaves:
        head = first.setdefault(_text_key(beam), beam)
        if head is not beam:
            merged[head.tail] = merged.get(head.tail, 0.0) + math.exp(beam.logprob)
    return list(first.values()), merged


def _suggestion(beam: Beam, anchor: Beam, merged: float, alike: Sequence[Beam]) -> Suggestion:
    return Suggestion(
        beam.tail,
        beam.steps,
        beam.data,
        beam.logprob,
        beam.finish,
        merged,
        alike=tuple(dict.fromkeys(one.data for one in alike)),
        alike_p=_mass(alike),
        residue=anchor.residue,
    )


def _mass(beams: Sequence[Beam]) -> float:
    return math.fsum(math.exp(beam.logprob) for beam in beams)


def _fold_in(nodes: Mapping[Tail, _Node], tail: Tail, others: Sequence[Beam]) -> None:
    """Note these with the leaf, and whose probability no row of the tree has otherwise."""
    leaf = nodes[tail]
    leaf.alike = others
    for beam in others:
        depth = next(size for size in range(len(beam.tail), -1, -1) if beam.tail[:size] in nodes)
        if beam.tail[:depth] == tail[:depth]:
            leaf.beside.append((depth, math.exp(beam.logprob)))


def _hang(nodes: dict[Tail, _Node], leaf: Beam) -> None:
    """Put a leaf into the tree, upwards to the first node that hangs there already."""
    node = nodes.setdefault(leaf.tail, _Node(leaf))
    node.beam = leaf
    beam = leaf
    while beam.parent is not None:
        above = nodes.get(beam.parent.tail)
        known = above is not None
        if above is None:
            above = nodes[beam.parent.tail] = _Node(beam.parent)
        above.children[beam.tail[-1]] = node
        if known:
            return
        node, beam = above, beam.parent


def _branches(parent: _Node) -> tuple[Branch, ...]:
    shown = (one for child in parent.children.values() for one in _shown(child))
    return _joined(_branch(parent, node) for node in shown)


def _joined(rows: Iterable[Branch]) -> tuple[Branch, ...]:
    """Sibling rows in their order. Of forks with equal text, spelled by other tokens, the likeliest
    is drawn, and what hangs below the others hangs below it."""
    spelled: dict[bytes | Tail, list[Branch]] = {}
    for row in sorted(rows, key=_order):
        fork = bool(row.children) and not row.banned
        spelled.setdefault(row.data if fork else row.tail, []).append(row)
    return tuple(sorted(map(_join, spelled.values()), key=_order))


def _join(same: Sequence[Branch]) -> Branch:
    if len(same) == 1:
        return same[0]
    p = math.fsum(row.p for row in same)
    shares = [row.p / p if p > 0 else 0.0 for row in same]
    below = (
        replace(child, p=child.p * share)
        for row, share in zip(same, shares, strict=True)
        for child in row.children
    )
    joint = float(np.logaddexp.reduce([row.logprob for row in same]))
    return replace(same[0], p=min(p, 1.0), logprob=joint, children=_joined(below))


def _order(row: Branch) -> tuple[bool, float, Tail]:
    """What is banned comes after what is not."""
    return bool(row.banned), -row.p, row.tail


def _branch(parent: _Node, node: _Node) -> Branch:
    """One row: tokens run together until the tree forks, ends, or goes on from a grown branch."""
    steps: list[Step] = []
    shown = b""
    while True:
        if node.beam.step is not None:
            steps.append(node.beam.step)
        shown += node.beam.shown
        if len(node.children) != 1:
            break
        node = next(iter(node.children.values()))
    joint = math.exp(node.beam.logprob) + node.extra
    joint += sum(p for depth, p in node.beside if depth >= len(parent.beam.tail))
    above = math.exp(parent.beam.logprob)
    return Branch(
        tail=node.beam.tail,
        steps=tuple(steps),
        data=shown,
        p=min(joint / above, 1.0) if above > 0 else 0.0,
        logprob=node.beam.logprob,
        children=_branches(node),
        finish=None if node.children else node.beam.finish,
        banned=node.beam.banned,
        alike=len({one.data for one in node.alike}),
        alike_p=_mass(node.alike),
        healed=healed(parent.beam.residue, shown) if parent.beam.step is None else None,
    )


def taken(branches: Sequence[Branch], *, masked: bool) -> tuple[int, float]:
    """How many of these rows and those below are banned, and the joint probability they take.

    `masked`: a constraint is in force, so that the probabilities of what may stand are given that,
    and are taken back to the raw model's.
    """
    count, mass = 0, 0.0
    for row in branches:
        free = row.steps[:-1] if row.banned == CONSTRAINT else row.steps
        share = math.prod(step.permitted for step in free) if masked else 1.0
        if row.banned:
            above, further = 1, row.p
        else:
            above, further = taken(row.children, masked=masked)
            further *= row.p
        count, mass = count + above, mass + share * further
    return count, mass


def _coverage(root: _Node) -> tuple[float, ...]:
    """Mass held by the tree at each depth, in tokens that show text; ended branches keep theirs."""
    covered: list[float] = []
    level = list(root.children.values())
    while level:
        level = [shown for node in level for shown in _shown(node)]
        covered.append(min(sum(math.exp(node.beam.logprob) + node.extra for node in level), 1.0))
        if all(not node.children for node in level):
            break
        level = [child for node in level for child in (node.children.values() or [node])]
    return tuple(covered)


def _shown(node: _Node) -> list[_Node]:
    """The node, or what follows it where all its text so far only re-encodes the residue."""
    step = node.beam.step
    if node.beam.data or not node.children or (step is not None and step.special):
        return [node]
    return [shown for child in node.children.values() for shown in _shown(child)]
