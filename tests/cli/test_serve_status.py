"""The line in the terminal that says how a server is doing."""

from __future__ import annotations

import re
import time

from llterm.cli.serve import status_line
from llterm.serve.server_run import STATUS_SECONDS
from llterm.serve.server_status import ServerStatus, StatusLooks
from tests.helpers.polling import until
from tests.helpers.program_home import Start, home, start
from tests.helpers.served_api import served
from tests.helpers.terminal import Terminal, llterm
from tests.helpers.unread_stream import unread_stream

__all__ = ["home", "start"]

BUSY = ServerStatus(4, 12, 3, 1512.4, 10_000, 8_300)
IDLE = ServerStatus(0, 0, 0, 0.0, 0, 0)
REWRITTEN = b"\r\x1b[2K"


def test_it_says_requests_queue_speed_and_what_was_cached_in_what_cells_there_are() -> None:
    assert status_line(BUSY, 79) == (
        "4 requests · 12 drawn · 3 waiting · 1,512 tokens/s · 83% of prompts cached"
    )
    assert status_line(BUSY, 39) == "12 drawn 3 wait 1,512/s cached 83%"
    assert status_line(IDLE, 39) == "0 drawn 0 wait 0/s cached 0%"


async def test_its_speed_is_of_late_and_its_tokens_also_of_what_has_not_ended() -> None:
    async with served() as api:
        looks = StatusLooks(api.state)
        assert looks.look(0.0) == IDLE
        await api.ask("/v1/completions", prompt="The old", max_tokens=6, ignore_eos=True)
        status = looks.look(2.0)
        assert (status.requests, status.speed) == (0, 3.0)
        assert status.prompt_tokens == api.state.counts.prompt_tokens > 0
        body = {"prompt": "a", "max_tokens": 9, "ignore_eos": True, "stream": True}
        seen = []
        async with api.client.stream("POST", "/v1/completions", json=body) as answer:
            async for _ in answer.aiter_raw():
                seen.append(api.state.counts.drawn_so_far)
        assert seen == sorted(seen)
        await until(lambda: api.state.counts.requests == 2)
        for now in range(3, 30):
            status = looks.look(float(now))
        assert (status.requests, status.speed) == (0, 0.0)
        assert api.state.counts.drawn_so_far == api.state.counts.drawn_tokens == 15


def port(terminal: Terminal) -> int:
    """Where the server in it listens."""
    address = re.compile(r"at http://127.0.0.1:(\d+)")
    found = address.search(terminal.wait_for(address.search))
    assert found is not None
    return int(found[1])


def test_it_is_kept_up_to_date_through_resizes_is_quiet_while_idle_and_gone_at_the_end(
    start: Start,
) -> None:
    terminal = start("serve", "-m", "scripted", "--port", "0", columns=100)
    terminal.wait_for("0 requests · 0 drawn")
    assert terminal.take(2 * STATUS_SECONDS) == b""
    begun = time.monotonic()
    written = terminal.output.count(REWRITTEN)
    with unread_stream(port(terminal), "SECRET"):
        terminal.wait_for("1 request · 1 drawn · 0 waiting")
        terminal.resize(40, 24)
        terminal.wait_for("1 drawn 0 wait")
        assert "1 request" not in terminal.text
        terminal.resize(100, 24)
        terminal.wait_for("1 request · 1 drawn")
    terminal.wait_for("0 requests · 0 drawn")
    written = terminal.output.count(REWRITTEN) - written
    assert written <= (time.monotonic() - begun) / STATUS_SECONDS + 1
    assert b"SECRET" not in terminal.output
    terminal.send("\x03")
    assert terminal.wait() == 0
    assert " drawn" not in terminal.text
    assert "Ctrl+C ends it." in terminal.text
    assert terminal.restored


def test_a_server_in_the_background_leaves_the_terminal_to_whoever_has_it(start: Start) -> None:
    line = f"set -m; {' '.join(llterm('serve', '-m', 'scripted', '--port', '0'))} & read word; "
    terminal = start(command=["bash", "-c", f"{line} fg"])
    with unread_stream(port(terminal), "SECRET"):
        assert terminal.take(2 * STATUS_SECONDS) == b""
        assert REWRITTEN not in terminal.output
        terminal.send("\n")
        terminal.wait_for("1 request")
    terminal.send("\x03")
    terminal.wait()


def test_what_is_no_terminal_gets_no_status(start: Start) -> None:
    command = f"{' '.join(llterm('serve', '-m', 'scripted', '--port', '0'))} 2>&1 | cat"
    terminal = start(command=["bash", "-c", command])
    with unread_stream(port(terminal), "SECRET"):
        assert terminal.take(2 * STATUS_SECONDS) == b""
    assert b"drawn" not in terminal.output
