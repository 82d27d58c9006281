"""llama.cpp's own tests of its server: what its server passes on the bundled model, llterm's does.

Both are asked in turn, so that nobody has to keep a list of what passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.llamacpp_suite import passed
from tests.clients.served_names import ALIAS, KEY
from tests.helpers.served_program import ServedProgram
from tests.helpers.server_process import Process

pytestmark = [pytest.mark.clients, pytest.mark.server]
THEIRS = {
    "n_ctx": 512, "n_batch": 32, "n_predict": 64, "sampling.seed": 42, "model_alias": {ALIAS},
    "ui": True, "endpoint_metrics": True,
}  # fmt: skip
"""As most of the tests start their server."""
ROOMY = {**THEIRS, "n_ctx": 2048}
EMBEDDING = {**THEIRS, "embedding": True, "pooling_type": "last", "n_batch": 512}
TIMES = "asks how llama.cpp's batches of a prompt go on"
INTERNALS: Mapping[str, str] = {
    "test_cancel_request": "asks /slots what llama.cpp's slots are doing",
    "test_metrics_slots_idle_after_completion": "the same",
    "test_metrics_prometheus_format": "wants llama.cpp's names of counters, and a header beside",
    "test_metrics_timings_on_prompt_progress": TIMES,
    "test_return_progress": TIMES,
    "test_responses_stream_with_llama_telemetry": TIMES,
    "test_verbose_debug": "asks for the server's own log of the request in the answer",
    "test_access_static_assets_without_api_key": "asks for the files of llama.cpp's own page",
    "test_cors_options": "wants pages of any origin let in, with credentials",
    "test_cors_origins_localhost_reflects": "looks for a header by its capitals, and wants origins "
    "let in that nobody listed",
    "test_embedding_mixed_input": "wants an embedding of an empty text, which OpenAI refuses, of "
    "texts and ids in one row, and of texts as objects, which are for pictures",
    "test_embedding_content_text_same_as_string": "a text as an object too",
}
"""What need not pass here, and why."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Files of tests, and the two servers at which they are run."""

    files: Sequence[str]
    theirs: Mapping[str, Any]
    ours: str
    """The fixture of llterm's."""


TRIED = {
    "open": Tried(
        ("test_completion", "test_tokenize", "test_basic", "test_ignore_eos", "test_ctx_shift",
         "test_kv_keep_only_active", "test_metrics", "test_vision_api"), THEIRS, "counting",
    ),
    "chats": Tried(
        ("test_chat_completion", "test_template", "test_compat_oai_responses"), THEIRS, "counting"
    ),
    "tools": Tried(("test_tool_call",), ROOMY, "roomy"),
    "embeddings": Tried(("test_embedding",), EMBEDDING, "counting"),
    "locked": Tried(("test_security",), {**THEIRS, "api_keys": [KEY]}, "locked"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIED)
def test_what_llamacpps_server_passes_passes_here(
    name: str,
    request: pytest.FixtureRequest,
    figure: Callable[[str], None],
    tmp_path: Path,
) -> None:
    tried = TRIED[name]
    reference = Process(tried.theirs)
    reference.start()
    try:
        theirs, count = passed(tried.files, reference.address, tmp_path)
    finally:
        reference.kill()
    program: ServedProgram = request.getfixturevalue(tried.ours)
    ours, _ = passed(tried.files, program.address, tmp_path)
    figure(
        f"llama.cpp's tests, {name}: its server passes {len(theirs)} of {count}, "
        f"llterm {len(theirs & ours)} of these and {len(ours - theirs)} others"
    )
    assert theirs
    lacking = theirs - ours
    assert not [test for test in sorted(lacking) if test.function not in INTERNALS]
    here = {test.function for test in theirs} & INTERNALS.keys()
    assert here == {test.function for test in lacking}, "what passes is no exception"
