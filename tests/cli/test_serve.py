"""`llterm serve` as a person starts it: what is printed, keys, and how it ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.helpers.program import run, start

BODY = {"prompt": "The old", "max_tokens": 3, "seed": 1}


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, list[str]]]:
    """The address of `llterm serve -m scripted …`, and what it printed; SIGTERM ends it well."""
    process = start(home, "serve", "-m", "scripted", *arguments, **environment)
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


def test_its_own_curl_line_works_and_a_second_one_finds_the_port_taken(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--alias", "gpt=scripted") as (address, lines):
        assert "scripted, gpt = scripted" in lines[0]
        assert any(line.startswith(f"curl {address}/v1/completions ") for line in lines)
        assert any(f'base_url="{address}/v1"' in line for line in lines)
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
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.encode() not in kept


def test_a_key_of_ones_own_is_never_shown(tmp_path: Path) -> None:
    key = {"SERVE_KEY": "a-key-of-my-own"}
    with serving(tmp_path, "--port", "0", "--api-key-env", "SERVE_KEY", **key) as (address, lines):
        assert not any(key["SERVE_KEY"] in line for line in lines)
        assert httpx2.get(f"{address}/v1/models").status_code == 401


def test_a_socket_file_serves_its_person(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(tmp_path, "--socket", str(path)) as (at, _):
        assert at == str(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
            assert b" 200 " in client.recv(4096)
    assert not path.exists()


def test_what_cannot_be_served_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    for arguments, words in (
        (("--alias", "x"), "is no alias"),
        (("--alias", "x=gone"), "is for no model"),
        (("--preset", "gone"), "There is no preset"),
        (("-m", "scripted"), "Two models have one name"),
        (("-m", "fable,colour=1"), "has no colour"),
        (("-m", "fable,context=many"), "Wrong value for context"),
        (("--api-key-env", "GONE"), "There is no key"),
    ):
        ran = run(tmp_path, "serve", "-m", "scripted", "--port", "0", *arguments)
        assert (ran.code, words in ran.err) == (2, True), ran


def test_no_prompt_is_in_any_file_that_it_leaves(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as (address, _):
        for body in ({**BODY, "prompt": "a secret prompt"}, {"prompt": "a secret prompt", "zz": 1}):
            httpx2.post(f"{address}/v1/completions", json=body)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret prompt" not in kept
