"""llama.cpp's own tests of its server, and the chat templates that it is tested with, from the
source package that llterm's lock names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

_LOCK = Path(__file__).parents[2] / "requirements.lock"
_PACKAGE = "llama-cpp-python"
_INSIDE = "/vendor/llama.cpp/"
_TESTS, _TEMPLATES = "tools/server/tests/", "models/templates/"


@dataclass(frozen=True, slots=True, order=True)
class SuiteTest:
    """One of the tests."""

    file: str
    """Without its ending."""
    function: str
    parameters: str = ""
    """As pytest writes them, in brackets."""


def template_files() -> list[Path]:
    """The chat templates, by name."""
    return sorted((_source() / _TEMPLATES).glob("*.jinja"))


def _source() -> Path:
    """Where they lie in this environment; fetched and unpacked by the first who asks."""
    locked = re.search(rf"^{_PACKAGE}==(\S+) (?:\\\n.*)+", _LOCK.read_text(), re.MULTILINE)
    assert locked is not None
    folder = Path(sys.prefix) / f"llama.cpp-{locked[1]}"
    if not folder.exists():
        with TemporaryDirectory(dir=sys.prefix) as made:
            scratch = Path(made)
            (scratch / "lock").write_text(locked[0])
            # What is built from it is not needed: the build's own packages are this environment's.
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
                 "--no-binary", _PACKAGE, "--no-build-isolation", "-d", made, "-r", "lock"],
                cwd=scratch, check=True,
            )  # fmt: skip
            (archive,) = scratch.glob("*.tar.gz")
            _unpack(archive, scratch / "source")
            (scratch / "source").rename(folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as source:
        members = []
        for member in source:
            member.name = member.name.partition(_INSIDE)[2]
            if member.name.startswith((_TESTS, _TEMPLATES)):
                members.append(member)
        source.extractall(folder, members, filter="data")


def passed(files: Sequence[str], address: str, home: Path) -> tuple[set[SuiteTest], int]:
    """Which tests of these files pass at a server of this machine, and how many were tried.

    `home`: a folder for the report.
    """
    report = home / "report.xml"
    of_this_run = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
    outside = {name: value for name, value in os.environ.items() if name not in of_this_run}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
         f"--junitxml={report}", *(f"unit/{file}.py" for file in files)],
        cwd=_source() / _TESTS, stdout=subprocess.DEVNULL, check=False,
        env={**outside, "DEBUG_EXTERNAL": "1", "PORT": address.rpartition(":")[2],
             "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    cases = list(ElementTree.parse(report).iter("testcase"))
    failing = ("failure", "error", "skipped")
    through = {_named(case) for case in cases if all(case.find(kind) is None for kind in failing)}
    return through, len(cases)


def _named(case: ElementTree.Element) -> SuiteTest:
    function, bracket, parameters = case.attrib["name"].partition("[")
    return SuiteTest(case.attrib["classname"].rpartition(".")[2], function, bracket + parameters)
