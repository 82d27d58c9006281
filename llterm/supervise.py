"""A small parent process that keeps the terminal safe from whatever happens to the app.

The app runs in a child, forked before anything heavy is imported. Native code may take it down
without a word; then the parent, which holds nothing but the terminal's former modes, puts them
back and says what happened. Both stay in one process group, so keys that send signals and the
shell's job control reach them as they would one program.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llterm.errors import LltermError
from llterm.output import say
from llterm.terminal import RESET

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP)
"""Passed on whoever sent them: sent twice, they still end or stop the app once. The terminal's may
have come before there was a child."""
_SHARED = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)
"""The terminal sends these to the child itself; only those sent by a process are passed on."""
_WATCHED = {signal.SIGCHLD, signal.SIGCONT, *_FORWARDED, *_SHARED}
_QUIET = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE}
"""The child may end by these before its own handlers stand; nobody needs to be told."""
_PR_SET_PDEATHSIG = 1
_LOOK = 1.0
"""Seconds after which the child is looked at though nothing was heard of it: a thread of a library
may have taken the signal."""


def supervise(app: Callable[[], int], log: Path) -> int:
    """Run `app` in a child; return its exit code, or 128 + n where a quiet signal ended it.

    After a crash the terminal is put back, a message with the log's path is printed, and the
    result is 1. Call it before threads are started.
    """
    modes = _modes()
    sys.stdout.flush()
    sys.stderr.flush()
    done_in, done_out = os.pipe()
    previous = signal.signal(signal.SIGCHLD, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(done_in)
        signal.signal(signal.SIGCHLD, previous)
        _die_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _run(app, done_out)
    os.close(done_out)
    try:
        status = _watch(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, previous)
    clean = os.read(done_in, 1) == b"."
    os.close(done_in)
    code = os.waitstatus_to_exitcode(status)
    if clean and code >= 0:
        _restore(modes, "")
        return code
    _restore(modes, RESET)
    if -code in _QUIET:
        return 128 - code
    _tell(code, log)
    return 1


def _run(app: Callable[[], int], done: int) -> None:
    """The child's whole life. What it prints last must be out before it says that it is done."""
    code = 1
    try:
        code = app()
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (the last frame of a process: nobody else can tell it)
        import traceback

        traceback.print_exc()
    with suppress(LltermError, OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os.write(done, b".")
    os._exit(code)


def _watch(child: int) -> int:
    """Pass signals on until the child has ended; its wait status."""
    while True:
        number, sender = _next_signal()
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            while pid and os.WIFSTOPPED(status):
                # The shell takes the job for stopped only when each of its processes is.
                os.kill(os.getpid(), signal.SIGSTOP)
                # `fg` tells both to go on. By now the child may have been stopped again.
                pid, status = os.waitpid(child, os.WNOHANG | os.WCONTINUED | os.WUNTRACED)
                if not pid:
                    _send(child, signal.SIGCONT)
            if pid and not os.WIFCONTINUED(status):
                return status
        elif number == signal.SIGCONT or (number in _SHARED and not sender):
            continue
        else:
            _send(child, number)


def _next_signal() -> tuple[int, int]:
    """The next signal and the process that sent it; 0 for the terminal's (or where the system
    does not tell)."""
    if sys.platform == "linux":
        info = signal.sigtimedwait(_WATCHED, _LOOK)
        return (info.si_signo, info.si_pid) if info is not None else (signal.SIGCHLD, 0)
    return signal.sigwait(_WATCHED), 0


def _send(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _die_with(parent: int) -> None:
    """Have this process end by SIGTERM, in good order, when its parent is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _modes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _restore(modes: list[Any] | None, sequence: str) -> None:
    """Put the terminal back; keys and reports that nobody read are thrown away with a sequence."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        if sequence:
            screen = next((one for one in (2, 1, 0) if os.isatty(one)), None)
            if screen is not None:
                os.write(screen, sequence.encode())
        if modes is not None:
            with suppress(termios.error):
                if sequence or termios.tcgetattr(0) != modes:
                    termios.tcsetattr(0, termios.TCSAFLUSH if sequence else termios.TCSANOW, modes)
    except OSError:
        # The terminal itself is gone: there is nothing to put back.
        return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _tell(code: int, log: Path) -> None:
    cause = f"exit code {code}" if code >= 0 else _signal_name(-code)
    say(
        f"llterm ended in the middle of its work ({cause})\n"
        "  Everything that was accepted is saved, and typing up to the last second.\n"
        f"  Start it again with the same command. The log says more: {log}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
