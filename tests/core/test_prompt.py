"""From a story to tokens: own tokens kept, typed text encoded whole, windows in steps."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.scripted import TEXT, ScriptedVocabulary
from llterm.core.pieces import Run
from llterm.core.prompt import Prompt, draft_prompt
from llterm.core.tokens import Tail, text_bytes
from llterm.core.weave_settings import WeaveSettings

VOCABULARY = ScriptedVocabulary()
RULES = WeaveSettings()


def typed(text: str) -> Run:
    return Run(text.encode())


def made(text: str, overlap: int = 0, fingerprint: str = VOCABULARY.fingerprint) -> Run:
    ids = VOCABULARY.encode(text.encode())
    return Run(text.encode()[overlap:], ids, fingerprint, overlap)


def prompt(
    *runs: Run, rules: WeaveSettings = RULES, hidden: str = "", context: int = 2048
) -> Prompt:
    known = draft_prompt(runs, hidden, VOCABULARY, rules, context).known(VOCABULARY)
    assert known is not None
    return known


def encode(text: str) -> Tail:
    return VOCABULARY.encode(text.encode())


def test_two_bursts_of_typing_give_the_tokens_of_the_whole() -> None:
    whole = prompt(typed("The maker went to the river."))
    assert prompt(typed("The mak"), typed("er went to the river.")).tokens == whole.tokens
    assert whole.tokens == (0, *encode("The maker went to the river."))


def test_the_models_tokens_are_kept_and_end_the_typed_text() -> None:
    byte_wise = Run(b" cat", tuple(byte + 1 for byte in b" cat"), VOCABULARY.fingerprint)
    made = prompt(typed("The"), byte_wise)
    assert made.tokens == (0, *encode("The"), *(byte + 1 for byte in b" cat"))
    assert made.residue == b""


def test_a_typed_tail_is_healed_and_a_models_is_not() -> None:
    found = prompt(typed("The maker went to the riv"))
    assert found.residue == b" riv"
    assert found.tokens == (0, *encode("The maker went to the"))
    assert prompt(typed("The maker"), made(" went")).residue == b""
    after = prompt(made("The maker"), typed(" wen"))
    assert after.residue == b" wen"
    assert after.tokens == (0, *encode("The maker"))
    assert prompt(typed("The riv"), rules=replace(RULES, heal=False)).residue == b""


def test_an_accepted_healed_run_gives_the_tokens_it_was_woven_with() -> None:
    woven = prompt(typed("The maker went to the riv"))
    run = made(" river was full", overlap=len(woven.residue))
    after = prompt(typed("The maker went to the riv"), run)
    assert after.tokens == woven.tokens + run.ids if run.ids else False
    assert after.residue == b""


def test_another_vocabulary_is_encoded_anew() -> None:
    foreign = Run(b" cat", (9999,), "other")
    assert prompt(typed("The"), foreign, typed(".")).tokens == (0, *encode("The cat."))


def test_a_run_whose_healed_text_was_edited_away_is_read_as_text() -> None:
    run = made(" river", overlap=4)
    assert prompt(typed("The lam"), run, typed(".")).tokens == (0, *encode("The lamer."))


def test_the_hidden_prefix_stands_first_and_is_always_seen() -> None:
    story = typed(" ".join([TEXT] * 20) + ".")
    made = prompt(story, hidden="The sea", context=256)
    head = (0, *encode("The sea\n"))
    assert made.tokens[: len(head)] == head
    assert len(made.tokens) <= 256 - 64


@given(st.integers(1, 2000), st.integers(64, 512))
def test_windows_fit_move_in_steps_and_say_where_they_start(words: int, context: int) -> None:
    text = " cat" * words + "."
    made = prompt(typed(text), context=context)
    assert 0 < len(made.tokens) < context
    assert made.sight.story == words + 1
    assert (made.sight.start == 0) == (len(made.tokens) == words + 2)
    assert text_bytes(VOCABULARY, made.tokens).decode() == text[made.sight.start :]
    longer = prompt(typed(" cat" * (words + 1) + "."), context=context)
    assert (longer.sight.start - made.sight.start) % (len(" cat") * ((context - 1) // 4)) == 0
