"""Random keys, and what must come of them: a model of the story, the fields and the focus.

It knows nothing of the app. Every key that it presses is meant for where the keys before it led.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

Place = Literal[
    "story", "find", "prefix", "palette", "help", "loom", "note", "settings", "sampler", "value"
]
OFFERED = "hidden text"
"""What is typed in the palette: the beginning of one action's line."""
LETTERS = "etaoinshr"
STORY = "the lamp maker and the cat "


class KeyWalk:
    """Presses one key after the other, and says what is true then."""

    def __init__(self, seed: int, story: str = STORY) -> None:
        self._random = random.Random(seed)
        self.story = story
        self.cursor = len(story)
        self.place: Place = "story"
        self.field = ""
        """What stands in the field that has the focus."""
        self.prefix = ""
        self.notes: list[str] = []
        """Texts that are part of a note; no two are the same."""
        self.depth = 12
        self.value = ""
        """What was typed last for the sampler's first knob."""
        self._phrase = ""
        self._selected = False
        self._origin = 0
        self._hits: list[int] = []
        self._hit = 0
        self._note = ""
        self._written = 0

    def key(self) -> str:
        """The next key; what it does is done."""
        deeds: dict[Place, Callable[[], str]] = {
            "story": self._in_story, "find": self._in_find, "prefix": self._in_prefix,
            "palette": self._in_palette, "help": self._in_help, "loom": self._in_loom,
            "note": self._in_note, "settings": self._in_settings, "sampler": self._in_sampler,
            "value": self._in_value,
        }  # fmt: skip
        return deeds[self.place]()

    def home(self) -> list[str]:
        """The keys that lead back to the story."""
        keys = []
        while self.place == "palette":
            keys.append(self.key())
        while self.place != "story":
            keys.append("escape")
            above: dict[Place, Place] = {"note": "loom", "value": "sampler"}
            self.place = above.get(self.place, "story")
        return keys

    # --- in the story

    def _in_story(self) -> str:
        choice = self._random.random()
        if choice < 0.7:
            return self._insert(self._random.choice(LETTERS + "  "))
        if choice < 0.8:
            return self._move()
        ways: dict[str, Callable[[], object]] = {
            "f7": self._open_prefix, "ctrl+f": self._open_find, "f1": lambda: self._go("help"),
            "alt+l": lambda: self._go("loom"), "f5": lambda: self._go("settings"),
            "ctrl+k": lambda: self._go("sampler"), "ctrl+p": lambda: self._go("palette"),
        }  # fmt: skip
        key = self._random.choice(list(ways))
        ways[key]()
        return key

    def _insert(self, text: str) -> str:
        self.story = self.story[: self.cursor] + text + self.story[self.cursor :]
        self.cursor += len(text)
        return text

    def _move(self) -> str:
        key = self._random.choice(["left", "ctrl+home", "ctrl+end", "backspace"])
        if key == "backspace":
            start = max(self.cursor - 1, 0)
            self.story = self.story[:start] + self.story[self.cursor :]
            self.cursor = start
        else:
            left = max(self.cursor - 1, 0)
            self.cursor = {"left": left, "ctrl+home": 0, "ctrl+end": len(self.story)}[key]
        return key

    def _go(self, place: Place) -> None:
        self.place, self.field = place, ""

    # --- find

    def _open_find(self) -> None:
        self._go("find")
        self.field, self._selected, self._origin = self._phrase, True, self.cursor
        self._look()

    def _in_find(self) -> str:
        choice = self._random.random()
        if choice < 0.2:
            self.place = "story"
            return "escape"
        if choice < 0.4:
            if self._hits:
                self._hit = (self._hit + 1) % len(self._hits)
                self.cursor = self._hits[self._hit]
            return "down"
        letter = self._random.choice(LETTERS)
        self.field = letter if self._selected else self.field + letter
        self._selected = False
        self._look()
        return letter

    def _look(self) -> None:
        self._phrase = self.field
        self._hits, self._hit = [], 0
        start = self.story.find(self.field) if self.field else -1
        while start >= 0:
            self._hits.append(start)
            start = self.story.find(self.field, start + len(self.field))
        ahead = [number for number, hit in enumerate(self._hits) if hit >= self._origin]
        if self._hits:
            self._hit = (ahead or [0])[0]
            self.cursor = self._hits[self._hit]

    # --- dialogs

    def _open_prefix(self) -> None:
        self._go("prefix")
        self.field = self.prefix

    def _in_prefix(self) -> str:
        choice = self._random.random()
        if choice < 0.15:
            self.place = "story"
            return "escape"
        if choice < 0.4:
            self.place, self.prefix = "story", self.field
            return "ctrl+j"
        return self._type(backspace=True)

    def _type(self, *, backspace: bool) -> str:
        if backspace and self._random.random() < 0.15:
            self.field = self.field[:-1]
            return "backspace"
        letter = self._random.choice(LETTERS)
        self.field += letter
        return letter

    def _in_palette(self) -> str:
        if self.field == OFFERED:
            self._open_prefix()
            return "enter"
        self.field = OFFERED[: len(self.field) + 1]
        return self.field[-1]

    def _in_help(self) -> str:
        key = self._random.choice(["pagedown", "down", "x", "escape"])
        if key == "escape":
            self.place = "story"
        return key

    def _in_loom(self) -> str:
        key = self._random.choice(["o", "m", "escape"])
        if key == "escape":
            self.place = "story"
        elif key == "o":
            self.place = "note"
            self._written += 1
            self._note = ""
        return key

    def _in_note(self) -> str:
        """Written at the end of what is noted there already: a word that no other note has."""
        word = f"w{self._written}."
        if self._note == word:
            kept = self._random.random() < 0.8
            self.place = "loom"
            if kept:
                self.notes.append(word)
            return "ctrl+j" if kept else "escape"
        self._note = word[: len(self._note) + 1]
        return self._note[-1]

    def _in_settings(self) -> str:
        if len(self.field) == 2 or (self.field and self._random.random() < 0.6):
            self.place = "story"
            return "escape"
        self.field += self._random.choice("123456789")
        self.depth = int(self.field)
        return self.field[-1]

    def _in_sampler(self) -> str:
        if self._random.random() < 0.4:
            self.place = "story"
            return "escape"
        self.place, self.field = "value", "0"
        return "0"

    def _in_value(self) -> str:
        if len(self.field) == 3:
            kept = self._random.random() < 0.7
            self.place = "sampler"
            if kept:
                self.value = self.field
            return "enter" if kept else "escape"
        self.field += "." if len(self.field) == 1 else self._random.choice("123456789")
        return self.field[-1]
