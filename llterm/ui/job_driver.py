"""The terminal's driver under the shell's job control: stopped and going on at any moment.

Textual's own gives the terminal back when it has not taken it yet, or no longer has it, and takes
it twice when it is told twice to go on.
"""

from __future__ import annotations

import os
import signal

from textual.drivers.linux_driver import LinuxDriver


class JobDriver(LinuxDriver):
    """Gives the terminal back if it has it, stops, and takes it again if it gave it back."""

    _taken = False
    """Whether the screen is the app's."""
    _given_back = False
    """Whether it is to be taken again."""
    _stopping = False

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._taken = True

    def stop_application_mode(self) -> None:
        self._taken = False
        super().stop_application_mode()

    def _sigtstp_application(self, *_: object) -> None:
        """Once, however often the shell, a process and the supervisor say it."""
        if self._stopping:
            return
        self._stopping = True
        try:
            if self._taken and self._auto_restart:
                self._given_back = self._must_signal_resume = True
                self.suspend_application_mode()
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            self._stopping = False
        self._sigcont_application()

    def _sigcont_application(self, *_: object) -> None:
        if self._given_back and not self._stopping:
            self._given_back = False
            self.resume_application_mode()
