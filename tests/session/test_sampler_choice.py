"""How tokens are drawn, as a session keeps it: a step of the history, and kept in the loom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.errors import BackendUnavailable
from llterm.session.document import Document
from llterm.session.sampler_choice import SamplerChoice
from llterm.session.session import Session

WILD = Sampling(
    replace(PRESETS["creative"], temperature=1.4, seed=7, order=("top_p", "temperature")),
    None,
    Bans(newline=True, phrases=("once upon",)),
    ((" cat", -2.5),),
    40,
)


def test_a_loom_without_settings_of_its_own_follows_the_configuration() -> None:
    configured = Sampling().under("greedy", PRESETS)
    document = Document.scratch(b"A story")
    assert Session(document, SamplerChoice(document, configured)).sampling == configured
    assert Session(document).sampling.label == "balanced"


def test_settings_are_steps_of_the_history() -> None:
    session = Session(Document.scratch(b"A story"))
    session.set_sampling(first := session.sampling.under("creative", PRESETS))
    warmer = replace(first, settings=replace(first.settings, temperature=1.0), preset=None)
    warm = replace(first, settings=replace(first.settings, temperature=1.3), preset=None)
    session.set_sampling(warmer)
    session.set_sampling(warm)
    session.set_sampling(WILD)
    assert session.sampling == WILD
    session.undo()
    assert session.sampling == warm
    session.undo()
    assert session.sampling == first
    session.redo()
    assert session.sampling == warm


def test_settings_come_back_with_the_loom(tmp_path: Path) -> None:
    session = Session(Document.create(tmp_path / "a.loom", b"A story"))
    session.set_sampling(WILD)
    session.document.close()
    again = Document.open(tmp_path / "a.loom")
    assert Session(again).sampling == WILD
    again.close()


def test_a_preset_is_a_chain_and_leaves_the_rest_alone() -> None:
    chosen = WILD.under("reliable", PRESETS)
    assert (chosen.settings.temperature, chosen.settings.order) == (
        0.25,
        PRESETS["reliable"].order,
    )
    assert (chosen.settings.seed, chosen.bans, chosen.bias) == (7, WILD.bans, WILD.bias)
    assert chosen.label == "reliable"


def test_a_chain_that_equals_a_preset_carries_its_name() -> None:
    balanced = Sampling()
    custom = balanced.with_settings(replace(balanced.settings, top_p=0.5), PRESETS)
    assert custom.label == "custom"
    assert custom.with_settings(replace(custom.settings, top_p=0.8), PRESETS).label == "balanced"


async def test_bans_hold_for_suggestions_at_once_and_undo_takes_them_back() -> None:
    session = Session(Document.scratch(b"The maker went to the"))
    backend = ScriptedBackend()
    session.attach(backend)
    session.weave()
    await session.wait()
    before = session.view
    assert before is not None
    assert any(b"river" in one.data for one in before.suggestions)
    decodes = backend.spent.decodes
    session.set_sampling(replace(session.sampling, bans=Bans(phrases=("River",))))
    view = session.view
    assert view is not None
    assert view.suggestions
    assert not any(b"river" in one.data for one in view.suggestions)
    assert backend.spent.decodes == decodes
    session.weave()
    await session.wait()
    view = session.view
    assert view is not None
    assert len(view.suggestions) == len(before.suggestions)
    assert not any(b"river" in one.data for one in view.suggestions)
    session.show_banned(True)
    view = session.view
    assert view is not None
    assert any(row.banned == 'banned "River"' for row in view.branches)
    session.show_banned(False)
    session.undo()
    view = session.view
    assert view is not None
    assert [one.data for one in view.suggestions] == [one.data for one in before.suggestions]
    await session.close()


async def test_the_chain_is_made_for_the_model_and_kept() -> None:
    session = Session(Document.scratch(b"A story"))
    with pytest.raises(BackendUnavailable):
        await session.chain()
    session.attach(ScriptedBackend())
    chain = await session.chain()
    assert chain is await session.chain()
    assert chain.sampling == session.sampling
    session.set_sampling(WILD)
    assert (await session.chain()).sampling == WILD
