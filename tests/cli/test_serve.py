"""`llterm serve` as a person starts it: what is printed, keys, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llterm.cli.serve import greeting
from llterm.serve.server_run import ServerStart
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program import FAULTS, run, start
from tests.helpers.served_program import ServedProgram
from tests.helpers.served_program import serving as served
from tests.helpers.tiny_models import tiny_encoder
from tests.helpers.unread_stream import unread_stream

BODY = {"prompt": "The old", "max_tokens": 3, "seed": 1}


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, list[str]]]:
    """The address of `llterm serve -m scripted …`, and what it printed; SIGTERM ends it well."""
    with serving_of(home, "-m", "scripted", *arguments, **environment) as told:
        yield told


@contextmanager
def serving_of(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, list[str]]]:
    """The same of `llterm serve …`."""
    process = start(home, "serve", *arguments, **environment)
    assert process.stdout is not None
    lines = []
    for line in iter(process.stdout.readline, b""):
        lines.append(line.decode().strip())
        if lines[-1].startswith("Ctrl+C"):
            break
    try:
        yield lines[0].rpartition(" at ")[2], lines
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert process.returncode == 0, err
        assert b"Traceback" not in err


def curled(lines: Sequence[str]) -> Any:
    """What the line for curl that was printed gives, in a shell where the printed key is set."""
    key = next((line for line in lines if line.startswith("KEY=")), "")
    (curl,) = [line for line in lines if line.startswith("curl ")]
    ran = subprocess.run(
        ["sh", "-c", f"{key}\n{curl.replace('curl ', 'curl -sS ')}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(ran.stdout)


def test_its_own_curl_line_works_and_a_second_one_finds_the_port_taken(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--alias", "gpt=scripted") as (address, lines):
        assert "scripted, gpt = scripted" in lines[0]
        assert any(f'base_url="{address}/v1"' in line for line in lines)
        assert curled(lines)["choices"][0]["text"]
        answer = httpx2.post(f"{address}/v1/completions", json={**BODY, "model": "gpt"})
        assert answer.status_code == 200
        port = address.rpartition(":")[2]
        taken = run(tmp_path, "serve", "-m", "scripted", "--port", port)
        assert (taken.code, "cannot be had" in taken.err) == (2, True)


def test_beyond_this_machine_a_key_is_made_and_told_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", "--port", "0") as (address, lines):
        (key,) = [line.removeprefix("KEY=") for line in lines if line.startswith("KEY=")]
        here = f"http://127.0.0.1:{address.rpartition(':')[2]}/v1/models"
        assert httpx2.get(here).status_code == 401
        assert httpx2.get(here, headers={"X-Api-Key": key}).status_code == 200
        assert curled(lines)["choices"][0]["text"]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.encode() not in kept


def test_a_key_of_ones_own_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    key = {"SERVE_KEY": "a-key-of-my-own"}
    arguments = ("--host", "0.0.0.0", "--port", "0", "--api-key-env", "SERVE_KEY")
    with serving(tmp_path, *arguments, **key) as (address, lines):
        assert not any(key["SERVE_KEY"] in line or line.startswith("KEY=") for line in lines)
        here = f"http://127.0.0.1:{address.rpartition(':')[2]}/v1/models"
        assert httpx2.get(here).status_code == 401
        given = {"Authorization": f"Bearer {key['SERVE_KEY']}"}
        assert httpx2.get(here, headers=given).status_code == 200


def test_a_socket_file_serves_its_person_alone(tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    with serving(tmp_path, "--socket", str(path)) as (at, lines):
        assert at == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert curled(lines)["choices"][0]["text"]
    assert not path.exists()


def test_configured_models_and_folders_wait_until_they_are_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine.gguf").symlink_to(BUNDLED)
    tiny_encoder(folder / "a-bert.gguf")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/llterm.toml").write_text(f'[models.own]\npath = "{BUNDLED}"\n')
    arguments = ("--configured", "--model-folder", str(folder), "--admin-key-env", "ADMIN",
                 "--models-memory", "1")  # fmt: skip
    more = ("-m", "scripted,alias=gpt", "-m", "scripted", "-m", "fable,load=use")
    with serving(tmp_path, *arguments, *more, "--port", "0", ADMIN="k") as (address, lines):
        assert lines[0].startswith("llterm serves scripted, gpt = scripted at ")
        assert lines[1] == "When asked for: fable, own, a-bert, mine"
        listed = httpx2.get(f"{address}/v1/llterm/admin/models", headers={"X-Api-Key": "k"}).json()
        assert [len(model["replicas"]) for model in listed["data"]] == [3, 0, 0, 0, 0]
        assert httpx2.post(f"{address}/v1/completions", json=BODY).status_code == 200
        refused = httpx2.post(f"{address}/v1/completions", json={**BODY, "model": "mine"})
        assert refused.status_code == 503, "one MiB is too little"


def test_the_line_that_asks_for_a_text_names_no_encoder(tmp_path: Path) -> None:
    bert = str(tiny_encoder(tmp_path / "a-bert.gguf"))
    with serving_of(tmp_path, "-m", f"{bert},load=use", "-m", "scripted") as (_, lines):
        assert curled(lines)["choices"][0]["text"]
    alone = greeting(ServerStart(["a-bert"], [], None, {}, "http://127.0.0.1:1"))
    assert "/v1/embeddings " in alone
    assert 'embeddings.create(model="a-bert", input=' in alone


def test_keys_folders_and_names_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (("--api-key-env", "KEY", "--admin-key-env", "KEY"), "both clients' and the operator's"),
        (("--model-folder", str(tmp_path / "gone")), "is no folder"),
        (("-m", "scripted,alias=x", "-m", "fable,alias=x"), "alias x is for two models"),
        (("--configured",), "no model to serve"),
    ):
        refused = run(tmp_path, "serve", "--port", "0", *arguments, KEY="one-key")
        assert (refused.code, words in refused.err) == (2, True), refused.err


@contextmanager
def draining(home: Path, seconds: float) -> Iterator[ServedProgram]:
    """A server that gives open requests so long at its end."""
    (home / "config").mkdir()
    (home / "config/llterm.toml").write_text(f"[serve]\ndrain_seconds = {seconds}\n")
    with served(home, "-m", "scripted") as program:
        yield program


def signalled(program: ServedProgram, number: int) -> None:
    """Send a signal, and wait until no new connection is taken: it has come."""
    program.process.send_signal(number)
    with suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", program.port)).close()


def ended_well(program: ServedProgram) -> None:
    _, said = program.process.communicate()
    assert program.process.returncode == 0
    assert not [fault for fault in FAULTS if fault in said.decode()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_open_when_its_time_is_up_ends_with_an_error(tmp_path: Path, number: int) -> None:
    with draining(tmp_path, 0) as program, unread_stream(program.port) as stream:
        stream.wait()
        signalled(program, number)
        *_, last = stream.read()
        assert last["error"]["code"] == "server_ending"
        ended_well(program)


def test_what_is_open_at_the_end_is_given_its_time(tmp_path: Path) -> None:
    with draining(tmp_path, 3600) as program, unread_stream(program.port, tokens=400) as stream:
        stream.wait()
        signalled(program, signal.SIGTERM)
        *_, last = stream.read()
        assert last["choices"][0]["finish_reason"] == "length"
        ended_well(program)


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with draining(tmp_path, 3600) as program, unread_stream(program.port) as stream:
        stream.wait()
        signalled(program, signal.SIGINT)
        program.process.send_signal(signal.SIGINT)
        *_, last = stream.read()
        assert last["error"]["code"] == "server_ending"
        ended_well(program)


def test_no_prompt_is_in_any_file_that_it_leaves(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as (address, _):
        for body in ({**BODY, "prompt": "a secret prompt"}, {"prompt": "a secret prompt", "zz": 1}):
            httpx2.post(f"{address}/v1/completions", json=body)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret prompt" not in kept
