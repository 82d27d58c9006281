"""What is told on stderr. Of a problem: what happened, why, what to do; and the exit code."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import typer

from llterm.errors import Interrupted, LltermError, UsageError
from llterm.faults import own_fault
from llterm.output import finish, say
from llterm.regular_file import refused

log = logging.getLogger(__name__)

_PARSER_ERROR: Any = typer.BadParameter.__mro__[2]
"""What typer's parser raises for anything wrong on a command line; it has no public name there."""
_PLAIN = {
    "Input should be a valid integer": "It is no whole number",
    "Input should be a valid number": "It is no number",
    "Input should be greater than or equal to": "It must be at least",
    "Input should be less than or equal to": "It must be at most",
}
"""What the parser says of a value, and how we say it; a number may follow."""
_QUOTED = re.compile(r"'(.*?)'")


def show(error: LltermError) -> None:
    """Write the error, in up to three parts."""
    parts = [f"llterm: {error.title}", error.cause, error.hint]
    # A name may have a line break in it, and what follows that must not look like llterm's words.
    say("\n  ".join(line for part in parts for line in part.splitlines() if line))


def guarded(work: Callable[[], int | None]) -> int:
    """Run a command; every expected end becomes an exit code, with a few words where one is due."""
    try:
        return work() or 0
    except LltermError as error:
        show(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        show(Interrupted("Interrupted"))
        return Interrupted.exit_code
    except BrokenPipeError:
        # The reader has what it wanted.
        finish()
        return 0
    except typer.Exit as end:
        return int(end.exit_code)
    except _PARSER_ERROR as error:
        show(_usage(error))
        return UsageError.exit_code
    except OSError as error:
        log.error("A command ended on this.", exc_info=error)
        show(refused(error))
        return LltermError.exit_code
    except Exception as error:  # noqa: BLE001  (own_fault logs it)
        show(own_fault(error, "the command ran"))
        return LltermError.exit_code


def _usage(error: Any) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "llterm"
    help_hint = f"`{path} --help` shows what there is."
    message = " ".join(error.format_message().split()).rstrip(".")
    option = getattr(error, "option_name", None)
    if context is None:
        return UsageError(message, "", help_hint)
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        choice = ", ".join(getattr(context.command, "commands", {}))
        return UsageError(f"{path} needs one more word", f"It is one of {choice}.", help_hint)
    if option is not None and "No such option" in message:
        names = [name for one in context.command.params for name in one.opts + one.secondary_opts]
        return UsageError(f"There is no flag {option}", "", _near(option, names, help_hint))
    commands = getattr(context.command, "commands", None)
    if commands is not None and "No such command" in message:
        quoted = _QUOTED.search(message)
        name = quoted.group(1) if quoted else ""
        if name.endswith((".loom", ".txt", ".md")):
            return UsageError(f"There is no command {name}", "", f"`llterm weave {name}` opens it.")
        hint = _near(name, list(commands), help_hint)
        return UsageError(f"There is no command {name}", "", hint)
    parameter = getattr(error, "param", None)
    if parameter is not None:
        name = getattr(parameter, "metavar", None) or (parameter.opts or [parameter.name])[-1]
        reason = error.message.removeprefix("Value error, ").rstrip(".")
        if not reason:
            return UsageError(f"{path} needs {name}", "", help_hint)
        for theirs, ours in _PLAIN.items():
            if reason.startswith(theirs):
                reason = ours + reason.removeprefix(theirs).partition(",")[0]
        return UsageError(f"Wrong value for {name}", f"{reason}.", help_hint)
    return UsageError(message, "", help_hint)


def _near(name: str, names: list[str], otherwise: str) -> str:
    near = get_close_matches(name, names, 1, 0.5)
    return f"Did you mean {near[0]}?" if near else otherwise
