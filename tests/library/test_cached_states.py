"""Cached states in the open: each is derived from a token path, and changes no figure."""

from __future__ import annotations

from pathlib import Path

import pytest

import llterm

STORY = "Once upon a time there was a fox who lived in a forest near the river. " * 12
OTHER = "The sea was calm and the ships were sailing home. " * 12


def figures(model: llterm.Model) -> list[float]:
    return [place.logprob for place in model.next(STORY, 5)]


def push_out(model: llterm.Model) -> None:
    """Ask about so many other texts that what is not kept is let go."""
    for number in range(5):
        model.next(OTHER + str(number) * 80, 1)


@pytest.mark.parametrize("name", ["fable", "fable-q8_0"])
def test_what_is_pinned_saved_and_loaded_is_not_evaluated_again(name: str, tmp_path: Path) -> None:
    file = tmp_path / "story.state"
    with llterm.open(name) as model:
        assert model.cached(STORY).tokens == 0
        evaluated = model.prefill(STORY)
        size = model.cached(STORY).tokens
        assert len(model.tokenize(STORY)) <= size <= evaluated
        assert model.prefill(STORY) <= 2
        expected = figures(model)
        model.pin(STORY)
        push_out(model)
        assert model.cached(STORY).pinned
        before = model.spent.tokens
        assert figures(model) == expected
        assert model.spent.tokens - before <= 3
        model.save(STORY, file)
        assert model.release(STORY)
        assert not model.release(STORY)
        push_out(model)
        assert model.cached(STORY).tokens < size // 2
    with llterm.open(name) as model:
        assert model.load(file) == size
        before = model.spent.tokens
        loom = model.loom(STORY)
        assert model.cached(loom.root).pinned
        assert figures(model) == expected
        assert model.spent.tokens - before <= 3
        push_out(model)
        assert figures(model) == expected


def test_a_state_is_taken_by_its_own_model_alone(model: llterm.Model, tmp_path: Path) -> None:
    file, harmed = tmp_path / "a.state", tmp_path / "harmed.state"
    model.save("The fox", file)
    model.release("The fox")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    harmed.write_bytes(data)
    with pytest.raises(llterm.UsageError, match="is damaged"):
        model.load(harmed)
    harmed.write_bytes(file.read_bytes()[:40])
    with pytest.raises(llterm.UsageError, match="is damaged"):
        model.load(harmed)
    harmed.write_bytes(b"x" * 100)
    with pytest.raises(llterm.UsageError, match="holds no state"):
        model.load(harmed)
    with pytest.raises(llterm.UsageError, match="cannot be read"):
        model.load(tmp_path / "none.state")
    with (
        llterm.open("fable-q8_0") as other,
        pytest.raises(llterm.UsageError, match="not of this model"),
    ):
        other.load(file)
    with llterm.open("scripted") as other:
        assert other.prefill("The fox") >= 0
        with pytest.raises(llterm.CapabilityMissing, match="does not show"):
            other.cached("The fox")
