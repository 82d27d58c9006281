"""`llterm batch` as a function: each row once, whatever comes in between; failures lie apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llterm.core.row_template import RowTemplate
from llterm.errors import LltermError, UsageError
from llterm.formats.row_lines import RowFile
from llterm.formats.template_rows import RowTable, TemplateRows
from llterm.jobs.batch import TooManyFailures
from llterm.jobs.batch_output import BatchFiles, Header, opened_output
from tests.helpers.batches import count_lines, requests, results, run_batch, texts, write_lines
from tests.helpers.json_schema import faults, schema
from tests.helpers.polling import until
from tests.helpers.served_api import served


async def test_neither_order_nor_company_nor_a_stop_in_between_changes_a_text(
    tmp_path: Path,
) -> None:
    lines = requests(30)
    source = write_lines(tmp_path / "in.jsonl", lines)
    turned = write_lines(tmp_path / "turned.jsonl", lines[::-1])
    whole, parts, other = (tmp_path / f"{name}.jsonl" for name in ("whole", "parts", "other"))
    first = await run_batch(source, whole)
    assert (first.progress.answered, first.progress.failed) == (30, 0)
    for limit in (3, 17, None):
        result = await run_batch(source, parts, limit=limit)
    assert (result.progress.before, result.progress.answered) == (17, 13)
    await run_batch(turned, other, parallel=1)
    assert results(whole) == results(parts)
    assert texts(whole) == texts(other)
    seeds = [result["llterm"]["seed"] for result in results(whole).values()]
    assert len(set(seeds)) == 30
    again = await run_batch(source, tmp_path / "again.jsonl", seed=8)
    assert again.seed == 8
    assert texts(tmp_path / "again.jsonl") != texts(whole)


async def test_a_torn_line_is_dropped_and_its_row_answered_again(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(6))
    output = tmp_path / "out.jsonl"
    await run_batch(source, output)
    before = results(output)
    data = output.read_bytes()
    for cut in (1, 40, len(data.splitlines()[-1])):
        output.write_bytes(data[:-cut])
        result = await run_batch(source, output)
        assert result.progress.answered == 1
        assert results(output) == before
    output.write_bytes(data.replace(b"\n", b"\nno result\n", 1))
    with pytest.raises(UsageError) as refused:
        await run_batch(source, output)
    assert refused.value.title == "out.jsonl is no file of results"
    assert refused.value.cause.startswith("Line 2 has no custom_id")


async def test_another_model_input_or_setting_is_refused_unless_it_is_accepted(
    tmp_path: Path,
) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(4))
    output = tmp_path / "out.jsonl"
    await run_batch(source, output, limit=2)
    other = write_lines(tmp_path / "other.jsonl", requests(5))
    with pytest.raises(UsageError) as refused:
        await run_batch(source, output, defaults={"temperature": 0.5})
    assert refused.value.cause == "settings.temperature was null and is 0.5."
    with pytest.raises(UsageError) as refused:
        await run_batch(other, output, seed=8)
    assert "input.sha256 was" in refused.value.cause
    assert "settings.seed was 7 and is 8" in refused.value.cause
    with pytest.raises(UsageError) as refused:
        await run_batch(source, output, model="fable")
    assert 'model.model was "scripted" and is "fable-f16.gguf"' in refused.value.cause
    assert count_lines(output) == 2
    assert (await run_batch(other, output, accept_changes=True)).progress.answered == 3
    # Without a word of the seed it goes on with the one that it was begun with.
    assert (await run_batch(other, output, seed=None)).seed == 7
    BatchFiles(output).header.unlink()
    with pytest.raises(UsageError, match="is there, and not how it was begun"):
        await run_batch(other, output)


async def test_what_fails_lies_apart_and_is_asked_again(tmp_path: Path) -> None:
    lines = requests(5)
    lines[1]["body"]["max_tokens"] = -1
    lines[3]["body"]["surprise"] = 1
    source = write_lines(tmp_path / "in.jsonl", lines)
    output = tmp_path / "out.jsonl"
    errors = BatchFiles(output).errors
    result = await run_batch(source, output)
    assert (result.progress.answered, result.progress.failed) == (3, 2)
    failed = results(errors)
    assert set(failed) == {"row 1", "row 3"}
    response = failed["row 3"]["response"]
    assert (response["status_code"], response["body"]["error"]["param"]) == (400, "surprise")
    assert failed["row 3"]["error"]["code"] == "unknown_parameter"
    root = schema("batch")
    assert not [
        fault
        for line in (*failed.values(), *results(output).values())
        for fault in faults(line, root, root)
    ]
    again = await run_batch(source, output)
    assert (again.progress.before, again.progress.failed, count_lines(errors)) == (3, 2, 2)
    with pytest.raises(TooManyFailures, match="1 row failed"):
        await run_batch(source, output, most_failures=0)
    assert len(results(output)) == 3
    lines[1]["body"]["max_tokens"] = lines[3]["body"].pop("surprise")
    write_lines(source, lines)
    mended = await run_batch(source, output, accept_changes=True)
    assert (mended.progress.answered, mended.progress.failed) == (2, 0)
    assert not errors.exists()


async def test_a_body_counts_more_than_a_default_and_figures_are_those_of_its_tokens(
    tmp_path: Path,
) -> None:
    lines = requests(2)
    lines[0]["body"] |= {"logprobs": 2, "n": 2, "seed": 5, "stream": True, "model": "gpt-none"}
    del lines[1]["body"]["max_tokens"]
    source = write_lines(tmp_path / "in.jsonl", lines)
    await run_batch(source, tmp_path / "out.jsonl", defaults={"max_tokens": 3, "temperature": 0})
    first, second = results(tmp_path / "out.jsonl").values()
    if first["custom_id"] != "row 0":
        first, second = second, first
    assert first["llterm"]["seed"] == 5
    assert first["response"]["body"]["usage"]["completion_tokens"] == 16
    assert second["response"]["body"]["usage"]["completion_tokens"] == 3
    assert second["response"]["body"]["choices"][0]["logprobs"] is None
    for choice, figures in zip(
        first["response"]["body"]["choices"], first["llterm"]["choices"], strict=True
    ):
        logprobs = choice["logprobs"]["token_logprobs"]
        assert figures["tokens"] == len(logprobs)
        assert figures["logprob"] == pytest.approx(sum(logprobs))
        assert 0 < figures["p"] <= 1


async def test_a_template_is_filled_with_rows_as_often_as_is_wanted(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('animal,place\ncat,"by the\nriver"\nmaker,"by the ""sea"""\n')
    output = tmp_path / "out.jsonl"
    with table.open("rb") as file:
        rows = TemplateRows(
            RowTable(RowFile(file, table.name)), RowTemplate.parse("The {animal} {place}, "), 3
        )
        result = await run_batch(table, output, rows=rows, defaults={"max_tokens": 6})
        assert result.progress.answered == 6
        assert (await run_batch(table, output, rows=rows, defaults={"max_tokens": 6})).progress
    lines = results(output)
    assert set(lines) == {f"{row}-{sample}" for row in (1, 2) for sample in (1, 2, 3)}
    assert lines["1-2"]["row"] == {"animal": "cat", "place": "by the\nriver"}
    assert lines["2-3"]["sample"] == 3
    root = schema("batch")
    for line in lines.values():
        assert not faults(line, root, root)
        assert line["tokens"] >= 1
    assert len({line["seed"] for line in lines.values()}) == 6
    assert len({line["text"] for line in lines.values()}) > 1


async def test_texts_that_say_the_same_are_counted_and_the_first_of_the_input_stays(
    tmp_path: Path,
) -> None:
    lines = requests(6)
    for number, line in enumerate(lines):
        text = ["Once", "One day"][number % 2]
        line["body"] |= {"prompt": text, "temperature": 0}
    source = write_lines(tmp_path / "in.jsonl", lines)
    output = tmp_path / "out.jsonl"
    counted = await run_batch(source, output)
    assert (counted.duplicates.exact, counted.duplicates.dropped) == (4, 0)
    assert count_lines(output) == 6
    dropped = await run_batch(source, output, dropped="exact")
    assert dropped.duplicates.dropped == 4
    assert set(results(output)) == {"row 0", "row 1"}
    assert set(results(BatchFiles(output).duplicates)) == {f"row {n}" for n in (2, 3, 4, 5)}
    again = await run_batch(source, output, dropped="exact")
    assert (again.progress.before, again.progress.answered) == (6, 0)
    assert len(results(BatchFiles(output).duplicates)) == 4


async def test_two_rows_of_one_name_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    lines = requests(3)
    lines[2]["custom_id"] = "row 0"
    source = write_lines(tmp_path / "in.jsonl", lines)
    with pytest.raises(UsageError, match="Two rows are called row 0"):
        await run_batch(source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


async def test_one_run_writes_a_file_at_a_time(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(1))
    files = BatchFiles(tmp_path / "out.jsonl")
    header: Header = {"model": {}, "settings": {}, "input": {}}
    with (
        opened_output(files, header, 7, accept_changes=False),
        pytest.raises(UsageError, match="Another run writes"),
    ):
        await run_batch(source, files.results)
    assert (await run_batch(source, files.results)).progress.answered == 1


async def test_what_is_there_of_others_is_kept(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(1))
    files = BatchFiles(tmp_path / "out.jsonl")
    files.errors.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        await run_batch(source, files.results)
    assert files.errors.read_text() == "mine"
    for mine in ("a story\nof mine", "a story", '{"custom_id": "row 0"}'):
        files.results.write_text(mine)
        for accepted in (False, True):
            with pytest.raises(UsageError, match="is no file of results"):
                await run_batch(source, files.results, accept_changes=accepted)
        assert files.results.read_text() == mine


async def test_a_server_is_handed_the_bodies_and_says_the_same(tmp_path: Path) -> None:
    lines = requests(8)
    lines[5]["body"]["max_tokens"] = -1
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A tale!"}]
    lines[6]["body"] = {"messages": said, "max_tokens": 5}
    source = write_lines(tmp_path / "in.jsonl", lines)
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    await run_batch(source, here)
    async with served() as api:
        result = await run_batch(source, there, model=api.address, logprobs=0)
        assert api.state.counts.requests <= 8
    assert (result.progress.answered, result.progress.failed) == (7, 1)
    assert texts(here) == texts(there)
    failed = results(BatchFiles(there).errors)["row 5"]
    assert failed["response"]["body"]["error"]["param"] == "max_tokens"
    for name in ("row 0", "row 6"):
        figures = [results(path)[name]["llterm"] for path in (here, there)]
        assert figures[0]["choices"][0]["tokens"] > 1
        assert figures[0] == figures[1]
    chats = [results(path)["row 6"]["response"]["body"] for path in (here, there)]
    assert chats[0]["object"] == "chat.completion"
    assert chats[0]["choices"][0]["logprobs"] is None
    assert chats[1]["choices"][0]["logprobs"] is not None


async def test_a_server_that_is_gone_ends_the_run_and_keeps_what_is_done(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(3))
    with pytest.raises(LltermError) as gone:
        await run_batch(source, tmp_path / "out.jsonl", model="http://127.0.0.1:9")
    assert gone.value.exit_code == 3


async def test_cancelled_it_keeps_what_is_done(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(40))
    output = tmp_path / "out.jsonl"
    running = asyncio.create_task(run_batch(source, output))
    await until(lambda: count_lines(output) >= 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    kept = results(output)
    assert 3 <= len(kept) < 40
    result = await run_batch(source, output)
    assert result.progress.before == len(kept)
    assert len(results(output)) == 40
