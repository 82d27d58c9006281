"""The server's page in a browser: what a person does there, and what it does with hostile text."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from tests.browser.page_key import KEY
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.browser
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def expected(subject: Any) -> Any:
    """Playwright's assertions, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(subject)


def say(page: Any, text: str, *, tokens: int = 8) -> None:
    """Send a message, and wait for the whole answer."""
    page.locator("#max_tokens").fill(str(tokens))
    page.locator("#seed").fill("1")
    page.locator("#further").fill('{"min_tokens": 4}')
    page.locator("#draft").fill(text)
    page.locator("#draft").press("Enter")
    expected(page.locator(".message.assistant .token").first).to_be_visible()
    at_rest(page)


def at_rest(page: Any) -> None:
    expected(page.locator(".running")).to_have_count(0)


def texts(page: Any) -> list[str]:
    """What stands in the messages, without what only the heat shows."""
    page.locator("#heat").uncheck()
    return [each.inner_text() for each in page.locator(".message .tokens").all()]


def act(page: Any, place: int, name: str) -> None:
    page.locator(".message").nth(place).get_by_role("button", name=name, exact=True).click()


def requests_under_way(program: ServedProgram) -> int:
    told = httpx2.get(f"{program.address}/v1/llterm/status", headers={"X-Api-Key": KEY}).json()
    return sum(model["requests"] for model in told["models"])


def test_a_wrong_key_opens_nothing_and_the_right_one_stays_in_the_tab(
    locked: Any, context: Any, program: ServedProgram
) -> None:
    field, use = locked.get_by_label("Key", exact=True), locked.get_by_role("button", name="Use it")
    field.fill("wrong")
    use.click()
    expected(locked.get_by_role("heading", name="This is not the key")).to_be_visible()
    expected(locked.locator("#model option")).to_have_count(0)
    field.fill(KEY)
    use.click()
    expected(locked.locator("#model option")).to_have_count(3)
    locked.reload()
    expected(locked.locator("#model option")).to_have_count(3)
    assert KEY not in json.dumps(context.storage_state())
    locked.get_by_role("button", name="Forget the key").click()
    locked.reload()
    expected(locked.get_by_role("heading", name="This server asks for a key")).to_be_visible()


def test_who_gives_no_key_is_told_what_is_asked_for(locked: Any) -> None:
    locked.get_by_role("button", name="Cancel").click()
    expected(locked.get_by_role("alert")).to_contain_text("The key is missing or wrong")


def test_messages_are_edited_deleted_undone_and_stay_after_a_reload(page: Any) -> None:
    say(page, "A story about a cat")
    first = texts(page)
    assert first[0] == "A story about a cat"
    assert first[1]
    act(page, 0, "Edit")
    page.get_by_label("The message", exact=True).fill("A story about a dog")
    page.locator("#draft").fill("half a thought")
    page.reload()
    expected(page.get_by_label("The message", exact=True)).to_have_value("A story about a dog")
    expected(page.locator("#draft")).to_have_value("half a thought")
    page.locator("#draft").press("Enter")
    expected(page.get_by_role("alert")).to_contain_text("Save it first")
    page.get_by_label("The message", exact=True).press("Control+Enter")
    assert texts(page) == ["A story about a dog", first[1]]
    act(page, 1, "Delete")
    assert texts(page) == ["A story about a dog"]
    page.get_by_role("button", name="Undo").click()
    assert texts(page) == ["A story about a dog", first[1]]
    page.get_by_role("button", name="Redo").click()
    assert texts(page) == ["A story about a dog"]
    page.get_by_role("button", name="Clear").click()
    expected(page.locator(".message")).to_have_count(0)


def test_an_answer_goes_on_is_drawn_anew_and_begins_as_the_person_wrote(page: Any) -> None:
    say(page, "A story", tokens=6)
    begun = texts(page)[1]
    act(page, 1, "Continue")
    at_rest(page)
    longer = texts(page)[1]
    assert longer.startswith(begun)
    assert len(longer) > len(begun)
    page.locator("#seed").fill("7")
    act(page, 1, "Regenerate")
    at_rest(page)
    drawn = texts(page)[1]
    act(page, 1, "Regenerate")
    at_rest(page)
    assert texts(page)[1] == drawn
    page.locator("#draft").fill("Another story")
    page.get_by_role("button", name="Add").click()
    page.locator("#role").select_option("assistant")
    page.locator("#draft").fill("The old woman opened")
    page.locator("#draft").press("Enter")
    at_rest(page)
    shown = texts(page)
    assert shown[2] == "Another story"
    assert re.match("The old woman opened.", shown[3])


def test_a_stop_ends_it_at_the_server_and_keeps_what_there_is(
    page: Any, program: ServedProgram
) -> None:
    page.locator("#max_tokens").fill("900")
    page.locator("#further").fill('{"ignore_eos": true}')
    page.locator("#draft").fill("A long story")
    page.locator("#draft").press("Enter")
    expected(page.locator(".message.assistant .token").nth(3)).to_be_visible()
    page.keyboard.press("Escape")
    at_rest(page)
    expected(page.locator(".message.assistant .ending")).to_have_text("stopped")
    assert texts(page)[1]
    for _ in range(100):
        if not requests_under_way(program):
            return
    raise AssertionError("the server still draws")


def test_a_token_shows_its_candidates_and_another_one_takes_its_place(page: Any) -> None:
    say(page, "A story")
    before = texts(page)[1]
    tokens = page.locator(".message.assistant .token:not(.unseen)")
    kept = "".join(tokens.nth(place).inner_text() for place in range(2))
    tokens.nth(2).click()
    candidates = page.locator("#token li")
    expected(candidates.first).to_be_visible()
    assert candidates.count() >= 10
    expected(page.locator("#token strong")).to_have_text(
        re.sub("^ +", lambda run: "␣" * len(run[0]), tokens.nth(2).inner_text())
    )
    shares = [float(text.rpartition("\n")[2].rstrip("%")) for text in candidates.all_inner_texts()
              if text.endswith("%")]  # fmt: skip
    assert shares == sorted(shares, reverse=True)
    other = candidates.locator("button").first
    name = other.locator(".name").inner_text().replace("␣", " ")
    other.click()
    at_rest(page)
    after = texts(page)[1]
    assert after.startswith(kept + name)
    assert after != before
    expected(page.locator("#token")).to_be_hidden()


def test_tokens_and_tabs_are_reached_by_keys(page: Any) -> None:
    say(page, "A story")
    page.locator(".message.assistant .token").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expected(page.locator("#token li").first).to_be_visible()
    page.keyboard.press("Escape")
    expected(page.locator("#token")).to_be_hidden()
    page.locator("#tab-chat").focus()
    page.keyboard.press("ArrowRight")
    expected(page.locator("#batch")).to_be_visible()
    expected(page.locator("#chat")).to_be_hidden()


def test_hostile_text_of_model_and_person_stays_text(page: Any) -> None:
    page.locator("#shape").select_option("choice")
    page.locator("#shape-text").fill(HOSTILE)
    page.locator("#system").fill(HOSTILE)
    say(page, HOSTILE, tokens=200)
    assert texts(page) == [HOSTILE, HOSTILE]
    page.locator(".message.assistant .token").nth(1).click()
    act(page, 1, "Edit")
    assert page.locator("#messages img, #messages script, #token img").count() == 0
    page.reload()
    expected(page.locator(".message").first).to_contain_text("<img")
    assert page.title() == "llterm"


def test_what_hides_or_turns_text_round_is_seen(page: Any) -> None:
    page.locator("#shape").select_option("choice")
    page.locator("#shape-text").fill("\u202eevil\u202c\u200b 👩‍👧")
    say(page, "a\u202eb", tokens=200)
    assert texts(page) == ["a�b", "�evil�� 👩‍👧"]


def test_errors_are_told_with_what_to_do(page: Any) -> None:
    page.locator("#shape").select_option("regex")
    page.locator("#shape-text").fill("(")
    page.locator("#draft").fill("A story")
    page.locator("#draft").press("Enter")
    expected(page.get_by_role("alert")).to_be_visible()
    at_rest(page)
    assert texts(page) == ["A story"]
    page.locator("#shape").select_option("")
    page.locator("#further").fill('{"temprature": 2}')
    act(page, 0, "Answer")
    expected(page.get_by_role("alert")).to_contain_text("temprature")
    page.locator("#further").fill("temperature 2")
    act(page, 0, "Answer")
    expected(page.get_by_role("alert")).to_contain_text("no JSON object")
    assert texts(page) == ["A story"]


def test_an_answer_of_nothing_is_told_and_leaves_the_chat_as_it_was(page: Any) -> None:
    page.locator("#shape").select_option("regex")
    page.locator("#shape-text").fill("()")
    page.locator("#draft").fill("A story")
    page.locator("#draft").press("Enter")
    expected(page.get_by_role("alert")).to_contain_text("said nothing")
    assert texts(page) == ["A story"]


def test_a_batch_draws_several_texts_of_several_prompts(page: Any) -> None:
    page.locator("#tab-batch").click()
    page.locator("#prompts").fill("Once upon\n---\nThe old woman\nopened")
    page.locator("#copies").fill("3")
    page.locator("#max_tokens").fill("5")
    page.get_by_role("button", name="Draw").click()
    expected(page.locator("#batch:not(.running) #progress")).to_contain_text("6 of 6 texts")
    expected(page.locator("#progress")).to_contain_text("tokens/s")
    assert page.locator(".result .prompt").all_inner_texts() == [
        *["Once upon"] * 3, *["The old woman\nopened"] * 3
    ]  # fmt: skip
    page.locator("#show-prompts").uncheck()
    expected(page.locator(".result .prompt").first).to_be_hidden()
    page.locator(".result .token").nth(1).click()
    expected(page.locator("#token li").first).to_be_visible()
    assert page.locator("#token button.take").count() == 0
    with page.expect_download() as waited:
        page.locator("#batch-download").click()
    told = json.loads(waited.value.path().read_text())
    assert [len(each["tokens"]) for each in told["texts"]] == [5] * 6
    assert {each["ending"] for each in told["texts"]} <= {"length", "stop"}
    assert told["requests"][0]["prompt"] == ["Once upon", "The old woman\nopened"]
    shown = page.locator(".result .tokens").first.text_content()
    assert told["texts"][0]["text"] in shown


def test_a_batch_of_chats_is_answered_with_stops_and_stopped(page: Any) -> None:
    page.locator("#tab-batch").click()
    page.locator("#by-line").check()
    page.locator("#prompts").fill("A story\n\nA song\nA tale\nA poem\nA play")
    page.locator("#kind").select_option("chat")
    page.locator("#stops").fill(" the\n\\n")
    page.locator("#max_tokens").fill("300")
    page.get_by_role("button", name="Draw").click()
    expected(page.locator("#batch:not(.running) #progress")).to_contain_text("5 of 5 texts")
    page.locator("#heat").uncheck()
    for text in page.locator(".result .tokens").all_inner_texts():
        assert " the" not in text
        assert "\n" not in text
    page.locator("#stops").fill("")
    page.locator("#further").fill('{"ignore_eos": true}')
    page.get_by_role("button", name="Draw").click()
    expected(page.locator(".result .token").first).to_be_visible()
    page.locator("#tab-chat").click()
    page.locator("#role").select_option("system")
    page.locator("#draft").fill("Meanwhile a note")
    page.locator("#add").click()
    page.locator("#tab-batch").click()
    page.locator("#batch-stop").click()
    at_rest(page)
    assert "stopped" in page.locator("#results").inner_text()


def test_a_conversation_is_downloaded_without_the_key(page: Any) -> None:
    say(page, "A story")
    with page.expect_download() as waited:
        page.locator("#chat-download").click()
    text = waited.value.path().read_text()
    assert KEY not in text
    assert [each["role"] for each in json.loads(text)["messages"]] == ["user", "assistant"]


def test_thoughts_stand_apart(page: Any) -> None:
    page.locator("#model").select_option("thinker")
    page.locator("#max_tokens").fill("6")
    page.locator("#draft").fill("A story")
    page.locator("#draft").press("Enter")
    expected(page.locator(".assistant details.thoughts")).to_be_visible()
    at_rest(page)
    page.locator(".assistant summary").click()
    assert page.locator(".assistant details.thoughts pre").inner_text()


def test_text_without_logprobs_is_text_alone(page: Any) -> None:
    page.locator("#listed").select_option("")
    page.locator("#max_tokens").fill("8")
    page.locator("#further").fill('{"min_tokens": 4}')
    page.locator("#draft").fill("A story")
    page.locator("#draft").press("Enter")
    at_rest(page)
    assert texts(page)[1]
    assert page.locator(".token").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1600])
def test_nothing_is_wider_than_the_window(page: Any, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for tab in ("chat", "batch"):
        page.locator(f"#tab-{tab}").click()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
