"""A loom that is made: it has its name only when all of it is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llterm.errors import LltermError
from llterm.store.file import LoomFile
from llterm.store.lock import check_name, taken, unopened
from llterm.whole_file import beside


@contextmanager
def fresh_loom(path: Path) -> Iterator[LoomFile]:
    """A new loom to fill. It stands at `path` once the block has ended, and nowhere if it raises.

    Raises UsageError where something is there or nothing can be made, and what filling it raises.
    """
    part = path
    try:
        check_name(path)
        with beside(path, new=True) as part:
            file = LoomFile(part, new=True)
            try:
                yield file
            finally:
                file.close()
    except FileExistsError as error:
        raise taken(path) from error
    except OSError as error:
        raise unopened(path, error) from error
    except LltermError as error:
        # Of the part nobody knows.
        for name in ("title", "cause", "hint"):
            setattr(error, name, getattr(error, name).replace(part.name, path.name))
        raise
