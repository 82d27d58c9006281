"""How many processor cores this process may use: those it is bound to, and its group's limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_HIERARCHY = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS, hierarchy: Path = _HIERARCHY) -> int:
    """At least one. A container that may take one and a half cores has one: the second would wait.

    `groups` names the control groups of this process, `hierarchy` is where those are mounted.
    """
    try:
        bound = len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS.
        bound = os.cpu_count() or 1
    return max(int(min([float(bound), *_quotas(groups, hierarchy)])), 1)


def _quotas(groups: Path, hierarchy: Path) -> Iterator[float]:
    """Cores that each group with a limit may take in all, its own and those it is in."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [hierarchy]
        elif "cpu" in controllers.split(","):
            mounts = [hierarchy / "cpu", hierarchy / controllers]
        else:
            continue
        below = Path(path.lstrip("/"))
        for mount in mounts:
            # Inside a container the path may be the one outside; its limit stands at the top then.
            for group in {mount / below, *(mount / parent for parent in below.parents)}:
                yield from _quota(group)


def _quota(group: Path) -> Iterator[float]:
    """What a group may take; nothing where it has no limit."""
    with suppress(OSError, ValueError):
        quota, period = map(int, (group / "cpu.max").read_text().split())
        yield quota / period
    with suppress(OSError, ValueError):
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        if quota > 0:
            yield quota / period
