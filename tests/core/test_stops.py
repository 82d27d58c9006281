"""Where suggestions end."""

from __future__ import annotations

import pytest

from llterm.core.stops import Stopper
from llterm.core.weave_settings import WeaveSettings


@pytest.mark.parametrize(
    "text",
    [
        " He ran.",
        ' "Run!" ',
        ' he said."',
        " Really?",
        " (He ran.)",
        " He ran.\n\nThen",
        " What?! ",
        ". He ran.",
        '." He ran.',
        "\n\nHe ran.",
        " It was I.",
        " in 1914. Then",
        " Stop!!",
        " He ran.”",
    ],
)
def test_sentence_ends_stop(text: str) -> None:
    assert Stopper(WeaveSettings()).ended(text)


@pytest.mark.parametrize(
    "text",
    [
        " He ran",
        ".",
        '."',
        '."\n\n',
        " Mr.",
        " Mr. Fox",
        " dear Mrs. Rabbit",
        " e.g. a fox",
        " J. R. Fox",
        " it is 3.",
        " it is 3.14",
        " and then...",
        " and then… he",
        " wait...he",
        " one, two",
        " a\nb",
        "",
    ],
)
def test_these_do_not_stop(text: str) -> None:
    assert not Stopper(WeaveSettings()).ended(text)


def test_an_abbreviation_may_begin_in_the_story() -> None:
    assert not Stopper(WeaveSettings(), "Then M").ended("r. Fox")
    assert Stopper(WeaveSettings(), "Then he ").ended("ran. Fox")


def test_no_auto_stop() -> None:
    assert not Stopper(WeaveSettings(auto_stop=False)).ended(" He ran. He sat.")


def test_commas_and_line_ends_on_request() -> None:
    comma = Stopper(WeaveSettings(stop_comma=True))
    assert comma.ended(" he ran,")
    assert comma.ended(", and ran, and")
    assert not comma.ended(", and ran")
    assert not comma.ended(" 1,000")
    newline = Stopper(WeaveSettings(stop_newline=True))
    assert newline.ended(" he ran\n")
    assert not newline.ended("\nhe ran")


def test_a_single_line_ends_at_any_line_break() -> None:
    single = Stopper(WeaveSettings(auto_stop=False, single_line=True))
    assert single.ended("\n")
    assert single.ended(" he\n")
    assert not single.ended(" he. she")


def test_own_stop_strings_end_a_suggestion_unless_it_begins_with_one() -> None:
    own = Stopper(WeaveSettings(auto_stop=False, stops=(";", "END")))
    assert own.ended(" he ran;")
    assert own.ended(" thE END")
    assert not own.ended("; he ran")
    assert own.ended("; he ran;")
    assert not own.ended(" he. ran.")
