"""The birth of a token is kept with what was true then, whatever way it came."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest

from llterm.cli.export_import import run_export
from llterm.constraints.spec import choices
from llterm.core.provenance import (
    WAYS,
    Arrival,
    Provenance,
    provenance_text,
    read_arrival,
    read_provenance,
)
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.suggestion_tree import Branch
from llterm.formats.exports import ExportOptions
from llterm.session.document import Document
from llterm.session.inspection import TokenProvenance, accept_but, born_at, force
from llterm.session.saved_samples import pack_samples, unpack_samples
from llterm.session.session import Session
from tests.helpers.known_tokens import tokens_of
from tests.helpers.sessions import TEXT, draw_by, greedy_session, stepped

FULL = Provenance(
    {"depth": 3},
    (((5, b" x", -1.0),),),
    ((b" y", -2.0),),
    ("one",),
    (Arrival("drawn", 0.25, 12),),
)


async def woven(begun: Session) -> Branch:
    begun.weave()
    await begun.wait()
    assert begun.view is not None
    return begun.view.branches[0]


def born(begun: Session, start: int = len(TEXT)) -> TokenProvenance:
    provenance = born_at(begun.document, start)
    assert provenance is not None
    return provenance


async def accepted() -> Session:
    begun = greedy_session(TEXT)
    begun.accept((await woven(begun)).tail)
    return begun


async def drawn() -> Session:
    begun = greedy_session(TEXT + b" river")
    draw_by(begun, PRESETS["creative"])
    return await stepped(begun)


async def greedy() -> Session:
    return await stepped(greedy_session())


async def forced() -> Session:
    begun = greedy_session(TEXT)
    await begun.set_constraint(choices(["7"]))
    return await stepped(begun)


async def picked() -> Session:
    begun = await accepted()
    source = begun.model
    (id,) = tokens_of(source.vocabulary, b" sea")
    force(begun, len(TEXT), id, -3.0)
    return begun


MAKERS = {
    "accepted": accepted,
    "drawn": drawn,
    "first choice": greedy,
    "forced": forced,
    "picked": picked,
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_is_kept(way: str) -> None:
    begun = await MAKERS[way]()
    made = [
        token
        for start in range(len(begun.document.text.encode()))
        if (token := born_at(begun.document, start)) is not None
    ]
    assert way in {token.arrival.way for token in made}
    for token in made:
        assert token.arrival.way in WAYS
        assert token.model == "scripted"
        assert token.logprob is not None
        chance = token.arrival.way in ("drawn", "first choice", "forced")
        assert (token.arrival.p_final is not None) == chance
        assert token.arrival.kept is None or token.arrival.kept >= 1
    for piece in begun.document.loom.pieces.texts:
        whole = begun.document.loom.pieces[piece]
        if whole.ids is not None:
            assert len(begun.document.undo_log.birth(piece).arrivals) == len(whole.ids)


async def test_a_sampled_line_keeps_it() -> None:
    begun = greedy_session()
    draw_by(begun, PRESETS["creative"])
    begun.samples.start(2, 4, sentence=False)
    await begun.samples.task.wait()
    assert begun.view is not None
    row = next(one for one in begun.view.branches if one.sampled)
    assert begun.shown is not None
    packed = pack_samples(begun.shown.weave, begun.shown.samples, begun.model)
    kept = unpack_samples(packed, begun.shown.weave, begun.model)
    assert [one.arrivals for one in kept] == [one.arrivals for one in begun.shown.samples]
    begun.accept(row.tail)
    assert born(begun).arrival.way in ("drawn", "first choice")


async def test_another_token_in_a_suggestion_is_picked() -> None:
    begun = greedy_session()
    row = await woven(begun)
    (id,) = tokens_of(begun.model.vocabulary, b" sea")
    accept_but(begun, row.tail, 1, id, -4.0)
    piece = begun.document.loom.pieces[begun.document.loom.nodes[begun.document.loom.head].piece]
    ways = [one.way for one in begun.document.undo_log.birth(piece.id).arrivals]
    assert ways[-1] == "picked"
    assert set(ways[:-1]) <= {"accepted", "forced"}


def test_every_field_of_a_birth_survives_the_loom() -> None:
    assert all(getattr(FULL, one.name) for one in fields(Provenance)), "each has something to lose"
    assert read_provenance(provenance_text(FULL)) == FULL


def test_births_of_earlier_versions_and_odd_ones_are_read() -> None:
    old = json.loads(provenance_text(FULL))
    del old["arrivals"]
    assert read_provenance(json.dumps(old)).alternatives == FULL.alternatives
    assert read_provenance(json.dumps(old)).arrivals == ()
    for row in (["klingon", 2.0, -1], ["drawn", math.nan, True], [1, "x", 1.5]):
        arrival = read_arrival(row)
        assert (arrival.p_final, arrival.kept) == (None, None)
        assert arrival.way in ("", *WAYS)
    assert read_provenance('{"arrivals": [3]}') == Provenance()


async def test_the_open_form_brings_it_back(tmp_path: Path) -> None:
    path = tmp_path / "one.loom"
    begun = greedy_session(TEXT)
    document = Document.create(path, TEXT, begun.document.rules)
    other = Session(document)
    other.attach(begun.model)
    draw_by(other, PRESETS["creative"])
    await stepped(other)
    was = born(other)
    await other.close()
    run_export(path, "json", tmp_path / "one.json", ExportOptions())
    *_, token = [
        token
        for piece in json.loads((tmp_path / "one.json").read_text())["pieces"]
        for token in piece.get("tokens", [])
    ]
    assert token["arrival"] == {
        "way": was.arrival.way, "p_final": was.arrival.p_final, "kept": was.arrival.kept,
    }  # fmt: skip
