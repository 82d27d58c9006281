"""Whatever is set in one loom is in force in no other one, in no new one, and in no command."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from llterm import paths
from llterm.cli.settings import load, load_app
from llterm.config.sampling_values import all_changed, value_of
from llterm.config.schema import SAMPLING, WEAVE
from llterm.config.setting import Setting, Value
from llterm.constraints.spec import choices
from llterm.core.chat_messages import Chat
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.loom_models import chosen_model
from llterm.state import PERSONAL
from llterm.store.stored_settings import KEPT
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.launch import Launch
from llterm.ui.llterm_app import open_document
from tests.helpers.driven_app import Driven, Start
from tests.helpers.program import run

OLD_STATE = """
model = "scripted"
[weave]
depth = 3
[sampling]
preset = "mine"
temperature = 0.0
ban = ["lamp", " the"]
ban_newline = true
bias = [" cat=-5"]
[presets.mine]
temperature = 2.0
order = ["temperature"]
"""
"""As an llterm wrote it that put a story's choices in force everywhere."""
MIXED = ("-m", "fable", "-m", "fable-q8_0")
COMMANDS = (
    ("suggest", "--prompt", "The old lamp", "--depth", "2", "--format", "text"),
    ("sample", "--prompt", "The old lamp", "--tokens", "4", "--seed", "1"),
    ("score", "--prompt", "The old lamp"),
    ("mix", "--prompt", "The old lamp", "--tokens", "3", "--seed", "1", *MIXED),
)
REMEMBERED = {"loom-models.json", "recent.json", "state.toml", "llterm.log"}
"""Files beside looms that the app may write in: each is looked into below, but for the log and the
list of looms, which hold no choice."""


def other(row: Setting) -> Value:
    """A value that may stand there and is not the default."""
    candidates: list[object] = [True, False, 1, 7, 0.25, ["x=1"], "creative", *row.choices]
    candidates += [[choice] for choice in row.choices]
    for candidate in candidates:
        try:
            value = row.check(candidate)
        except ValueError:
            continue
        if value != row.default:
            return value
    raise AssertionError(f"nothing to set {row.name} to")


async def set_rules(at: Driven) -> None:
    rules = WeaveSettings(**{row.attribute: other(row) for row in WEAVE})  # type: ignore[arg-type]
    at.session.set_rules(rules)


async def set_sampling(at: Driven) -> None:
    """Every knob, ban and bias; and by key another preset before."""
    await at.press("ctrl+k")
    await at.opened(SamplerDialog)
    await at.press("p", "escape")
    values = {row.name: other(row) for row in SAMPLING if row.name != "preset"}
    at.session.set_sampling(all_changed(at.session.sampling, values, at.session.presets))


async def set_chat(at: Driven) -> None:
    at.session.set_chat(Chat("Be brief.", "Tell of a cat."))


async def set_constraint(at: Driven) -> None:
    await at.session.set_constraint(choices([" sat by the lamp"]))


async def set_prefix(at: Driven) -> None:
    at.session.set_prefix("A tale of a cat.")


async def set_tree(at: Driven) -> None:
    """Another branch, where the story ends, with the tree shown from there, and the cursor back."""
    branches, loom = at.session.document.branches, at.session.document.loom
    at.session.reshape(lambda: at.session.document.choose(branches.sibling(loom.head, " A dog.")))
    branches.hoist(loom.head)
    at.session.move(3)


async def set_model(at: Driven) -> None:
    """One that wrote some of the story, then another by Alt+M."""
    await at.weave()
    await at.press("tab")
    await at.press("alt+m")
    dialog = await at.opened(ModelsDialog)
    await at.until(lambda: dialog.options.option_count)
    names = [str(option.prompt) for option in dialog.options.options]
    dialog.options.highlighted = next(n for n, line in enumerate(names) if " fable-q8_0 " in line)
    await at.press("enter")
    await at.until(lambda: at.session.source and at.session.source.name == "fable-q8_0")


SET: Mapping[str, Callable[[Driven], Any]] = {
    "model": set_model,
    "head": set_tree,
    "hoisted": set_tree,
    "cursor": set_tree,
    "next_node": set_tree,
    "rules": set_rules,
    "sampling": set_sampling,
    "chat": set_chat,
    "constraint": set_constraint,
    "prefix": set_prefix,
}
"""How each of what a loom keeps is set."""
COUNTED = {"revision"}
"""What is counted at each write, and nobody sets."""


def test_every_kind_that_a_loom_keeps_is_in_the_walk() -> None:
    assert SET.keys() == KEPT.keys() - COUNTED, (
        "say how it is set; the walk then shows whom it reaches"
    )


def kept(document: Document) -> dict[str, Any]:
    return dict(document.whole().changes().meta)


def new_loom(start: Start, name: str) -> dict[str, Any]:
    """What a loom that is begun in the app holds."""
    config = load_app()
    launch = Launch(
        start.folder / name, b"A boat", None, None, config, lambda *_: NotImplemented, "", False
    )  # fmt: skip
    document = open_document(launch)
    try:
        return kept(document)
    finally:
        document.close()


def files(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


async def test_what_is_set_in_one_loom_reaches_nothing_else(
    start: Start, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    Document.create(home / "other.loom", b"A boat").close()
    before = [run(home, *command).out for command in COMMANDS]
    assert all(before)
    begun, config, app_config = new_loom(start, "begun.loom"), load(), load_app()
    start.config = app_config
    async with start() as at:
        fresh = kept(at.session.document)
        others = files(home)
        for set_it in dict.fromkeys(SET.values()):
            await set_it(at)
        changed = kept(at.session.document)
        untouched = {name for name in SET if changed.get(name) == fresh.get(name)}
        assert not untouched, "the walk does not set it"
        default, sampling = app_config.sampling, at.session.sampling
        same = {row.name for row in SAMPLING
                if value_of(sampling, row.name) == value_of(default, row.name)}  # fmt: skip
        assert not same, "the walk does not set it"
        rules = at.session.document.rules
        assert not {
            one.name for one in fields(WeaveSettings)
            if getattr(rules, one.name) == getattr(app_config.weave, one.name)
        }  # fmt: skip
    loom = home / "cat.loom"
    written = {path for path, data in files(home).items() if others.get(path) != data}
    strange = {path for path in written if path.stem != "cat" and not path.name.startswith("cat.")}
    assert {path.name for path in strange} <= REMEMBERED
    assert chosen_model(loom) == "fable-q8_0"
    assert chosen_model(home / "other.loom") is None
    if paths.state_file().exists():
        assert tomllib.loads(paths.state_file().read_text()).keys() <= set(PERSONAL)
    assert (load(), load_app()) == (config, app_config)
    assert new_loom(start, "after.loom") == begun
    paths.state_file().write_text(OLD_STATE, encoding="utf-8")
    assert [run(home, *command).out for command in COMMANDS] == before
