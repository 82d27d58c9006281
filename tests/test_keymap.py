"""Keys by action id; mistakes are refused by name."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from llterm.errors import ConfigError
from llterm.key_names import NEVER, split_keys
from llterm.keymap import ACTIONS, PANES, _refuse_clashes, resolve


def test_the_default_keys_are_sound() -> None:
    assert max(Counter(action.id for action in ACTIONS).values()) == 1
    assert all(action.where in PANES and action.help for action in ACTIONS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_0-9]+", action.id) for action in ACTIONS)
    _refuse_clashes(resolve({}), str)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_each_action_has_a_key_that_every_terminal_sends(action: object) -> None:
    """A person may write the default keys down as their own, which checks each of them."""
    from llterm.keymap import Action

    assert isinstance(action, Action)
    assert not set(split_keys(action.keys)) & set(NEVER)
    own = ",".join(filter(None, (action.keys, action.tree_keys)))
    default, written = resolve({}), resolve({action.id: own})
    for pane in PANES:
        assert written.keys(action, pane) == default.keys(action, pane)


def test_own_keys_replace_the_default_ones() -> None:
    rows = {
        action.id: (keys, tree) for action, keys, tree in resolve({"weave.start": "f18"}).rows()
    }
    assert rows["weave.start"] == (("f18",), ())
    assert rows["weave.stop"] == (("ctrl+g",), ())


@pytest.mark.parametrize(
    ("id", "keys", "title", "hint"),
    [
        ("weave.strat", "f6", "weave.strat", "weave.start"),
        ("weave.start", "ctrl+h", "backspace", "keys --test"),
        ("weave.start", "ctrl+i", "tab", "keys --test"),
        ("weave.start", "ctrl+m", "enter", "keys --test"),
        ("weave.start", "Ctrl+M", "enter", "keys --test"),
        ("weave.start", "shift+f3", "cursor report", "keys --test"),
        ("weave.start", "ctrl+entr", "ctrl+entr", "ctrl+enter"),
        ("weave.start", "crtl+x", "crtl+x", "ctrl+x"),
        ("weave.start", "ctrl+enter", "cannot send", "function key"),
        ("weave.start", "ctrl+shift+a,alt+1", "cannot send", "function key"),
        ("weave.start", "x", "belongs to the text", "ctrl"),
        ("weave.start", "space", "belongs to the text", "ctrl"),
        ("weave.start", " , ", "No key", "one key"),
        ("weave.start", "ctrl+q", "both weave.start and app.quit", "another key"),
        ("tree.toggle", "left", "both tree.toggle and tree.collapse", "another key"),
    ],
)
def test_mistakes_are_refused_by_name(id: str, keys: str, title: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({id: keys}, lambda one: f"here.toml:7 ({one})")
    assert title in caught.value.title
    assert hint in caught.value.hint
    assert "here.toml:7" in caught.value.cause


def test_an_alias_may_stand_beside_a_safe_key() -> None:
    assert resolve({"weave.start": "ctrl+enter, f18"}).own == {"weave.start": "ctrl+enter,f18"}


def test_letters_and_arrows_count_in_the_tree_only() -> None:
    keymap = resolve({"weave.start": "f18,x,Z"})
    action = next(one for one in ACTIONS if one.id == "weave.start")
    assert keymap.keys(action, "everywhere") == ("f18",)
    assert keymap.keys(action, "story") == ()
    assert keymap.keys(action, "suggestions") == ("x", "Z")


def test_two_actions_may_swap_keys() -> None:
    own = {"weave.start": "ctrl+g", "weave.stop": "ctrl+j"}
    assert resolve(own).own == own
