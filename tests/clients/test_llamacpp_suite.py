"""llama.cpp's own tests of its server: what its server passes on the bundled model, llterm's does.

Both are asked in turn, so that nobody has to keep a list of what passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.clients.llamacpp_suite import passed
from tests.clients.served_names import ALIAS, KEY
from tests.helpers.served_program import ServedProgram
from tests.helpers.server_process import Process

pytestmark = [pytest.mark.clients, pytest.mark.server]
THEIRS = {
    "n_ctx": 512, "n_batch": 32, "n_predict": 64, "sampling.seed": 42, "model_alias": {ALIAS},
    "ui": True,
}  # fmt: skip
"""As the tests start their server."""
INTERNALS: Mapping[str, str] = {
    "test_cancel_request": "asks /slots what llama.cpp's slots are doing",
    "test_access_static_assets_without_api_key": "asks for the files of llama.cpp's own page",
    "test_cors_options": "wants pages of any origin let in, with credentials",
    "test_cors_origins_localhost_reflects": "looks for a header by its capitals, and wants origins "
    "let in that nobody listed",
}
"""What need not pass here, and why."""


@pytest.mark.parametrize(
    ("files", "key"),
    [
        (("test_completion", "test_tokenize", "test_basic", "test_ignore_eos"), ""),
        (("test_security",), KEY),
    ],
    ids=["open", "locked"],
)
def test_what_llamacpps_server_passes_passes_here(
    files: Sequence[str],
    key: str,
    request: pytest.FixtureRequest,
    figure: Callable[[str], None],
    tmp_path: Path,
) -> None:
    reference = Process({**THEIRS, "api_keys": [key] if key else []})
    reference.start()
    try:
        theirs, tried = passed(files, reference.address, tmp_path)
    finally:
        reference.kill()
    program: ServedProgram = request.getfixturevalue("locked" if key else "program")
    ours, _ = passed(files, program.address, tmp_path)
    figure(
        f"llama.cpp's tests, {', '.join(files)}: its server passes {len(theirs)} of {tried}, "
        f"llterm {len(theirs & ours)} of these and {len(ours - theirs)} others"
    )
    assert theirs
    lacking = theirs - ours
    assert not [test for test in sorted(lacking) if test.function not in INTERNALS]
    here = {test.function for test in theirs} & INTERNALS.keys()
    assert here == {test.function for test in lacking}, "what passes is no exception"
