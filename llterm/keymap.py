"""Every action a key can run: ids, default keys, help lines. Pure data, and its validation.

Ids are the public contract: `[keys]` in the configuration gives an id other keys. Textual accepts
unknown ids and keys that no terminal can send without a word, so both are refused here, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from llterm.errors import ConfigError
from llterm.key_names import (
    BROWSERS_OWN,
    NEVER,
    canonical,
    is_key,
    is_safe,
    is_text,
    nearest,
    split_keys,
)

Pane = Literal["everywhere", "story", "suggestions", "heat", "loom", "mix"]
PANES: tuple[Pane, ...] = ("everywhere", "story", "suggestions", "heat", "loom", "mix")
LETTERED: tuple[Pane, ...] = ("suggestions", "heat", "loom", "mix")
"""Panes where nothing is typed: letters are free for actions."""
IN_LOOM = frozenset(
    {
        "app.back", "app.export", "app.help", "app.import", "app.log", "app.looms", "app.loom",
        "app.palette", "app.quit", "app.save", "edit.copy", "edit.find", "edit.redo", "edit.undo",
        "tree.collapse", "tree.expand", "tree.first", "tree.last", "tree.page_down",
        "tree.page_up", "tree.parent", "tree.toggle",
    }
)  # fmt: skip
"""Actions that the loom screen has too, with the keys of the suggestion tree."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do by key."""

    id: str
    keys: str
    """Default keys in `where`, joined by commas; the first is the one that is shown."""
    where: Pane
    help: str
    footer: str = ""
    """A word or two for the bottom line; empty keeps it out of there."""
    tree_keys: str = ""
    """Further default keys while the suggestion tree has the focus, where letters are free."""


ACTIONS: tuple[Action, ...] = (
    Action("weave.start", "ctrl+j,ctrl+enter", "everywhere", "Weave at the cursor", "weave", "w"),
    Action("weave.stop", "ctrl+g", "everywhere", "Stop the weave; what it found stays", "stop"),
    Action("weave.again", "ctrl+r", "everywhere", "Weave again at the cursor", tree_keys="r"),
    Action("weave.grow", "f6", "everywhere", "Grow the highlighted branch further", "", "g"),
    Action("weave.autopilot", "R", "suggestions", "Autopilot: weave and accept, some rounds; stop"),
    Action("weave.sample", "alt+s", "everywhere", "Draw samples, side by side", "", "S"),
    Action(
        "weave.sentences",
        "alt+n",
        "everywhere",
        "Sentence beams: pick from whole sentences",
        "",
        "B",
    ),
    Action(
        "weave.classify", "alt+g", "everywhere", "What the model would call it: labels", "", "F"
    ),
    Action("weave.keep_lines", "P", "suggestions", "Keep the other samples as branches"),
    Action("weave.diverse", "D", "suggestions", "Only suggestions that differ in wording, or all"),
    Action("weave.cutoff_down", "f9", "everywhere", "Lower the cutoff: more suggestions", "", "-"),
    Action(
        "weave.cutoff_up", "f10", "everywhere", "Raise the cutoff: fewer suggestions", "", "+,="
    ),
    Action("weave.clear", "X", "suggestions", "Put the suggestions away; weaving brings them back"),
    Action("suggestion.accept", "tab", "story", "Accept the suggestion", "accept", "enter"),
    Action("suggestion.accept_token", "right", "story", "Accept one token", "one token", "a"),
    Action("suggestion.accept_word", "ctrl+right", "story", "Accept one word", "one word", "A"),
    Action(
        "suggestion.go_on",
        "shift+tab",
        "story",
        "Accept it and go on from here; the text after it stays a branch",
        "",
        "f",
    ),
    Action("suggestion.next", "ctrl+n,alt+down", "everywhere", "Next suggestion", "", "j,down"),
    Action("suggestion.prev", "ctrl+t,alt+up", "everywhere", "Previous suggestion", "", "k,up"),
    Action("suggestion.next_sibling", "J,shift+down", "suggestions", "Next branch of this fork"),
    Action("suggestion.prev_sibling", "K,shift+up", "suggestions", "Previous branch of this fork"),
    Action(
        "suggestion.edit", "f3", "everywhere", "Edit the suggestion, then accept it", "edit", "e"
    ),
    *(
        Action(f"suggestion.pick_{n}", str(n), "suggestions", f"Accept suggestion number {n}")
        for n in range(1, 10)
    ),
    Action(
        "heat.toggle",
        "f4",
        "everywhere",
        "What the model sees: open it, go there, close it",
        "heat",
        "v",
    ),
    Action("heat.left", "left,h", "heat", "The token before"),
    Action("heat.right", "right,l", "heat", "The token after"),
    Action("heat.first", "home", "heat", "The first token"),
    Action("heat.last", "end,G", "heat", "The last token"),
    Action("heat.page_left", "pageup,b", "heat", "Tokens further left"),
    Action("heat.page_right", "pagedown,f", "heat", "Tokens further right"),
    Action("heat.up", "up,k", "heat", "A likelier candidate"),
    Action("heat.down", "down,j", "heat", "A less likely candidate"),
    Action(
        "heat.force",
        "enter",
        "heat",
        "Let the candidate stand here; the old text stays a branch",
        "put it here",
    ),
    Action(
        "heat.next_surprise",
        "n",
        "heat",
        "The next surprise: 6 bits or more, less likely than one in 64",
        "next surprise",
    ),
    Action("heat.prev_surprise", "N", "heat", "The surprise before"),
    Action(
        "heat.hottest", "s", "heat", "The most surprising token; again: the next most", "hottest"
    ),
    Action(
        "heat.next_fork",
        "right_square_bracket",
        "heat",
        "The next fork: entropy of 3 bits or more, or a second choice of 25% or more",
        "next fork",
    ),
    Action("heat.prev_fork", "left_square_bracket", "heat", "The fork before"),
    Action("heat.futures", "d", "heat", "Whether it matters which candidate comes: their futures"),
    Action("heat.measure", "m", "heat", "Surprisal, probability, rank or entropy", "measure"),
    Action("heat.chart", "c", "heat", "The measure as a chart, or the candidates"),
    Action(
        "heat.inspect",
        "i,space",
        "heat",
        "Every candidate, and what the samplers leave of it",
        "inspect",
    ),
    Action(
        "heat.write",
        "t",
        "heat",
        "Let a text of your own stand here; the old text stays a branch",
    ),
    Action(
        "heat.attribute",
        "a",
        "heat",
        "What led to this token, or to the candidate: attention, leaving tokens out, gradients",
        "why",
    ),
    Action("play.step", "ctrl+d", "everywhere", "Let the model write one token", "", "full_stop"),
    Action(
        "play.toggle",
        "ctrl+backslash,ctrl+space",
        "everywhere",
        "Let the model write on; pause",
        "play",
        "p",
    ),
    Action("play.faster", "greater_than_sign", "suggestions", "Play faster"),
    Action("play.slower", "less_than_sign", "suggestions", "Play slower"),
    Action("mix.left", "left,h", "mix", "The token before"),
    Action("mix.right", "right,l", "mix", "The token after"),
    Action("mix.first", "home,g", "mix", "The first token"),
    Action("mix.last", "end,G", "mix", "After the last token"),
    Action("mix.page_left", "pageup", "mix", "Tokens further back"),
    Action("mix.page_right", "pagedown", "mix", "Tokens further on"),
    Action("mix.up", "up,k", "mix", "A likelier candidate"),
    Action("mix.down", "down,j", "mix", "A less likely candidate"),
    Action("mix.model", "tab", "mix", "The next model", "model"),
    Action("mix.prev_model", "shift+tab", "mix", "The model before"),
    Action(
        "mix.force",
        "enter",
        "mix",
        "Let the candidate stand here; the old text stays a branch",
        "put it here",
    ),
    Action(
        "mix.rewind",
        "backspace",
        "mix",
        "End the story before here; the rest stays a branch",
        "rewind",
    ),
    Action("mix.branch", "b", "mix", "Another branch that begins here"),
    Action(
        "mix.next_divergence",
        "n",
        "mix",
        "The next place where a model says something else",
        "next difference",
    ),
    Action("mix.prev_divergence", "N", "mix", "The place before where a model does"),
    Action("mix.worst", "w", "mix", "Where the model is furthest from the mix, or the reference"),
    Action("mix.mode", "m", "mix", "Democratic, round robin, or reference", "mode"),
    Action("mix.pool", "o", "mix", "Mean of the probabilities, or of their logs"),
    Action("mix.heavier", "+,=", "mix", "More weight for the model", "weight"),
    Action("mix.lighter", "-", "mix", "Less weight for the model; below 0 takes away"),
    Action("mix.plausible", "P", "mix", "Plausibility cutoff, where a weight is below 0"),
    Action("mix.mute", "x", "mix", "Leave the model out, or take it in again"),
    Action("mix.turn", "t", "mix", "Tokens a turn: 1, 2, 4, 8, 16"),
    Action("mix.reference", "R", "mix", "Make the model the reference"),
    Action("mix.retry", "r", "mix", "Try models again that failed"),
    Action("mix.measure", "c", "mix", "The charts' measure: top probability, mass, divergence"),
    Action("mix.table", "v", "mix", "Candidates here, or a table of places", "table"),
    Action("model.toggle", "o", "suggestions", "Let the model rest: nothing is evaluated; wake it"),
    Action("tree.toggle", "space", "suggestions", "Fold or unfold the branch"),
    Action("tree.collapse", "h,left", "suggestions", "Fold the branch, or go to its parent"),
    Action("tree.expand", "l,right", "suggestions", "Unfold the branch, or go into it"),
    Action("tree.first", "home", "suggestions", "First row"),
    Action("tree.last", "end,G", "suggestions", "Last row"),
    Action("tree.page_down", "pagedown", "suggestions", "A page down"),
    Action("tree.page_up", "pageup", "suggestions", "A page up"),
    Action("tree.banned", "b", "suggestions", "What bans and the constraint take, or hide it"),
    Action("tree.parent", "shift+left", "suggestions", "Go to the parent branch"),
    Action("loom.next", "down,j", "loom", "The next row"),
    Action("loom.prev", "up,k", "loom", "The row before"),
    Action("loom.next_sibling", "J,shift+down", "loom", "The next branch of this fork"),
    Action("loom.prev_sibling", "K,shift+up", "loom", "The branch of this fork before"),
    Action("loom.open", "enter", "loom", "Make this branch the story and write on there", "open"),
    Action("loom.choose", "c", "loom", "Make this branch the story and stay here"),
    Action("loom.view", "tab,m", "loom", "The tree as an outline or as a map", "map"),
    Action("loom.head", "g", "loom", "Go to where the story ends"),
    Action("loom.next_hit", "n", "loom", "The next place found"),
    Action("loom.prev_hit", "N", "loom", "The place found before"),
    Action("loom.bookmark", "b", "loom", "Bookmark the branch, or take the bookmark away", "mark"),
    Action("loom.next_bookmark", "right_square_bracket", "loom", "The next bookmark"),
    Action("loom.prev_bookmark", "left_square_bracket", "loom", "The bookmark before"),
    Action("loom.next_unread", "full_stop", "loom", "The next branch that nobody has read"),
    Action("loom.tag", "t", "loom", "The tags of the branch"),
    Action("loom.note", "o", "loom", "The note on the branch"),
    *(
        Action(f"loom.rate_{n}", str(n), "loom", f"Rate the branch {n}" if n else "No rating")
        for n in range(6)
    ),
    Action("loom.hoist", "z", "loom", "Show this branch alone, or the whole tree again"),
    Action("loom.sort", "s", "loom", "Sort the branches below: by time, probability, rating"),
    Action("loom.compare", "w", "loom", "Compare with the story; on the story: mark it", "compare"),
    Action("loom.classify", "f", "loom", "What the model would call the branch: labels"),
    Action("loom.alternative", "i", "loom", "Swap an alternative in for a token", "swap"),
    Action("loom.child", "a", "loom", "Write a branch below this one"),
    Action("loom.sibling", "A", "loom", "Write a branch beside this one"),
    Action("loom.split", "S", "loom", "Cut the branch in two"),
    Action("loom.merge", "M", "loom", "Merge the branch with its parent"),
    Action("loom.move", "v", "loom", "Take the branch up; there, hang it below the selected one"),
    Action("loom.clip", "C", "loom", "Delete the branch's text from a place on"),
    Action("loom.trim", "backspace", "loom", "Delete the branch's last token or word"),
    Action("loom.delete", "d,delete", "loom", "Delete the branch; undo brings it back", "delete"),
    Action("loom.delete_children", "D", "loom", "Delete all below the branch"),
    Action("loom.delete_siblings", "X", "loom", "Delete the other branches of this fork"),
    Action("loom.clear", "e", "loom", "Clear continuations that nobody has read"),
    Action("edit.undo", "ctrl+z", "everywhere", "Undo: text, tree and settings", "undo", "u"),
    Action("edit.redo", "ctrl+y", "everywhere", "Redo", "", "U"),
    Action("edit.copy", "ctrl+c", "everywhere", "Copy the selection, or the branch", "", "y"),
    Action("edit.find", "ctrl+f", "everywhere", "Find in the story", "", "/"),
    Action("edit.end_here", "alt+h", "everywhere", "End the story here; the rest stays a branch"),
    Action("edit.clear", "alt+a", "everywhere", "An empty page; the old text stays a branch"),
    Action("app.jump", "ctrl+o", "everywhere", "Go to another pane"),
    Action("app.back", "escape", "everywhere", "Stop; drop the ghost; back to the story"),
    Action(
        "app.stories",
        "ctrl+right_square_bracket",
        "everywhere",
        "Begin with a starting story",
        "",
        "s",
    ),
    Action("app.keep_story", "alt+k", "everywhere", "Keep it as a starting story of your own"),
    Action(
        "weave.constrain", "ctrl+l", "everywhere", "What suggestions must fit: a pattern, choices"
    ),
    Action(
        "app.loom",
        "alt+l",
        "everywhere",
        "The whole loom: every branch, as outline or map",
        "",
        "L",
    ),
    Action(
        "app.looms",
        "alt+o",
        "everywhere",
        "Looms: open, new, rename, duplicate, delete",
        "",
        "O",
    ),
    Action(
        "app.take_over",
        "alt+t",
        "everywhere",
        "Write here, where another llterm wrote: once that has ended or let go",
        "write here",
    ),
    Action("app.export", "alt+e", "everywhere", "Export the loom, or save it elsewhere", "", "E"),
    Action("app.import", "alt+i", "everywhere", "Import a file of another program", "", "I"),
    Action("app.mix", "alt+x", "everywhere", "Models side by side"),
    Action("app.models", "alt+m", "everywhere", "Choose another model", "", "m"),
    Action("app.chat", "alt+c", "everywhere", "What the story is a reply to: a chat", "", "c"),
    Action("app.chat_fold", "alt+v", "everywhere", "Show or fold the chat's tokens", "", "C"),
    Action("server.show", "alt+r", "everywhere", "What the model's server can tell, and what not"),
    Action("server.more", "alt+u", "everywhere", "More requests to the server at once"),
    Action("server.fewer", "alt+d", "everywhere", "Fewer requests to the server at once"),
    Action("app.prefix", "f7", "everywhere", "The hidden text before the story"),
    Action(
        "app.sampling",
        "ctrl+k",
        "everywhere",
        "How tokens are drawn: presets, knobs",
        "",
        "d",
    ),
    Action("app.settings", "f5", "everywhere", "Weave settings", "settings"),
    Action("app.theme", "t", "suggestions", "Choose a theme"),
    Action("app.count", "f11,alt+w", "everywhere", "Count words and tokens"),
    Action("app.editor", "f8", "everywhere", "Open the story in $EDITOR"),
    Action("app.save", "ctrl+s", "everywhere", "Write everything to the loom now"),
    Action("app.palette", "f2,ctrl+p", "everywhere", "All commands, by name", "", ":"),
    Action("app.help", "f1", "everywhere", "Help", "help", "?"),
    Action("app.log", "f12", "everywhere", "The log"),
    Action("app.quit", "ctrl+q,alt+q", "everywhere", "Quit; everything is saved"),
)

Place = Callable[[str], str]
"""Says where an id was given its keys, such as `llterm.toml, line 5`."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """The keys in force."""

    own: Mapping[str, str]
    """The person's keys by action id; they replace all default keys of that action."""

    browser: bool = False
    """Whether a browser passes the keys on: those that it keeps are left out where there are
    others."""

    def keys(self, action: Action, pane: Pane) -> tuple[str, ...]:
        """The keys that run an action while `pane` has the focus, those of `everywhere` left out
        unless that is the pane.

        Of the person's own keys, those that the text needs (letters, arrows, enter) count in the
        suggestion tree only, as the default ones do.
        """
        given = self._given(action, pane)
        if not self.browser:
            return given
        return tuple(key for key in given if key not in BROWSERS_OWN) or given

    def _given(self, action: Action, pane: Pane) -> tuple[str, ...]:
        if pane == "loom" and action.id in IN_LOOM:
            return self._given(action, "suggestions")
        if action.id not in self.own:
            shared = action.keys if pane == action.where else ""
            further = action.tree_keys if pane == "suggestions" else ""
            return split_keys(",".join(filter(None, (shared, further))))
        keys, default = split_keys(self.own[action.id]), split_keys(action.keys)
        if pane == action.where:
            return tuple(key for key in keys if key in default or not _of_text(action, key))
        if pane == "suggestions":
            everywhere = action.where == "everywhere"
            return tuple(
                key
                for key in keys
                if key not in default and (_of_text(action, key) or not everywhere)
            )
        return ()

    def rows(self) -> list[tuple[Action, tuple[str, ...], tuple[str, ...]]]:
        """Per action: keys where it belongs, and further keys in the suggestion tree."""
        rows = []
        for action in ACTIONS:
            keys = self.keys(action, action.where)
            tree = self.keys(action, "suggestions") if action.where not in LETTERED else ()
            rows.append((action, keys, tuple(key for key in tree if key not in keys)))
        return rows


def action_of(id: str) -> Action:
    """The action with this id. Raises KeyError."""
    match = next((action for action in ACTIONS if action.id == id), None)
    if match is None:
        raise KeyError(id)
    return match


def resolve(
    overrides: Mapping[str, str], place: Place = lambda _: "[keys]", *, browser: bool = False
) -> Keymap:
    """The keymap with the person's keys. Raises ConfigError for an id or key that cannot be."""
    own: dict[str, str] = {}
    for id, text in overrides.items():
        own[id] = ",".join(_checked(id, text, place))
    keymap = Keymap(own)
    if own:
        _refuse_clashes(keymap, place)
    return replace(keymap, browser=browser)


def _checked(id: str, text: str, place: Place) -> tuple[str, ...]:
    ids = [action.id for action in ACTIONS]
    if id not in ids:
        near = get_close_matches(id, ids, 1, 0.4)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"There is no action {id}", f"In {place(id)}.", hint + "`llterm keys` lists them all."
        )
    keys = tuple(canonical(key) for key in split_keys(text))
    if not keys:
        raise ConfigError(
            f"No key is given for {id}", f"In {place(id)}.", "Every action needs at least one key."
        )
    for key in keys:
        _refuse_dead(id, key, place)
    action = action_of(id)
    default = split_keys(action.keys)
    placed = [key for key in keys if key in default or not _of_text(action, key)]
    if not placed:
        raise ConfigError(
            f"{keys[0]} belongs to the text",
            f"{id} must be within reach while writing, in {place(id)}.",
            "Add a key with ctrl, or a function key.",
        )
    if not any(is_safe(key) for key in placed):
        raise ConfigError(
            f"Some terminals cannot send {', '.join(keys)}",
            f"It is the only key of {id}, in {place(id)}.",
            f'Add one that all can send, such as a function key: "{keys[0]},f6".',
        )
    return keys


def _of_text(action: Action, key: str) -> bool:
    """Whether the text needs this key where the action has its place."""
    return is_text(key) and action.where not in LETTERED


def _refuse_dead(id: str, key: str, place: Place) -> None:
    if key in NEVER:
        raise ConfigError(
            f"{key} cannot be bound: {NEVER[key]}",
            f"Given for {id} in {place(id)}.",
            "Choose another key; `llterm keys --test` shows what your terminal sends.",
        )
    if not is_key(key):
        near = nearest(key)
        raise ConfigError(
            f"There is no key {key}",
            f"Given for {id} in {place(id)}.",
            (f"Did you mean {near}? " if near else "")
            + "`llterm keys --test` names the keys you press.",
        )


def _refuse_clashes(keymap: Keymap, place: Place) -> None:
    for pane in ("story", *LETTERED):
        taken: dict[str, str] = {}
        for action in ACTIONS:
            active = keymap.keys(action, pane)
            if action.where == "everywhere":
                active += keymap.keys(action, "everywhere")
            for key in dict.fromkeys(active):
                other = taken.setdefault(key, action.id)
                if other != action.id:
                    given = action.id if action.id in keymap.own else other
                    raise ConfigError(
                        f"{key} is given to both {other} and {action.id}",
                        f"In {place(given)}.",
                        "Give one of them another key.",
                    )
