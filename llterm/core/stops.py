"""Where a suggestion ends: sentence ends, commas, line breaks, and stop strings of one's own.

A leading stop is allowed: signs, closing quotes and spaces at the start of a suggestion belong to
the sentence before it, so the search goes on until there is some text after them.
"""

from __future__ import annotations

import re

from llterm.core.weave_settings import WeaveSettings

_CLOSERS = "\"'”’»)]}*_"
_LEADING = re.compile(rf"[\s.!?…,;:{re.escape(_CLOSERS)}]*")
_SENTENCE_END = re.compile(
    rf"(?P<word>[^\s.!?…]*)(?P<signs>[.!?]+)(?P<close>[{re.escape(_CLOSERS)}]*)(?P<after>\s|\Z)"
)
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms mx dr prof st mt jr sr vs etc al cf no vol fig pp ch capt col gen lt sgt maj rev hon
    gov sen rep pres messrs mme mlle approx dept est inc ltd co corp jan feb mar apr jun jul aug
    sep sept oct nov dec
    """.split()  # noqa: SIM905 (a list of forty quoted words hides the words)
)


class Stopper:
    """Decides, from a suggestion's text alone, whether it has come to its end."""

    def __init__(self, rules: WeaveSettings, before: str = "") -> None:
        """`before` is the story's last few words: an abbreviation may begin there."""
        self._rules = rules
        self._before = before[-32:]
        self._sentence = rules.auto_stop
        signs = ".!?" + "," * rules.stop_comma + "\n" * rules.stop_newline
        self._signs = re.compile(f"[{re.escape(signs)}]")
        self._own = tuple(stop for stop in rules.stops if stop)

    def ended(self, text: str) -> bool:
        """Whether `text`, the whole suggestion so far, has an end in it."""
        if self._rules.single_line and "\n" in text:
            return True
        if self._own and any(stop in text[_start(text, stop) :] for stop in self._own):
            return True
        if not self._sentence or not self._signs.search(text):
            return False
        lead = _LEADING.match(text)
        start = lead.end() if lead else 0
        meat = text[start:]
        if not meat:
            return False
        if self._rules.stop_newline and "\n" in meat:
            return True
        if self._rules.stop_comma and _comma(meat):
            return True
        return self._sentence_ends(text, start)

    def _sentence_ends(self, text: str, start: int) -> bool:
        # The first word may have begun in the story: "M" there and "r. Fox" here.
        offset = 0 if start else len(self._before)
        whole = self._before + text if offset else text
        found = _SENTENCE_END.finditer(whole, 0 if offset else start)
        return any(match.end("signs") > offset and _is_end(whole, match) for match in found)


def _start(text: str, stop: str) -> int:
    """Where to look for a stop string: after one that the suggestion begins with."""
    return len(stop) if text.startswith(stop) else 0


def _comma(text: str) -> bool:
    """A comma that does not stand inside a number."""
    return re.search(r",(?!\d)(?!\Z)|(?<!\d),\Z", text) is not None


def _is_end(text: str, match: re.Match[str]) -> bool:
    """Whether the signs end a sentence: no abbreviation, no unfinished number, no ellipsis."""
    signs = match["signs"]
    if "!" in signs or "?" in signs:
        return True
    if len(signs) > 1:
        return False
    # `[^\s.!?…]*` begins after the last sign, so "e.g." gives the word "g".
    word = match["word"].lstrip("\"'“‘(«[")
    if not word:
        return bool(match["close"])
    at_end = match.end() == len(text) and not match["after"]
    if word[-1].isdigit() and at_end and not match["close"]:
        return False
    if match["close"]:
        return True
    single = len(word) == 1 and word.isalpha() and word not in ("I", "a")
    return not single and word.lower() not in _ABBREVIATIONS
